// One run: how it stands, its charts, pictures, files and log; and the buttons that ask it for something.
(() => {
  "use strict";
  const { t, h, fill, every, number, duration, bytes, copy, page, file } = window.KG;
  const tones = {
    starting: "kg-live", running: "kg-live", stopping: "kg-warn",
    finished: "kg-good", stopped: "kg-good", failed: "kg-bad", lost: "kg-bad",
  };
  window.KG.stateTag = (run) => h(`span.kg-tag.${tones[run.state] || "kg-live"}`, { "data-state": run.state }, run.state_text);

  /** A question with a clear way back; resolves to true when it was confirmed. */
  window.KG.confirm = ({ title, text, yes, danger, single }) =>
    new Promise((resolve) => {
      const end = (answer) => {
        dialog.close();
        dialog.remove();
        resolve(answer);
      };
      const dialog = h("dialog.kg-dialog.kg-narrow", { "aria-label": title },
        h("div.kg-dialog-head", {}, h("h2", {}, title)),
        h("div.kg-dialog-body", {}, typeof text === "string" ? h("p.kg-pre-line", {}, text) : text),
        h("div.kg-dialog-foot", {},
          single ? null : h("button.kg-button", { type: "button", autofocus: true, onclick: () => end(false) }, t("common.cancel")),
          h(`button.kg-button${danger ? ".kg-danger" : ".kg-primary"}`, { type: "button", onclick: () => end(true) }, yes)));
      dialog.addEventListener("cancel", (event) => {
        event.preventDefault();
        end(false);
      });
      document.body.append(dialog);
      dialog.showModal();
    });

  /** Say why something was not done. */
  window.KG.tell = (text) => window.KG.confirm({ title: t("run.failed_to_ask"), text, yes: t("common.close"), single: true });

  /**
   * Pictures by prompt (rows) and step (columns); a click shows one large, arrows go on.
   * `note(prompt)` is what is said below a prompt, "" for nothing.
   */
  window.KG.gallery = gallery;
  function gallery(holder, { note = () => "" } = {}) {
    let shown = "";
    function large(samples, start) {
      let at = start;
      const image = h("img", { alt: "" });
      const text = h("p.kg-small");
      const draw = () => {
        const sample = samples[at];
        image.src = file(sample.file);
        image.alt = sample.prompt;
        text.textContent = `${t("run.step")} ${sample.step}${sample.seed === null ? "" : ` · ${t("run.seed")} ${sample.seed}`} · ${sample.prompt}`;
      };
      const turn = (by) => {
        at = (at + by + samples.length) % samples.length;
        draw();
      };
      const dialog = h("dialog.kg-dialog.kg-large", { "aria-label": t("run.samples") },
        h("div.kg-dialog-body", {}, image, text),
        h("div.kg-dialog-foot", {},
          h("button.kg-button", { type: "button", onclick: () => turn(-1) }, t("run.previous")),
          h("button.kg-button", { type: "button", onclick: () => turn(1) }, t("run.next")),
          h("button.kg-button", { type: "button", onclick: () => dialog.close() }, t("common.close"))));
      dialog.addEventListener("close", () => dialog.remove());
      dialog.addEventListener("keydown", (event) => {
        if (event.key === "ArrowLeft") turn(-1);
        if (event.key === "ArrowRight") turn(1);
      });
      document.body.append(dialog);
      draw();
      dialog.showModal();
    }
    return (samples, active) => {
      const mark = JSON.stringify(samples.map((s) => [s.file, s.small]));
      if (mark === shown && samples.length) return;
      shown = mark;
      if (!samples.length) {
        fill(holder, h("p.kg-quiet", {}, active ? t("run.no_samples_yet") : t("run.no_samples")));
        return;
      }
      const steps = [...new Set(samples.map((s) => s.step))].sort((a, b) => a - b);
      const prompts = new Map();
      for (const sample of samples) {
        if (!prompts.has(sample.index)) prompts.set(sample.index, { text: sample.prompt, byStep: new Map() });
        const cells = prompts.get(sample.index).byStep;
        if (!cells.has(sample.step)) cells.set(sample.step, []);
        cells.get(sample.step).push(sample);
      }
      const withFile = samples.filter((s) => s.file);
      const cell = (found) => h("td", {}, (found || []).map((sample) => sample.file
        ? h("button.kg-thumb", { type: "button", title: sample.prompt, onclick: () => large(withFile, withFile.indexOf(sample)) },
          h("img", { src: file(sample.small || sample.file), alt: `${t("run.step")} ${sample.step}: ${sample.prompt}`, loading: "lazy", width: 132, height: 132 }))
        : h("span.kg-faint", {}, t("run.gone"))));
      const table = h("table.kg-matrix", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("run.prompt")), steps.map((step) => h("th", { scope: "col" }, step ? `${t("run.step")} ${step}` : t("run.before"))))),
        h("tbody", {}, [...prompts.entries()].sort((a, b) => a[0] - b[0]).map(([, prompt]) =>
          h("tr", {}, h("th", { scope: "row" }, prompt.text, note(prompt.text) ? h("div.kg-tag.kg-warn", {}, note(prompt.text)) : null), steps.map((step) => cell(prompt.byStep.get(step)))))));
      const scroller = h("div.kg-scroll-x", { tabindex: "0", "aria-label": t("run.samples") }, table);
      const old = holder.querySelector(".kg-scroll-x");
      const atEnd = !old || old.scrollLeft + old.clientWidth >= old.scrollWidth - 40;
      const before = old ? old.scrollLeft : 0;
      fill(holder, scroller);
      scroller.scrollLeft = atEnd ? scroller.scrollWidth : before;
    };
  }

  function facts(now, data) {
    const item = (name, value, id) => h("div.kg-fact", {}, h("dt", {}, name), h("dd", { "data-fact": id }, value));
    const rate = now.seconds_per_step;
    const speed = !rate ? "–" : rate >= 1 ? t("run.seconds_per_step", { n: number(rate, 3) }) : t("run.steps_per_second", { n: number(1 / rate, 3) });
    const end = now.ended || (now.active ? Date.now() / 1000 : null);
    return h("dl.kg-facts", {},
      item(t("run.step"), now.total_steps ? `${now.step} / ${now.total_steps}` : String(now.step || "–"), "step"),
      item(t("run.epoch"), now.num_epochs ? `${now.epoch || 0} / ${now.num_epochs}` : "–", "epoch"),
      item(t("run.loss"), number(now.loss), "loss"),
      item(t("run.speed"), speed, "speed"),
      now.active ? item(t("run.eta"), duration(now.eta_seconds), "eta") : null,
      item(t("run.elapsed"), now.started && end ? duration(end - now.started) : "–", "elapsed"),
      data && data.num_images ? item(t("run.images"), String(data.num_images), "images") : null,
      now.family ? item(t("run.family"), t(`family.${now.family}`), "family") : null);
  }

  function files(data, now) {
    const { active } = now;
    const goOn = (save) => {
      if (active || !save.there || !now.page) return null;
      if (save.kind === "state") return h("a.kg-button.kg-slim", { href: page(now.page, { from: now.run, resume: save.file }) }, t("run.resume_here"));
      return now.forks ? h("a.kg-button.kg-slim", { href: page(now.page, { from: now.run, fork: save.file }), title: t("run.fork_why") }, t("run.fork")) : null;
    };
    if (!data.saves.length) return h("p.kg-quiet", {}, active ? t("run.no_files_yet", { folder: data.output_dir }) : t("run.no_files"));
    const rows = [...data.saves].reverse().map((save) => h("tr", {},
      h("td", {}, save.servable ? h("a", { href: file(save.file), download: save.name }, save.name) : save.name,
        save.there ? null : h("span.kg-faint", {}, ` ${t("run.gone")}`),
        h("div.kg-code.kg-faint", {}, save.file)),
      h("td", {}, t(`run.kind_${save.kind}`)),
      h("td.kg-num", { "data-name": t("run.step") }, String(save.step)),
      h("td.kg-num", {}, bytes(save.bytes)),
      h("td", {}, h("span.kg-row", {}, goOn(save),
        save.there && save.kind === "weights" ? h("a.kg-button.kg-slim", { href: page("try", { run: now.run, file: save.file }) }, t("run.try")) : null,
        h("button.kg-button.kg-slim", { type: "button", onclick: (event) => copy(save.file, event.currentTarget) }, t("run.copy_path"))))));
    return h("div.kg-scroll-x", {}, h("table.kg-table.kg-stack", {},
      h("thead", {}, h("tr", {}, [t("run.file"), t("run.kind"), t("run.step"), t("run.size"), ""].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows)));
  }

  function troubles(now) {
    if (now.unreadable) return h("div.kg-note.kg-bad", { role: "alert" }, now.unreadable);
    if (!now.problems.length && !["failed", "lost", "stopping"].includes(now.state)) return null;
    const bad = ["failed", "lost"].includes(now.state);
    return h(`div.kg-note.${bad ? "kg-bad" : "kg-warn"}`, { role: bad ? "alert" : "status" },
      h("strong", {}, now.detail), now.hint ? h("p", {}, now.hint) : null,
      now.problems.length ? h("ul", {}, now.problems.map((problem) =>
        h("li", {}, problem.option ? h("code", {}, `${problem.option}: `) : null, problem.message, problem.hint ? ` → ${problem.hint}` : ""))) : null);
  }

  /** Fill `holder` with the view of run `id`; returns what ends its looking. */
  window.KG.runView = (holder, id, server) => {
    let data = null;
    let stamp = "";
    let quietLooks = 0;
    let lastNow = null;
    const head = h("div");
    const progress = window.KG.progressBar(t("run.progress"), 0);
    const doing = h("p.kg-quiet", { role: "status", "data-fact": "detail" });
    const numbers = h("div");
    const buttons = h("div.kg-row.kg-actions");
    const trouble = h("div");
    const lossHolder = h("div");
    const rateHolder = h("div");
    const sampleHolder = h("div");
    const fileHolder = h("div");
    const failureHolder = h("div");
    let failureShown = "";
    const noteHolder = h("section.kg-card");
    const warningCard = h("section.kg-card", { hidden: true });
    const logHolder = h("div");
    const about = h("div");
    const card = (title, ...body) => h("section.kg-card", {}, h("h2.kg-h", {}, title), ...body);
    fill(holder,
      h("p", {}, h("a", { href: page("runs") }, `← ${t("runs.all")}`)),
      h("section.kg-card", { "data-run": id }, head, progress, doing, trouble, failureHolder, numbers, buttons),
      h("div.kg-columns", {}, h("section.kg-card", {}, lossHolder), h("section.kg-card", {}, rateHolder)),
      card(t("run.samples"), sampleHolder), card(t("run.files"), fileHolder), warningCard, noteHolder,
      card(t("log.title"), logHolder), h("details.kg-card", {}, h("summary", {}, t("run.about")), about));
    const lossChart = window.KG.chart(lossHolder, { title: t("run.loss") });
    const rateChart = window.KG.chart(rateHolder, { title: t("run.rate") });
    const showSamples = gallery(sampleHolder);
    let log = null;

    async function ask(what, button) {
      if (button) button.disabled = true;
      const answer = await server.ask_run({ run: id, what });
      if (answer && answer.problem) {
        await window.KG.tell(answer.problem);
        buttonsShown = ""; // it can be asked again
      }
      looking.now();
    }

    async function kill() {
      const saved = data ? Math.max(0, ...data.saves.map((s) => s.step)) : 0;
      const lost = Math.max(0, (lastNow ? lastNow.step : 0) - saved);
      const over = lastNow && !lastNow.active;
      const sure = await window.KG.confirm({
        title: t("run.kill_title"), danger: true, yes: t("run.kill"),
        text: over ? t("run.kill_over") : saved ? t("run.kill_lost_since", { lost, saved }) : t("run.kill_lost_all", { lost }),
      });
      if (sure) ask("kill");
    }

    let buttonsShown = "";
    function drawButtons(now) {
      const mark = JSON.stringify([now.active, now.alive, now.state, now.asked, now.resume_from]);
      if (mark === buttonsShown) return;
      buttonsShown = mark;
      const wish = (what) => h("button.kg-button", { type: "button", "data-ask": what, disabled: now.asked.includes(what) || now.state !== "running", onclick: (e) => ask(what, e.currentTarget) },
        now.asked.includes(what) ? t(`run.${what}_asked`) : t(`run.${what}`));
      const pausing = () => (now.asked.includes("pause")
        ? h("button.kg-button", { type: "button", "data-ask": "go_on", onclick: (e) => ask("go_on", e.currentTarget) }, t("run.go_on"))
        : h("button.kg-button", { type: "button", "data-ask": "pause", disabled: now.state !== "running", title: t("run.pause_why"), onclick: (e) => ask("pause", e.currentTarget) }, t("run.pause")));
      if (now.active) {
        const stopping = now.state === "stopping";
        fill(buttons,
          stopping
            ? [h("button.kg-button", { type: "button", disabled: true }, t("run.stopping")),
              h("button.kg-button.kg-danger", { type: "button", "data-ask": "kill", onclick: kill }, t("run.kill"))]
            : h("button.kg-button.kg-primary", { type: "button", "data-ask": "stop", onclick: (e) => ask("stop", e.currentTarget) }, t("run.stop")),
          wish("sample"), wish("save"), stopping ? null : pausing(), h("span.kg-quiet.kg-small", {}, t("run.goes_on")));
      } else {
        fill(buttons,
          now.page ? h(`a.kg-button${now.failure && now.failure.remedies.length ? "" : ".kg-primary"}`, { href: page(now.page, { from: id }) }, t("run.again")) : null,
          now.page && now.resume_from ? h("a.kg-button", { href: page(now.page, { from: id, resume: "1" }) }, t("run.resume")) : null,
          now.alive ? null : h("button.kg-button.kg-danger", { type: "button", "data-ask": "delete", onclick: async () => { if (await window.KG.deleteRuns([{ id, name: now.name }], server)) window.location.assign(page("runs")); } }, t("runs.delete")),
          now.alive ? h("button.kg-button.kg-danger", { type: "button", "data-ask": "kill", onclick: kill }, t("run.kill")) : null);
      }
    }

    function drawData(now) {
      const chart = data.chart;
      const line = (name, colour, curve, more) => ({ name, colour, x: curve.x, y: curve.y, ...more });
      lossChart.update({
        xLabel: t("run.step"), xMax: 0,
        series: [
          line(t("run.loss_raw"), "--kg-series-raw", chart.loss, { width: 1, clip: true }),
          line(t("run.loss_smooth"), "--kg-series", chart.smoothed, { width: 2 }),
          line(t("run.loss_validation"), "--kg-series-2", chart.validation, { width: 2 }),
        ],
      });
      const colours = ["--kg-series", "--kg-series-2", "--kg-series-3"];
      rateChart.update({
        xLabel: t("run.step"), xMax: 0,
        series: Object.entries(chart.rates).map(([name, curve], i) => line(name, colours[i % 3], curve, { width: 2, zero: true })),
      });
      showSamples(data.samples, now.active);
      fill(fileHolder, files(data, now));
      warningCard.hidden = !data.warnings.length;
      fill(warningCard, h("h2.kg-h", {}, t("run.warnings", { n: data.warnings.length })),
        data.warnings.map((w) => h("div.kg-note.kg-warn", {}, w.option ? h("code", {}, `${w.option}: `) : null, w.text, w.hint ? h("div.kg-small", {}, w.hint) : null)));
    }

    function draw(now) {
      fill(head, h("div.kg-row", {}, h("h1.kg-page-title", {}, now.name), window.KG.stateTag(now)));
      document.title = `${now.fraction && now.active ? `${Math.floor(now.fraction * 100)} % ` : ""}${now.name}`;
      const phase = data && data.phase;
      const preparing = now.active && !now.step && phase && phase.total;
      const fraction = preparing ? phase.done / phase.total : now.fraction;
      progress.hidden = !now.active && fraction === null;
      window.KG.setProgress(progress, fraction);
      const trouble_ = troubles(now);
      const failure = JSON.stringify(now.failure);
      if (failure !== failureShown) {
        failureShown = failure;
        fill(failureHolder, window.KG.failureCard(now, server));
      }
      doing.textContent = trouble_ ? "" : [now.detail, now.active ? null : now.hint].filter(Boolean).join(" ");
      fill(trouble, trouble_);
      fill(numbers, facts(now, data));
      drawButtons(now);
    }

    const looking = every(3000, async () => {
      const now = await server.look_run({ run: id, stamp, log_from: log ? log.next() : 0 });
      if (now.missing) {
        fill(holder, h("div.kg-empty", {}, h("p", {}, t("run.missing", { id })), h("a.kg-button", { href: page("runs") }, t("runs.all"))));
        return "stop";
      }
      if (!log) {
        window.KG.noteCard(noteHolder, id, server);
        log = window.KG.logPane(logHolder, { wholeLog: file(now.log_file) });
        fill(about, h("p", {}, t("run.folder"), " ", h("code", {}, now.folder)), h("p", {}, t("run.command")), h("pre.kg-pre", {}, now.argv.join(" ")));
      }
      lastNow = now;
      if (now.data) data = now.data;
      stamp = data && data.more_thumbnails ? "" : now.stamp;
      draw(now);
      if (now.data) drawData(now);
      log.update(now.log);
      // A run that is over does not change any more; two more looks catch its last words.
      quietLooks = now.active || now.alive || stamp === "" ? 0 : quietLooks + 1;
      if (quietLooks > 2) return "stop";
      return now.data || now.log.lines.length ? undefined : "same";
    });
    return looking;
  };
})();
