// Part of the guided step “Pick”: own words and a strength, painted with every result.
(() => {
  "use strict";
  const { t, h, fill, every } = window.KG;

  /** Return the form as a node; `tell(tried)` hears of pictures as they come. */
  window.KG.teach.trial = (tools, tell) => {
    const { ask } = tools;
    const { problems, field, row } = window.KG.teach;
    const prompt = h("textarea.kg-input", { id: "kg-teach-prompt", rows: "2", maxlength: "2000", spellcheck: "false" });
    const strength = h("input", { type: "range", id: "kg-teach-strength", min: "0", max: "1.2", step: "0.05", value: "1", oninput: () => label() });
    const seed = h("input.kg-input", { type: "number", id: "kg-teach-seed", min: "0", step: "1", value: "42" });
    const said = h("div", { "aria-live": "polite" });
    const go = h("button.kg-button", { type: "button", id: "kg-teach-paint", onclick: () => paint(false) }, t("teach.paint"));
    const strengthField = field("", strength, t("teach.strength_info"));
    const label = () => { strengthField.querySelector("label").textContent = t("teach.strength", { n: strength.value }); };
    const node = h("section.kg-teach-sunk", {}, h("h3.kg-h", {}, t("teach.try_title")),
      field(t("teach.try_prompt"), prompt, t("teach.try_prompt_info", { word: tools.project.word })),
      h("div.kg-teach-pair", {}, strengthField, field(t("teach.seed"), seed)), row(go), said);
    let looking = null;
    let stopped = false;
    label();

    async function paint(beside) {
      go.disabled = true;
      const wish = { prompt: prompt.value, strength: Number(strength.value), seed: Math.max(0, Math.round(Number(seed.value)) || 0), beside };
      const answer = await ask("teach_try", wish);
      go.disabled = false;
      if (stopped) return;
      if (answer.problems) fill(said, problems(answer));
      else if (answer.busy) fill(said, h("div.kg-note.kg-warn", { role: "alert" }, answer.busy), row(h("button.kg-button", { type: "button", onclick: () => paint(true) }, t("teach.paint_beside"))));
      else follow();
    }

    function follow() {
      if (looking) looking.stop();
      const bar = window.KG.progressBar(t("try.progress"), 0);
      const told = h("p.kg-quiet", { role: "status" });
      const progress = h("div", {}, told, bar, row(h("button.kg-button.kg-slim", { type: "button", onclick: () => ask("teach_try_end") }, t("teach.stop_painting"))));
      looking = every(700, async () => {
        const now = await ask("teach_tried");
        if (stopped) return "stop";
        if (now.state === "none" || (now.problems && !now.state)) return "stop";
        tell(now);
        if (now.over) {
          fill(said, now.problems.length ? problems(now) : null);
          return "stop";
        }
        if (!progress.isConnected) fill(said, progress);
        told.textContent = now.fraction ? t("teach.painting", { n: Math.round(100 * now.fraction) }) : now.doing || t("teach.painting_waits");
        window.KG.setProgress(bar, now.fraction);
        return undefined;
      });
    }

    return {
      node,
      /** Show what was tried last, else a prompt to begin with. */
      async begin(first) {
        const now = await ask("teach_tried");
        if (stopped) return;
        const known = now.state && now.state !== "none";
        if (!prompt.value) prompt.value = known ? now.prompt : first;
        if (!known) return;
        strength.value = String(now.strength);
        seed.value = String(now.seed);
        label();
        follow();
      },
      stop() {
        stopped = true;
        if (looking) looking.stop();
      },
    };
  };
})();
