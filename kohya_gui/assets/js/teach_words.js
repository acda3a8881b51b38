// Guided step “Words”: the new word, checked as the model will read it, and a caption for each picture.
(() => {
  "use strict";
  const { t, h, fill, every, file, page } = window.KG;
  const SHOWN = 24;

  window.KG.teach.steps.words = (card, tools) => {
    const { server, ask } = tools;
    const { problems, field, row, refill } = window.KG.teach;
    const folder = tools.project.folder;
    const goal = tools.goal();
    const word = h("input.kg-input", { type: "text", id: "kg-teach-word", value: tools.project.trigger, spellcheck: "false", autocomplete: "off", maxlength: "60" });
    const kind = h("input.kg-input", { type: "text", id: "kg-teach-kind", value: tools.project.kind, placeholder: goal.kind, autocomplete: "off", maxlength: "60" });
    const reading = h("div", { "aria-live": "polite" });
    const becomes = h("p.kg-quiet");
    const counted = h("div", { "aria-live": "polite" });
    const job = h("div", { "aria-live": "polite" });
    const offer = h("div");
    const grid = h("ul.kg-teach-captions");
    const more = h("p");
    const next = h("button.kg-button.kg-primary", { type: "button", id: "kg-teach-next", disabled: true, onclick: () => leave("ready") }, t("teach.next"));
    let stopped = false;
    let asked = 0;
    let shown = SHOWN;
    let looking = null;
    let following = null;
    let drawn = "";
    let offered = 0;

    fill(card, h("h2.kg-teach-question", {}, t("teach.words_question")), h("p.kg-quiet.kg-why", {}, t("teach.words_why")),
      h("div.kg-teach-pair", {}, field(t("teach.word"), word, t("teach.word_info")), field(t("teach.kind"), kind, t("teach.kind_info"))),
      reading, becomes,
      h("h3.kg-h", {}, t("teach.captions_title")),
      h("p.kg-teach-rule", {}, h("strong", {}, t("teach.rule")), " ", goal.changeable),
      counted, job, offer, grid, more,
      h("div.kg-teach-foot", {}, h("button.kg-button", { type: "button", onclick: () => leave("pictures") }, t("teach.back")), next));

    // ---- the word ----
    async function check() {
      const turn = (asked += 1);
      const answer = await server.teach_word({ word: word.value });
      if (turn !== asked || stopped) return;
      const usable = answer.tone !== "bad";
      word.setAttribute("aria-invalid", String(!usable));
      fill(reading, h(`div.kg-note.kg-${answer.tone}`, { "data-tone": answer.tone, id: "kg-teach-reading" }, answer.text));
      next.disabled = !usable;
    }

    async function keep() {
      const values = { trigger: word.value.trim(), kind: kind.value.trim() };
      const same = values.trigger === tools.project.trigger && values.kind === tools.project.kind;
      if (same) return true;
      return tools.set(values);
    }

    async function leave(step) {
      await savings;
      if (await keep()) tools.go(step);
    }

    let waiting = 0;
    for (const input of [word, kind]) {
      input.addEventListener("input", () => {
        check();
        clearTimeout(waiting);
        waiting = setTimeout(async () => {
          if (!stopped && await keep()) count();
        }, 600);
      });
    }

    // ---- captions ----
    /** Ask how many captions there are; `again` after some were changed. */
    function count(again = false) {
      if (looking) looking.stop();
      let anew = again;
      looking = every(500, async () => {
        const now = await ask("teach_words", { again: anew });
        anew = false;
        if (stopped) return "stop";
        if (now.working) return undefined;
        if (now.problems) {
          fill(counted, problems(now));
          return "stop";
        }
        if (!word.value && now.suggested) {
          word.value = now.suggested;
          check();
          if (await keep()) return "again";
        }
        becomes.textContent = now.told;
        drawCount(now);
        drawGrid();
        return "stop";
      });
    }

    function drawCount(now) {
      const missing = now.count - now.captions;
      fill(counted, h(`div.kg-note.${missing ? "kg-warn" : "kg-good"}`, { id: "kg-teach-counted", "data-missing": String(missing) },
        missing ? t("teach.captions_missing", { n: missing, of: now.count }) : t("teach.captions_all", { n: now.count })));
      if (!missing || following) {
        withdraw();
        return;
      }
      // What is chosen there stays while nothing is different.
      if (offered === missing) return;
      offered = missing;
      const engine = h("select.kg-input", { id: "kg-teach-engine" }, ["sentences", "tags"].map((name) => h("option", { value: name, selected: name === tools.project.engine }, t(`teach.engine_${name}`))));
      const model = h("input.kg-input", { type: "text", id: "kg-teach-captioner", value: tools.project.caption_model, spellcheck: "false", autocomplete: "off" });
      const browse = h("button.kg-button", { type: "button", onclick: async () => {
        const path = await window.KG.choose({ kind: "folder", title: t("teach.captioner"), start: model.value, list: server.list_folder, back: browse });
        if (path) model.value = path;
      } }, t("dataset.browse"));
      const go = h("button.kg-button", { type: "button", id: "kg-teach-caption", onclick: () => describe(engine.value, model.value) }, t("teach.describe", { n: missing }));
      fill(offer, h("div.kg-teach-sunk", {}, field(t("teach.engine"), engine),
        field(t("teach.captioner"), model, t("teach.captioner_info")), row(browse, go)),
      h("p.kg-quiet.kg-small", {}, t("teach.captions_optional")));
    }

    function withdraw() {
      offered = 0;
      fill(offer);
    }

    async function describe(engine, model) {
      if (!await keep() || !await tools.set({ caption_engine: engine, caption_model: model })) return;
      const begun = await ask("teach_caption");
      if (begun.problems || begun.stale) {
        tools.take(begun);
        return;
      }
      tools.take(begun);
      follow(begun);
    }

    function follow(begun) {
      const within = offer.contains(document.activeElement);
      withdraw();
      if (begun.queued) {
        const gone = () => {
          following = null;
          count(true);
        };
        following = window.KG.jobs.wait(job, begun.queued, { look: server.look_results, stop: server.stop_run, started: (run) => follow({ run }), gone });
        return;
      }
      const told = h("p.kg-quiet", { role: "status" });
      const bar = window.KG.progressBar(t("captioning.progress"));
      fill(job, told, bar, row(
        h("button.kg-button", { type: "button", onclick: () => server.stop_run({ run: begun.run }) }, t("dataset.stop")),
        h("a.kg-small", { href: page("runs", { run: begun.run }) }, t("dataset.log"))));
      if (within) job.querySelector("button").focus();
      following = every(800, async () => {
        const now = await server.look_results({ run: begun.run, page: 0 });
        if (stopped) return "stop";
        told.textContent = now.missing ? "" : now.active ? t("teach.describing", { done: now.count, total: now.total || "…" }) : now.detail;
        window.KG.setProgress(bar, now.total ? now.count / now.total : null);
        if (now.active) return undefined;
        following = null;
        const bad = now.state === "failed" || now.state === "lost";
        const result = bad ? h("div.kg-note.kg-bad", { role: "alert" }, now.detail, " ", now.hint || "", now.problems.map((one) => h("p", {}, one)))
          : h("div.kg-note.kg-good", { role: "status" }, now.detail, " ", now.undo ? h("button.kg-button.kg-slim", { type: "button", onclick: () => back(begun.run, now.undo.what) }, t(`captioning.${now.undo.what}`)) : null);
        refill(job, result);
        drawn = "";
        count(true);
        return "stop";
      });
    }

    async function back(run, what) {
      const answer = await server.change_back({ run, what });
      fill(job, h(`p.kg-note${answer.problem ? ".kg-bad" : ""}`, { role: "status" }, answer.problem || answer.text));
      drawn = "";
      count(true);
    }

    // ---- the grid ----
    async function drawGrid() {
      const answer = await server.look({ folder, offset: 0, limit: shown, state: "used", again: drawn === "" });
      if (stopped) return;
      if (answer.working) {
        setTimeout(drawGrid, 400);
        return;
      }
      if (answer.problem) {
        fill(grid, h("li", {}, problems(answer)));
        return;
      }
      const mark = JSON.stringify(answer.rows.map((one) => [one.id, one.caption]));
      if (mark === drawn) return;
      drawn = mark;
      fill(grid, answer.rows.map((one) => cell(one)));
      fill(more, answer.count > answer.rows.length ? h("button.kg-button", { type: "button", onclick: () => { shown += 48; drawGrid(); } }, t("teach.show_more", { n: answer.count - answer.rows.length })) : null);
      let wanted = answer.rows.map((one) => one.id);
      for (let round = 0; wanted.length && round < 30 && !stopped; round += 1) {
        const small = (await server.small({ folder, ids: wanted })).files || {};
        for (const [id, path] of Object.entries(small)) {
          const place = grid.querySelector(`[data-id="${id}"] .kg-teach-image`);
          if (place && path) fill(place, h("img", { src: file(path), alt: "", loading: "lazy" }));
        }
        wanted = wanted.filter((id) => !(id in small));
      }
    }

    let savings = Promise.resolve();
    function cell(one) {
      const text = h("textarea.kg-input", { rows: "3", "aria-label": t("teach.caption_of", { name: one.name }), placeholder: t("teach.no_caption"), spellcheck: "true" });
      text.value = one.caption;
      const state = h("span.kg-small.kg-quiet", { "aria-live": "polite" });
      let kept = one.caption;
      text.addEventListener("change", () => {
        savings = save(one, text, state, () => kept).then((now) => { kept = now; });
      });
      return h("li", { "data-id": one.id }, h("div.kg-teach-image"), h("div", {}, text, state));
    }

    async function save(one, text, state, before) {
      const wanted = text.value.trim();
      const now = await server.picture({ folder, id: one.id });
      if (now.problem || now.closed) {
        fill(state, problems({ problem: now.problem || now.closed }));
        return before();
      }
      if ((now.texts[0] || "") !== before()) {
        fill(state, t("teach.caption_changed"), " ", h("em", {}, now.texts[0] || ""));
        return now.texts[0] || "";
      }
      const answer = await server.save({ folder, id: one.id, texts: [wanted, ...now.texts.slice(1)], mark: now.mark });
      const wrong = answer.problem || (answer.failed && answer.failed.length && answer.failed[0][1]) || (answer.changed && answer.changed.length && t("teach.caption_changed"));
      fill(state, wrong || t("dataset.saved"));
      return wrong ? before() : wanted;
    }

    if (word.value) check();
    count();
    (async () => {
      const { caption_queued: queued, caption_run: known } = tools.project;
      const place = queued ? await server.look_results({ queued }) : { run: known };
      const now = place.run ? await server.look_results({ run: place.run, page: 0 }) : place;
      if (!stopped && (now.active || now.waits)) follow(now.active ? { run: place.run } : { queued });
    })();
    return {
      stop() {
        stopped = true;
        clearTimeout(waiting);
        if (looking) looking.stop();
        if (following) following.stop();
      },
    };
  };
})();
