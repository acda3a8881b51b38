// Guided step “Watch”: how far it is, what it paints on the way, and the buttons one may need.
(() => {
  "use strict";
  const { t, h, fill, every, duration, page } = window.KG;

  window.KG.teach.steps.watch = (card, tools) => {
    const { server, ask } = tools;
    const { problems, row } = window.KG.teach;
    const state = h("div", { "aria-live": "polite" });
    const progress = window.KG.progressBar(t("run.progress"), 0);
    const said = h("div", { "aria-live": "polite" });
    const buttons = h("div.kg-row.kg-actions");
    const holder = h("div");
    const next = h("button.kg-button.kg-primary", { type: "button", id: "kg-teach-next", disabled: true, onclick: () => tools.go("pick") }, t("teach.to_pick"));
    const gallery = window.KG.gallery(holder, { note: (prompt) => (prompt.toLowerCase().includes(tools.project.trigger.toLowerCase()) ? "" : t("teach.without_word")) });
    let stamp = "";
    let run = tools.project.run;
    let data = null;
    let stopped = false;
    let drawn = "";
    let calls = 0;
    let paused = false;

    const question = h("h2.kg-teach-question", {}, t("teach.watch_question"));
    const previews = h("div", {}, h("h3.kg-h", {}, t("run.samples")), h("p.kg-quiet.kg-small", {}, t("teach.samples_why")), holder);
    const why = h("p.kg-quiet.kg-why", {}, t("teach.watch_why"));
    fill(card, question, why,
      state, progress, buttons, said, previews,
      h("div.kg-teach-foot", {}, h("button.kg-button", { type: "button", onclick: () => tools.go("ready") }, t("teach.back")), next));

    async function request(what) {
      const answer = await server.ask_run({ run, what });
      if (answer.problem) fill(said, problems(answer));
      looking.now();
    }

    function drawButtons(now) {
      const mark = JSON.stringify([now.active, now.state, now.asked]);
      if (mark === drawn) return;
      drawn = mark;
      const button = (what, text, off, primary) => h(`button.kg-button${primary ? ".kg-primary" : ""}`, { type: "button", "data-ask": what, disabled: off, onclick: () => request(what) }, text);
      if (!now.active) {
        fill(buttons);
        return;
      }
      const stopping = now.state === "stopping" || now.asked.includes("stop");
      fill(buttons,
        button("stop", stopping ? t("run.stopping") : t("teach.stop"), stopping, true),
        paused ? button("go_on", t("teach.go_on_training"), false) : button("pause", t("teach.pause"), stopping),
        button("sample", now.asked.includes("sample") ? t("run.sample_asked") : t("teach.sample"), stopping || paused || now.asked.includes("sample")),
        h("span.kg-quiet.kg-small", {}, t("teach.close_tab")));
    }

    function draw(now) {
      paused = now.asked.includes("pause");
      const phase = data && data.phase;
      const preparing = now.active && !now.step && phase && phase.total;
      const fraction = preparing ? phase.done / phase.total : now.fraction;
      progress.hidden = !now.active && now.fraction === null;
      window.KG.setProgress(progress, fraction);
      const bad = ["failed", "lost"].includes(now.state);
      question.textContent = now.active ? t("teach.watch_question") : bad ? t("teach.watch_failed") : t("teach.watch_done");
      previews.hidden = bad && data !== null && !data.samples.length;
      why.hidden = previews.hidden;
      const left = now.active && now.eta_seconds ? t("teach.left", { time: duration(now.eta_seconds) }) : "";
      fill(state, row(window.KG.stateTag(now), h("span", { "data-fact": "step" }, now.total_steps ? t("teach.step_of", { n: now.step, of: now.total_steps }) : ""), h("strong", {}, left), paused ? h("span.kg-tag.kg-warn", {}, t("teach.paused")) : null),
        bad || (now.active && now.step) ? null : h("p.kg-quiet", {}, now.detail));
      if (bad) failure(now);
      drawButtons(now);
      const kept = data ? data.saves.filter((one) => one.kind === "weights" && one.there).length : 0;
      next.disabled = !kept;
      if (!now.active && !bad && kept && next !== document.activeElement) fill(said, h("p.kg-note.kg-good", { role: "status" }, t("teach.done")));
    }

    /** What went wrong, in a sentence, and the ways back. */
    function failure(now) {
      const kept = data ? data.saves.filter((one) => one.kind === "weights" && one.there).length : 0;
      fill(said, h("div.kg-note.kg-bad", { role: "alert", id: "kg-teach-failed" }, h("strong", {}, now.detail), now.hint ? h("p", {}, now.hint) : null,
        now.problems.map((one) => h("p", {}, one.message, one.hint ? ` ${one.hint}` : "")),
        kept ? h("p", {}, t("teach.failed_kept", { n: kept })) : null),
      row(h("button.kg-button.kg-primary", { type: "button", id: "kg-teach-again", onclick: () => tools.go("ready") }, t("teach.back_to_ready")),
        h("button.kg-button", { type: "button", onclick: () => tools.go("pictures") }, t("teach.back_to_pictures")),
        h("a", { href: page("runs", { run }) }, t("teach.whole_log"))));
    }

    const looking = every(1000, async () => {
      if (!run || calls % 5 === 0) {
        const now = await ask("teach_watch");
        if (stopped) return "stop";
        if (now.problems) {
          fill(said, problems(now));
          return "stop";
        }
        if (now.run && now.run !== run) {
          run = now.run;
          await tools.refresh();
        }
        if (!run) {
          progress.hidden = true;
          fill(state, h("p.kg-note", { role: "status", id: "kg-teach-waits" }, now.waits || t("teach.queue_gone")), row(h("a", { href: page("runs") }, t("runs.all"))));
          return undefined;
        }
      }
      calls += 1;
      const now = await server.look_run({ run, stamp, log_from: 0 });
      if (stopped) return "stop";
      if (now.missing) {
        progress.hidden = true;
        fill(said, h("div.kg-note.kg-bad", { role: "alert" }, t("teach.run_gone")), row(h("button.kg-button.kg-primary", { type: "button", onclick: () => tools.go("ready") }, t("teach.back_to_ready"))));
        return "stop";
      }
      if (now.data) data = now.data;
      stamp = data && data.more_thumbnails ? "" : now.stamp;
      draw(now);
      if (now.data) gallery(data.samples, now.active);
      return now.active || now.alive || stamp === "" ? undefined : "stop";
    });

    return {
      stop() {
        stopped = true;
        looking.stop();
      },
    };
  };
})();
