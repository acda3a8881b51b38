// The form's fields: choosing files, putting back, errors and what has no effect, at each option.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;

  window.KG.formParts.fields = (desk) => {
    const { facts, server, block, label, alter } = desk;

    function decorate(name) {
      const node = block(name);
      if (!node || node.querySelector(":scope > .kg-tools")) return;
      const option = facts.options[name];
      const more = h("div.kg-help", { id: `help-${name}`, hidden: true });
      const ask = h("button.kg-linkish.kg-small.kg-ask", {
        type: "button", "aria-expanded": "false", "aria-controls": more.id, "aria-label": t("form.help_for", { label: option.label }), title: t("form.help_title"),
        onclick: () => {
          more.hidden = !more.hidden;
          ask.setAttribute("aria-expanded", String(!more.hidden));
          if (!more.hidden) fill(more, helpOf(name));
        },
      }, "?");
      const reset = h("button.kg-linkish.kg-small.kg-reset", { type: "button", title: t("form.reset_title"), "aria-label": t("form.reset_for", { label: option.label }), onclick: () => alter("reset", { option: name }) }, t("form.reset"));
      const browse = option.kind
        ? h("button.kg-button.kg-slim.kg-browse", { type: "button", "aria-label": t("form.browse_for", { label: option.label }), onclick: (event) => choose(name, option, event.currentTarget) }, t("form.browse"))
        : null;
      node.append(h("div.kg-tools", {}, reset, ask, browse), more, h("div.kg-inert", { hidden: true }), h("div.kg-troubles", { id: `trouble-${name}`, "aria-live": "polite" }));
    }

    /** What is known of an option besides its help, which stands below it always. */
    function helpOf(name) {
      const option = facts.options[name];
      const rows = ["typical", "cost", "value", "default", "applies", "old_names"].filter((key) => option[key]);
      return [
        h("dl", {}, rows.map((key) => [h("dt", {}, t(`form.help_${key}`)), h("dd", {}, option[key])])),
        option.choices.length ? h("ul", {}, option.choices.map(([choice, words]) => h("li", {}, h("code", {}, choice), ` ${words}`))) : null,
      ];
    }

    async function choose(name, option, button) {
      const input = block(name).querySelector("input, textarea");
      const found = await window.KG.choose({
        kind: option.kind, title: t("chooser.title", { label: option.label }),
        start: input.value, list: server.list_folder, back: button,
      });
      if (found !== null) alter("set", { values: { [name]: found } });
    }

    function goTo(name) {
      const node = name === "sample_prompts" && !block(name)?.querySelector("textarea, input")?.value ? document.getElementById("extra-prompts") : block(name);
      if (!node) return;
      node.classList.add("kg-shown");
      node.scrollIntoView({ block: "center", behavior: "smooth" });
      const input = node.querySelector("input, textarea");
      if (input) setTimeout(() => input.focus({ preventScroll: true }), 250);
    }

    function drawTroubles() {
      const byOption = new Map();
      for (const problem of desk.report.problems) {
        if (problem.missing && !desk.attempted) continue;
        for (const name of problem.options) {
          if (!byOption.has(name)) byOption.set(name, []);
          byOption.get(name).push(problem);
        }
      }
      for (const name of Object.keys(facts.options)) {
        const node = block(name);
        if (!node) continue;
        const found = byOption.get(name) || [];
        const bad = found.some((problem) => problem.severity === "error");
        node.classList.toggle("kg-wrong", bad);
        node.classList.toggle("kg-shown", bad || node.contains(document.activeElement));
        const input = node.querySelector("input, textarea");
        if (input) {
          input.setAttribute("aria-invalid", bad ? "true" : "false");
          input.setAttribute("aria-describedby", `trouble-${name}`);
        }
        const holder = node.querySelector(":scope > .kg-troubles");
        const mark = JSON.stringify(found);
        if (holder && holder.dataset.mark !== mark) {
          holder.dataset.mark = mark;
          fill(holder, found.map((problem) => h(`p.${problem.severity === "error" ? "kg-bad" : "kg-warn"}`, {}, sentence(problem, name))));
        }
        const inert = node.querySelector(":scope > .kg-inert");
        const why = desk.report.inert[name];
        node.classList.toggle("kg-idle", Boolean(why));
        if (inert) {
          inert.hidden = !why;
          inert.textContent = why || "";
        }
      }
      const changed = new Set(desk.report.changed);
      for (const name of Object.keys(facts.options)) block(name)?.classList.toggle("kg-changed", changed.has(name));
    }

    /** A problem in words at one of its fields: what is wrong, ways out, and the fields it is joined with. */
    function sentence(problem, name) {
      const others = problem.options.filter((other) => other !== name);
      return [
        problem.message, problem.hint ? ` → ${problem.hint}` : "", fixers(problem),
        others.length ? [" ", t("form.together_with"), " ", others.map((other, i) => [i ? ", " : "",
          h("button.kg-linkish", { type: "button", "data-other": other, title: label(other), onclick: () => desk.goTo(other) }, other)])] : null,
      ];
    }

    /** Buttons that do what the hint says; where it names no values and several options disagree, each can be put back. */
    function fixers(problem) {
      const ways = problem.fixes.map(({ values }) => [Object.keys(values).join(","), () => alter("set", { values }), Object.entries(values).map(inWords).join(", ")]);
      if (!ways.length && problem.options.length > 1) {
        for (const option of problem.options.filter((name) => desk.report.changed.includes(name))) ways.push([option, () => alter("reset", { option }), t("form.fix_reset", { option })]);
      }
      return ways.map(([mark, onclick, words]) => [" ", h("button.kg-button.kg-slim", { type: "button", "data-fix": mark, onclick }, words)]);
    }

    function inWords([option, value]) {
      if (value === true) return t("form.fix_on", { option });
      if (value === false) return t("form.fix_off", { option });
      return value === "" ? t("form.fix_empty", { option }) : t("form.fix", { option, value });
    }

    function draw() {
      for (const name of Object.keys(facts.options)) decorate(name);
      if (desk.report) drawTroubles();
    }

    draw();
    desk.goTo = async (name) => {
      await desk.all();
      goTo(name);
    };
    desk.fixers = fixers;
    return { draw };
  };
})();
