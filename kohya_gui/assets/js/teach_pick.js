// Guided step “Pick”: what was saved along the way side by side, the one to keep, or what to change.
(() => {
  "use strict";
  const { t, h, fill, bytes, number, copy, file, page } = window.KG;
  const FAULTS = ["weak", "burnt", "pose", "leaks"];

  window.KG.teach.steps.pick = (card, tools) => {
    const { server, ask, take } = tools;
    const { problems, row } = window.KG.teach;
    const advice = h("div", { "aria-live": "polite" });
    const strip = h("div.kg-scroll-x", { tabindex: "0", "aria-label": t("teach.checkpoints") });
    const said = h("div", { "aria-live": "polite" });
    const other = h("div", { "aria-live": "polite" });
    let stopped = false;
    let samples = [];
    const trial = window.KG.teach.trial(tools, (tried) => {
      painted = tried;
      if (results) draw(results);
    });
    let painted = null;
    let results = null;

    fill(card, h("h2.kg-teach-question", {}, t("teach.pick_question")), h("p.kg-quiet.kg-why", {}, t("teach.pick_why")),
      advice, strip, said, trial.node,
      h("section.kg-teach-sunk", {}, h("h3.kg-h", {}, t("teach.not_good")), row(FAULTS.map((fault) => h("button.kg-button", { type: "button", "data-fault": fault, onclick: () => propose(fault) }, t(`teach.fault_${fault}`)))), other),
      h("div.kg-teach-foot", {}, h("button.kg-button", { type: "button", onclick: () => tools.go("watch") }, t("teach.back")),
        h("a.kg-button", { href: page("teach") }, t("teach.something_else"))));

    async function read() {
      let stamp = "";
      for (let round = 0; round < 20 && !stopped; round += 1) {
        const look = await server.look_run({ run: tools.project.run, stamp, log_from: 0 });
        if (look.data) samples = look.data.samples;
        if (look.missing || !look.data || !look.data.more_thumbnails) break;
        stamp = "";
      }
      const found = await ask("teach_results");
      if (stopped) return;
      if (found.problems) {
        fill(said, problems(found));
        return;
      }
      results = found;
      draw(found);
      trial.begin(samples.length ? samples[0].prompt : tools.project.word);
    }

    /** The row of pictures that somebody asked for with own words. */
    function ownRow(list, before) {
      if (!painted || !painted.prompt) return null;
      const one = (step) => h("td", {}, painted.pictures[step] ? h("a.kg-thumb", { href: file(painted.pictures[step]), target: "_blank", rel: "noopener" }, h("img", { src: file(painted.pictures[step]), alt: `${t("run.step")} ${step}: ${painted.prompt}`, width: 132, height: 132 })) : h("span.kg-faint", {}, painted.over ? "–" : "…"));
      return h("tr", { id: "kg-teach-own" }, h("th", { scope: "row" }, painted.prompt, h("div.kg-tag", {}, t("teach.painted_with", { n: painted.strength }))), before ? one("0") : null, list.map((checkpoint) => one(String(checkpoint.step))));
    }

    function draw(found) {
      if (!found.checkpoints.length) {
        fill(strip, h("p.kg-empty", {}, t("teach.no_checkpoints")));
        return;
      }
      fill(advice, h("p.kg-note", { id: "kg-teach-advice" }, found.reason));
      const list = found.checkpoints;
      const indexes = [...new Set(samples.map((one) => one.index))].sort((a, b) => a - b);
      const before = samples.filter((one) => one.step === 0);
      const cell = (index, step) => {
        const one = samples.find((sample) => sample.index === index && sample.step === step);
        return h("td", {}, one && one.file ? h("a.kg-thumb", { href: file(one.file), target: "_blank", rel: "noopener" }, h("img", { src: file(one.small || one.file), alt: `${t("run.step")} ${step}: ${one.prompt}`, width: 132, height: 132, loading: "lazy" })) : h("span.kg-faint", {}, "–"));
      };
      const prompt = (index) => samples.find((one) => one.index === index).prompt;
      const without = (index) => !prompt(index).toLowerCase().includes(tools.project.trigger.toLowerCase());
      fill(strip, h("table.kg-matrix.kg-teach-matrix", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("run.prompt")), before.length ? h("th", { scope: "col" }, t("run.before")) : null,
          list.map((one) => h("th", { scope: "col", "data-advised": String(one.step === found.advice) }, `${t("run.step")} ${one.step}`, one.step === found.advice ? h("div.kg-tag.kg-good", {}, t("teach.begin_here")) : null)))),
        h("tbody", {}, indexes.map((index) => h("tr", {}, h("th", { scope: "row" }, prompt(index), without(index) ? h("div.kg-tag.kg-warn", {}, t("teach.without_word")) : null),
          before.length ? cell(index, 0) : null, list.map((one) => cell(index, one.step)))),
        ownRow(list, before.length > 0),
        h("tr", {}, h("th", { scope: "row" }, t("teach.take")), before.length ? h("td") : null, list.map((one) => h("td", {},
          h(`button.kg-button${one.step === found.advice ? ".kg-primary" : ""}`, { type: "button", "data-pick": String(one.step), onclick: () => pick(one) }, t("teach.pick")),
          h("div.kg-small.kg-quiet", {}, bytes(one.bytes)), one.loss === null ? null : h("div.kg-small.kg-quiet", {}, t("teach.held_loss", { n: number(one.loss, 3) }))))))));
      if (found.picked) picked(found.picked);
    }

    async function pick(one) {
      const answer = await ask("teach_pick", { step: one.step });
      if (answer.problems) {
        fill(said, problems(answer));
        return;
      }
      await tools.refresh();
      picked(answer.picked, one);
    }

    function picked(path, one) {
      fill(said, h("div.kg-note.kg-good", { role: "status", id: "kg-teach-picked" },
        h("strong", {}, t("teach.picked")), h("p.kg-code", {}, path),
        row(h("button.kg-button.kg-slim", { type: "button", onclick: (event) => copy(path, event.currentTarget) }, t("run.copy_path")),
          one ? h("a", { href: file(one.file), download: path.split(/[\\/]/).pop() }, t("form.download")) : null),
        h("p", {}, t("teach.use", { word: tools.project.word }))));
    }

    async function propose(fault) {
      const answer = await ask("teach_again", { fault });
      if (stopped) return;
      if (answer.problems) {
        fill(other, problems(answer));
        return;
      }
      fill(other, h("p", {}, answer.reasons.join(" ")),
        answer.rows.length ? h("table.kg-table.kg-teach-difference", {}, h("thead", {}, h("tr", {}, [t("teach.setting"), t("teach.before"), t("teach.after")].map((name) => h("th", { scope: "col" }, name)))),
          h("tbody", {}, answer.rows.map((one) => h("tr", {}, h("td", {}, one.label, one.option ? h("div.kg-code.kg-faint", {}, one.option) : null), h("td", {}, h("del", {}, one.before)), h("td", {}, h("ins", {}, one.after)))))) : null,
        row(h("button.kg-button.kg-primary", { type: "button", id: "kg-teach-apply", onclick: () => apply(fault) }, t("teach.apply"))));
    }

    async function apply(fault) {
      const answer = await ask("teach_again", { fault, apply: true });
      if (!take(answer)) return;
      if (await tools.refresh()) tools.draw();
    }

    read();
    return {
      stop() {
        stopped = true;
        trial.stop();
      },
    };
  };
})();
