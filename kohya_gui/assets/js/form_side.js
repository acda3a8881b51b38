// Beside and below the form: what is still to be done, what is wrong, and the buttons that begin something.
(() => {
  "use strict";
  const { t, h, fill, page } = window.KG;

  window.KG.formParts.side = (desk) => {
    const { facts, slot, label, alter } = desk;

    function drawSide() {
      const shown = desk.report.problems.filter((problem) => !problem.missing || desk.attempted);
      const errors = shown.filter((problem) => problem.severity === "error");
      const warnings = shown.filter((problem) => problem.severity !== "error");
      const line = (state, name, text, option) => h("li", { "data-check": state },
        h(`span.kg-dot.kg-${state}`, { "aria-hidden": "true" }, { done: "✓", todo: "○", bad: "!", working: "…" }[state]),
        h("span", {}, h("button.kg-linkish", { type: "button", onclick: () => desk.goTo(option) }, name), text ? h("span.kg-quiet.kg-small", {}, ` ${text}`) : null));
      const named = (...names) => errors.some((problem) => problem.options.some((option) => names.includes(option)));
      const data = desk.report.data;
      const state = (done, working, ...names) => (working ? "working" : named(...names) ? "bad" : done ? "done" : "todo");
      fill(slot("side"),
        h("h2.kg-h", {}, t("side.title")),
        h("ul.kg-checklist", {}, desk.report.checklist ? desk.report.checklist.map((row) => line(row.state, row.name, row.text, row.option)) : [
          line(state(desk.report.family.state === "done", desk.report.family.state === "working", "pretrained_model_name_or_path"), t("side.model"), desk.report.family.family ? t(`family.${desk.report.family.family}`) : "", "pretrained_model_name_or_path"),
          line(state(data.state === "done" && data.num_images > 0, data.state === "working", "train_data_dir", "dataset_config"), t("side.pictures"), data.state === "done" ? String(data.num_images) : "", "train_data_dir"),
          line(state(desk.report.changed.includes("output_name"), false, "output_name"), t("side.name"), desk.report.changed.includes("output_name") ? desk.report.name : "", "output_name"),
          line(state(desk.report.steps.state === "done", false, "max_train_epochs", "max_train_steps"), t("side.length"), desk.report.steps.state === "done" ? t("side.steps", { n: desk.report.steps.total }) : "", "max_train_epochs"),
          line(state(desk.report.changed.includes("learning_rate"), false, "learning_rate"), t("side.rate"), "", "learning_rate")]),
        errors.length ? h("div", {}, h("h3.kg-small", {}, t("side.errors", { n: errors.length })), errors.map((problem) => trouble(problem, "kg-bad"))) : null,
        warnings.length ? h("details", { open: warnings.length < 4 }, h("summary.kg-small", {}, t("side.warnings", { n: warnings.length })), warnings.map((problem) => trouble(problem, "kg-warn"))) : null,
        !errors.length && !warnings.length && (desk.report.steps.state === "done" || desk.report.next.key === "start") ? h("p.kg-note.kg-good", {}, t("side.fine")) : null);
    }

    function trouble(problem, tone) {
      return h(`div.kg-note.${tone}.kg-small`, { "data-problem": problem.options.join(",") },
        problem.options.map((name, i) => [i ? ", " : "", h("button.kg-linkish.kg-code", { type: "button", onclick: () => desk.goTo(name), title: label(name) }, name)]),
        problem.options.length ? ": " : "", problem.message, problem.hint ? h("div", {}, `→ ${problem.hint}`) : null, desk.fixers(problem));
    }

    function drawActions() {
      const next = desk.report.next;
      const queues = desk.busy && desk.busy.mode === "queue";
      const refused = desk.busy && desk.busy.mode === "refuse";
      fill(slot("actions"),
        h("div.kg-next", { role: "status" }, h("strong", {}, t("next.title")), " ",
          next.option ? h("button.kg-linkish", { type: "button", onclick: () => desk.goTo(next.option) }, next.text) : next.text,
          desk.busy ? h("div.kg-small.kg-quiet", {}, desk.busy.text, " ", h("a", { href: page("runs", { run: desk.busy.run }) }, t("form.look_at_run"))) : null),
        h("div.kg-row", {},
          button("show", t("form.show"), t("form.show_title")),
          button("check", t("form.check"), t("form.check_title")),
          queues || desk.queued ? null : button("queue", t("form.queue"), t("form.queue_title")),
          desk.queued ? h("button.kg-button.kg-primary", { type: "button", "data-act": "requeue", onclick: () => desk.act("requeue") }, t("form.requeue", { name: desk.queued }))
            : h("button.kg-button.kg-primary", { type: "button", id: "kg-start", "data-act": "start", disabled: Boolean(refused), title: refused ? desk.busy.text : null, onclick: () => desk.act("start") }, queues ? t("form.queue") : facts.stays ? t("captioning.start") : t("form.start"))));
      restoreWaiting();
    }

    function button(what, words, title) {
      return h("button.kg-button", { type: "button", "data-act": what, title, onclick: () => desk.act(what) }, words);
    }

    let waiting = null;
    let patience = 0;
    function waitFor(what) {
      waiting = what;
      clearTimeout(patience);
      // An answer that got lost with the connection must not leave a dead button behind.
      if (what) patience = setTimeout(() => waitFor(null), 20000);
      restoreWaiting();
    }
    function restoreWaiting() {
      for (const button of document.querySelectorAll("[data-act]")) {
        if (button.dataset.act === waiting) {
          button.disabled = true;
          button.setAttribute("aria-busy", "true");
        } else if (button.getAttribute("aria-busy")) {
          button.disabled = false;
          button.removeAttribute("aria-busy");
        }
      }
    }

    desk.waitFor = waitFor;
    desk.drawActions = drawActions;
    return {
      draw() {
        drawSide();
        drawActions();
      },
    };
  };
})();
