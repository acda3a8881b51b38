// Several runs from one form: options with lists of values, what comes of them and what it costs.
(() => {
  "use strict";
  const { t, h, fill, bytes, number, span, page } = window.KG;
  const EXAMPLE = "network_dim = [8, 16, 32]";

  window.KG.formParts.sweep = (desk) => {
    const { facts, server, slot, label } = desk;
    if (!slot("sweep")) return {};
    let open = false;
    let timer = 0;
    let asked = 0;
    let seen = "";
    let typing = false;

    const rows = h("div");
    const result = h("div.kg-sweep-result", { "aria-live": "polite" });
    const said = h("div");
    const toggle = h("button.kg-button.kg-slim", { type: "button", "data-sweep-toggle": "", "aria-expanded": "false", "aria-controls": "kg-sweep-body", onclick: () => setOpen(!open) });
    const body = h("div#kg-sweep-body.kg-sweep-body", { hidden: true },
      h("p.kg-quiet.kg-why", {}, t("sweep.lead")),
      h("datalist#kg-sweep-options", {}, facts.sweep.map((name) => h("option", { value: name }, label(name)))),
      rows,
      h("div.kg-row", {}, h("button.kg-button.kg-slim", { type: "button", "data-sweep-add": "", onclick: () => { rows.append(row()); rows.lastElementChild.querySelector("input").focus(); } }, t("sweep.add"))),
      result, said, h("p.kg-quiet.kg-small", {}, t("sweep.in_file", { example: EXAMPLE })));

    function setOpen(wanted) {
      open = wanted;
      body.hidden = !open;
      toggle.textContent = open ? t("sweep.hide") : t("sweep.open");
      toggle.setAttribute("aria-expanded", String(open));
      if (open && !rows.children.length) rows.append(row());
      if (open) look();
    }

    /** Values with commas between them; one that holds commas itself stands in quotes. */
    const valuesOf = (text) => [...text.trim().replace(/^\[|\]$/g, "").matchAll(/\s*(?:"([^"]*)"|'([^']*)'|([^,\n]+))/g)].map((found) => (found[1] ?? found[2] ?? found[3]).trim()).filter(Boolean);
    const shown = (value) => (/,/.test(value) ? `"${value}"` : value);

    function lists() {
      const found = {};
      for (const one of rows.children) {
        const name = one.querySelector("[data-sweep-option]").value.trim();
        const values = valuesOf(one.querySelector("[data-sweep-values]").value);
        if (name && values.length) found[name] = [...(found[name] || []), ...values];
      }
      return found;
    }

    function row(name = "", values = []) {
      const option = h("input.kg-input", { type: "text", list: "kg-sweep-options", value: name, "data-sweep-option": "", autocomplete: "off", spellcheck: "false", placeholder: t("sweep.example", { values: "network_dim" }), oninput: edited });
      const input = h("input.kg-input", { type: "text", value: values.map(shown).join(", "), "data-sweep-values": "", autocomplete: "off", spellcheck: "false", placeholder: t("sweep.example", { values: "8, 16, 32" }), oninput: edited });
      const node = h("div.kg-sweep-row", {},
        h("label.kg-sweep-name", {}, h("span.kg-small", {}, t("sweep.option")), option),
        h("label.kg-sweep-values", {}, h("span.kg-small", {}, t("sweep.values")), input),
        h("button.kg-button.kg-slim", { type: "button", onclick: () => remove(node) }, t("sweep.remove")));
      const named = () => node.querySelector("button").setAttribute("aria-label", t("sweep.remove_of", { name: option.value.trim() || t("sweep.option") }));
      option.addEventListener("input", named);
      named();
      return node;
    }

    function remove(node) {
      node.remove();
      if (!rows.children.length) rows.append(row());
      rows.lastElementChild.querySelector("input").focus();
      edited();
    }

    // What is typed goes into the draft a moment after the last key, with all that stands in the form.
    function edited() {
      typing = true;
      result.querySelector("[data-sweep-start]")?.remove(); // it would queue what was there before
      seen = "";
      clearTimeout(timer);
      fill(said);
      timer = setTimeout(() => {
        desk.alter("sweep", { lists: lists() });
      }, 400);
    }

    /** Ask what comes of the lists, again while files are being looked at; the newest answer counts. */
    async function look() {
      asked += 1;
      const mine = asked;
      if (!open || !Object.keys(desk.sweep).length) {
        fill(result, open ? h("p.kg-quiet.kg-small", {}, t("sweep.none")) : null);
        return;
      }
      const found = await server.look_sweep({ draft: desk.draft });
      if (!found || mine !== asked) return;
      show(found);
      if (found.working) setTimeout(() => mine === asked && look(), 700);
    }

    function show(found) {
      const n = found.runs.length;
      const held = document.activeElement?.matches("[data-sweep-start]");
      fill(result,
        n ? h("p", {}, h("strong", { "data-sweep-runs": n }, n === 1 ? t("sweep.makes_one") : t("sweep.makes", { n }))) : null,
        n ? h("ul.kg-small.kg-sweep-runs", { tabindex: "0", "aria-label": t("sweep.title") }, found.runs.map((run) => h("li", {}, h("strong", {}, run.name), " ", h("span.kg-quiet", {}, run.changes.map((one) => `${one.label}: ${one.value}`).join(" · "))))) : null,
        cost(found.cost),
        found.working ? h("p.kg-quiet", {}, t("sweep.reading")) : null,
        found.problems.length ? h("div.kg-note.kg-bad", { "data-sweep-problems": "" }, h("strong", {}, t("sweep.wrong")), h("ul", {}, found.problems.map(trouble))) : null,
        n && !found.problems.length ? h("button.kg-button.kg-primary", { type: "button", "data-act": "sweep", "data-sweep-start": "", disabled: found.working, onclick: () => desk.act("sweep") }, n === 1 ? t("sweep.start_one") : t("sweep.start", { n })) : null);
      if (held) result.querySelector("[data-sweep-start]")?.focus();
    }

    function cost(found) {
      if (!found) return null;
      return h("div", { "data-sweep-cost": "" },
        h("p", {}, t("sweep.cost", { time: span(found.seconds), steps: number(found.steps, 9), disk: bytes(found.disk), free: bytes(found.free) })),
        found.measured ? null : h("p.kg-quiet.kg-small", {}, t("sweep.estimated")),
        found.fits ? null : h("p.kg-note.kg-warn", {}, t("sweep.no_room")));
    }

    const trouble = (problem) => h("li", {}, problem.options.map((name) => [h("button.kg-linkish.kg-code", { type: "button", onclick: () => desk.goTo(name) }, name), ": "]), problem.message, problem.hint ? ` → ${problem.hint}` : "");

    /** Tell that the runs wait, and how to find them. */
    desk.swept = (answer) => {
      result.querySelector("[data-sweep-start]")?.remove(); // comes back with the next change: nobody queues them twice
      fill(said, h("div.kg-note.kg-good", { role: "status", "data-swept": answer.tag }, answer.text, " ", t("sweep.later"),
        h("div.kg-row", {}, h("a", { href: page("runs") }, t("sweep.find")), h("a", { href: page("runs", { q: `#${answer.tag}` }) }, t("sweep.tagged")))));
    };

    fill(slot("sweep"), h("div.kg-row.kg-between", {}, h("h2.kg-h", {}, t("sweep.title")), toggle), body);
    setOpen(false);
    return {
      draw() {
        const now = JSON.stringify(desk.sweep);
        const same = now === JSON.stringify(lists());
        if (same) typing = false;
        // Another draft, or a file with lists: the rows follow. What is being typed here stays.
        if (!same && !typing) {
          fill(rows, Object.entries(desk.sweep).map(([name, values]) => row(name, values)));
          if (rows.children.length && !open) setOpen(true);
          else if (open && !rows.children.length) rows.append(row());
        }
        const mark = JSON.stringify([now, desk.report, desk.draft]);
        if (mark === seen) return;
        seen = mark;
        look();
      },
    };
  };
})();
