// The form as text: what is typed in either goes into the other, and how it differs from something else.
(() => {
  "use strict";
  const { t, h, fill, copy } = window.KG;

  window.KG.formParts.toml = (desk) => {
    const { facts, server, slot, alter } = desk;
    let open = false;
    let against = null;
    let runsMark = "";
    let asked = 0;
    let timer = 0;
    let typing = false;

    const area = h("textarea.kg-input.kg-toml", { id: "kg-toml", rows: 14, spellcheck: "false", autocapitalize: "off", "aria-label": t("form.toml"), "aria-describedby": "kg-toml-problems" });
    area.spellcheck = false;
    const problems = h("div#kg-toml-problems.kg-troubles", { "aria-live": "polite" });
    const chooser = h("select.kg-input", { id: "kg-toml-against", onchange: () => { against = chooser.value; look(); } });
    const table = h("div", { "data-differences": "" });
    const toggle = h("button.kg-button.kg-slim", { type: "button", "data-toml-toggle": "", "aria-expanded": "false", onclick: () => setOpen(!open) });
    const body = h("div", { hidden: true },
      h("p.kg-quiet.kg-why", {}, t("form.toml_lead")), area, problems,
      h("div.kg-row.kg-file-row", {},
        h("button.kg-button.kg-slim", { type: "button", "data-toml-copy": "", onclick: (event) => give(event.currentTarget, true) }, t("form.toml_copy")),
        h("button.kg-button.kg-slim", { type: "button", "data-toml-download": "", onclick: (event) => give(event.currentTarget, false) }, t("form.download"))),
      h("div.kg-row", {}, h("label", { for: "kg-toml-against" }, t("form.toml_against")), chooser), table);

    function setOpen(wanted) {
      open = wanted;
      body.hidden = !open;
      toggle.textContent = open ? t("form.toml_hide") : t("form.toml_show");
      toggle.setAttribute("aria-expanded", String(open));
      if (open) look();
    }

    // The form follows a moment after the last key; until then it does not write into what is being typed.
    area.addEventListener("input", () => {
      typing = true;
      clearTimeout(timer);
      timer = setTimeout(() => alter("toml", { text: area.value }), 400);
    });
    area.addEventListener("blur", () => {
      if (!problems.firstChild) typing = false;
      if (!typing) look();
    });

    desk.tomlProblems = (rows) => {
      fill(problems, rows.length ? h("p.kg-bad", {}, t("form.toml_left_out")) : null,
        rows.map((problem) => h("p.kg-bad", { "data-toml-problem": problem.options.join(",") }, problem.options.length ? h("code", {}, `${problem.options.join(", ")}: `) : null, problem.message, problem.hint ? ` → ${problem.hint}` : "")));
      area.setAttribute("aria-invalid", String(rows.length > 0));
      if (!rows.length && document.activeElement !== area) typing = false;
    };

    /** Show how the form differs from a preset. */
    desk.compare = (preset) => {
      against = `preset:${preset}`;
      setOpen(true);
      table.scrollIntoView({ block: "center", behavior: "smooth" });
    };

    /** Ask for text and differences; the newest answer counts. */
    async function look() {
      if (!open || !desk.draft) return;
      asked += 1;
      const mine = asked;
      const found = await server.look_toml({ draft: desk.draft, against });
      if (!found || mine !== asked) return;
      if (!typing && area.value !== found.text) area.value = found.text;
      drawChooser(found);
      drawDifferences(found);
    }

    function drawChooser(found) {
      const presets = [...facts.presets, ...desk.own];
      const mark = JSON.stringify([found.runs, found.began, desk.own]);
      if (mark !== runsMark) {
        runsMark = mark;
        const began = found.began.replace(/^preset:/, "");
        fill(chooser, h("option", { value: "" }, t("form.toml_defaults")),
          presets.length ? h("optgroup", { label: t("form.toml_presets") }, presets.map((preset) =>
            h("option", { value: `preset:${preset.id}` }, preset.id === began ? t("form.toml_began", { title: preset.title }) : preset.title))) : null,
          found.runs.length ? h("optgroup", { label: t("form.toml_runs") }, found.runs.map((run) => h("option", { value: `run:${run.id}` }, run.name === run.id ? run.name : `${run.name} · ${run.id}`))) : null);
      }
      chooser.value = found.against;
    }

    function drawDifferences(found) {
      const rows = found.differences;
      fill(table,
        found.problems.map((problem) => h("p.kg-bad", {}, problem.message)),
        h("p.kg-small.kg-quiet", { role: "status" }, rows.length ? t("form.toml_differ", { n: rows.length }) : t("form.toml_same")),
        rows.length ? h("div.kg-scroll-x", { tabindex: "0", role: "region", "aria-label": t("form.toml_against") }, h("table.kg-table", {},
          h("thead", {}, h("tr", {}, [t("form.toml_option"), t("form.toml_there"), t("form.toml_here"), ""].map((words) => h("th", { scope: "col" }, words)))),
          h("tbody", {}, rows.map((row) => h("tr", { "data-differs": row.option },
            h("td", {}, h("button.kg-linkish.kg-code", { type: "button", title: row.label, onclick: () => desk.goTo(row.option) }, row.option)),
            h("td", {}, row.there), h("td", {}, h("strong", {}, row.here)),
            h("td", {}, h("button.kg-linkish.kg-small", { type: "button", "aria-label": t("form.toml_take", { option: row.option, value: row.there }), onclick: () => alter("set", { values: { [row.option]: row.value } }) }, t("form.toml_take_short")))))))) : null);
    }

    /** Copy or download a text that stands for itself: a file of prompts that it names is written. */
    async function give(button, copies) {
      const whole = await server.whole_toml({ draft: desk.draft });
      if (!whole) return;
      if (whole.problem) desk.notice({ text: whole.problem, problems: [], bad: true });
      else if (copies) copy(whole.text, button);
      else desk.download(`${desk.report.name}.toml`, whole.text);
    }

    fill(slot("toml"), h("div.kg-row.kg-between", {}, h("h2.kg-h", {}, t("form.toml")), toggle), body);
    setOpen(false);
    return { draw: look };
  };
})();
