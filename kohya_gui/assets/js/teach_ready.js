// Guided step “Ready”: the model to start from, three lengths with their cost, a check, the start.
(() => {
  "use strict";
  const { t, h, fill, every, bytes, copy, page, span } = window.KG;

  window.KG.teach.steps.ready = (card, tools) => {
    const { server, facts, ask } = tools;
    const { problems, field, row, refill } = window.KG.teach;
    const models = h("div.kg-teach-models", { role: "radiogroup", "aria-label": t("teach.model") });
    const other = h("div");
    const about = h("div", { "aria-live": "polite" });
    const name = h("input.kg-input", { type: "text", id: "kg-teach-name", value: tools.project.name, maxlength: "80", autocomplete: "off", onchange: () => tools.set({ name: name.value.trim() }) });
    const machine = h("p.kg-quiet");
    const cards = h("div.kg-teach-cards", { role: "radiogroup", "aria-label": t("teach.cards") });
    const changes = h("div");
    const exactly = h("div");
    const details = h("details", { ontoggle: () => details.open && plan() }, h("summary", {}, t("teach.exactly")), exactly);
    const said = h("div", { "aria-live": "polite" });
    const check = h("button.kg-button", { type: "button", id: "kg-teach-check", disabled: true, onclick: checkNow }, t("teach.check"));
    const start = h("button.kg-button.kg-primary", { type: "button", id: "kg-teach-start", disabled: true, onclick: startNow }, t("teach.start"));
    let looking = null;
    let checking = null;
    let checkId = "";
    let stopped = false;
    let now = null;

    fill(card, h("h2.kg-teach-question", {}, t("teach.ready_question")), h("p.kg-quiet.kg-why", {}, t("teach.ready_why")),
      models, h("div.kg-teach-other", {}, other), about, machine, changes, cards,
      field(t("teach.name"), name, t("teach.name_info")),
      details, said,
      h("div.kg-teach-foot", {}, h("button.kg-button", { type: "button", onclick: () => tools.go("words") }, t("teach.back")), row(check, start)));

    async function drawModels() {
      const answer = await server.teach_models({});
      if (stopped) return;
      const list = answer.models || [];
      const present = tools.project.model;
      if (present && !list.some((one) => one.file === present)) list.unshift({ file: present, name: present.split(/[\\/]/).pop() });
      const browse = h("button.kg-button", { type: "button", id: "kg-teach-model", onclick: async () => {
        const path = await window.KG.choose({ kind: "file_or_folder", title: t("teach.model"), start: present, list: server.list_folder, back: browse });
        if (path) choose(path);
      } }, t("teach.other_model"));
      refill(models, list.map((one) => h("button.kg-teach-choice", { type: "button", role: "radio", "aria-checked": String(one.file === present), title: one.file, onclick: () => choose(one.file) }, one.name)));
      refill(other, browse);
    }

    async function choose(path) {
      if (!await tools.set({ model: path })) return;
      drawModels();
      begin();
    }

    function begin() {
      start.disabled = true;
      check.disabled = true;
      if (looking) looking.stop();
      if (!tools.project.model) {
        fill(about, h("p.kg-note", {}, t("teach.model_first")));
        return;
      }
      looking = every(500, async () => {
        const answer = await ask("teach_ready");
        if (stopped) return "stop";
        if (answer.working) {
          fill(about, h("p.kg-quiet", { role: "status" }, t("teach.reading")));
          return undefined;
        }
        now = answer;
        draw();
        return "stop";
      });
    }

    function draw() {
      const bad = now.problems && now.problems.length;
      fill(about, now.family ? h("p.kg-quiet", { id: "kg-teach-about", title: now.model }, t("teach.model_is", { family: now.family })) : null, bad ? problems(now) : null);
      machine.textContent = now.machine || "";
      const list = now.changes || [];
      const longer = now.length && now.length !== 1;
      fill(changes, list.length || longer ? h("div.kg-note", {}, h("strong", {}, t("teach.changed")), h("ul", {}, list.map((one) => h("li", {}, `${one.label}: ${one.after}`)), longer ? h("li", {}, t("teach.changed_length", { n: now.length })) : null)) : null);
      refill(cards, (now.cards || []).map(oneCard));
      const chosen = (now.cards || []).find((one) => one.card === tools.project.card);
      start.disabled = !chosen || !chosen.fits_disk;
      check.disabled = !chosen;
      if (details.open) plan();
    }

    function oneCard(one) {
      const [, title, why] = facts.cards.find(([key]) => key === one.card);
      const line = (good, label, value) => h("li", { "data-fits": String(good) }, h("span", { "aria-hidden": "true" }, good ? "✓ " : "✕ "), h("span", {}, `${label}: `), h("strong", {}, value));
      const fits = one.fits_memory && one.fits_disk;
      return h("button.kg-teach-cost", { type: "button", role: "radio", "data-card": one.card, "data-fits": String(fits), "aria-checked": String(one.card === tools.project.card), onclick: () => pick(one.card) },
        h("strong.kg-teach-cost-title", {}, title), h("span.kg-quiet", {}, why),
        h("ul", {},
          h("li", {}, h("span", {}, `${t("teach.time")}: `), h("strong", { "data-cost": "time" }, span(one.seconds))),
          line(one.fits_memory, t("teach.memory"), t("teach.of_free", { n: bytes(one.memory), free: bytes(one.memory_free) })),
          line(one.fits_disk, t("teach.disk"), t("teach.of_free", { n: bytes(one.disk), free: bytes(one.disk_free) })),
          h("li", {}, t("teach.steps_looks", { steps: one.steps, looks: one.looks }))),
        h("span.kg-small.kg-quiet", {}, one.measured ? t("teach.measured", { run: one.measured }) : t("teach.estimated")),
        one.fits_memory ? null : h("span.kg-small.kg-teach-bad", {}, t("teach.no_memory")),
        one.fits_disk ? null : h("span.kg-small.kg-teach-bad", {}, t("teach.no_room")));
    }

    async function pick(wanted) {
      if (await tools.set({ card: wanted })) draw();
    }

    async function plan() {
      const answer = await ask("teach_plan", { card: tools.project.card });
      if (stopped) return;
      if (answer.problems) {
        fill(exactly, problems(answer));
        return;
      }
      const block = (title, text) => h("div", {}, row(h("h3.kg-h", {}, title), h("button.kg-button.kg-slim", { type: "button", onclick: (event) => copy(text, event.currentTarget) }, t("common.copy"))), h("pre.kg-pre", { tabindex: "0" }, text));
      fill(exactly, h("ul", {}, answer.summary.map((line) => h("li", {}, line))),
        block(t("teach.toml"), answer.toml), block(t("teach.prompts"), answer.prompts), block(t("teach.command"), answer.command));
    }

    async function checkNow() {
      check.disabled = true;
      const answer = await ask("teach_check", { card: tools.project.card });
      if (answer.problems) {
        fill(said, problems(answer));
        check.disabled = false;
        return;
      }
      checkId = answer.check;
      checking = every(700, async () => {
        const state = await server.teach_check_look({ check: checkId });
        if (stopped) return "stop";
        const tone = { good: ".kg-good", bad: ".kg-bad", crashed: ".kg-bad" }[state.state] || "";
        fill(said, h(`div.kg-note${tone}`, { role: "status", "data-check": state.state }, t(`check.${state.state}`)),
          state.text && state.state !== "good" ? h("pre.kg-pre", { tabindex: "0" }, state.text) : null);
        if (state.state === "working") return undefined;
        checkId = "";
        check.disabled = false;
        return "stop";
      });
    }

    async function startNow() {
      start.disabled = true;
      if (name.value.trim() !== tools.project.name && !await tools.set({ name: name.value.trim() })) return;
      const answer = await ask("teach_start", { card: tools.project.card });
      if (answer.problems) {
        fill(said, problems(answer), h("p", {}, h("a", { href: page("pictures", { folder: tools.project.folder }) }, t("teach.see_pictures"))));
        start.disabled = false;
        return;
      }
      if (await tools.refresh()) tools.draw();
    }

    drawModels();
    begin();
    return {
      stop() {
        stopped = true;
        if (looking) looking.stop();
        if (checking) checking.stop();
        if (checkId) server.teach_check_end({ check: checkId });
      },
    };
  };
})();
