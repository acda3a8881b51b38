// Several runs side by side: losses over each other, what differs in their settings, previews in a grid.
(() => {
  "use strict";
  const { t, h, fill, page, file, every } = window.KG;
  const FEWEST = 2;
  const MOST = 6;

  window.KG.bulkActions.unshift(({ runs }) => {
    const fits = runs.length >= FEWEST && runs.length <= MOST;
    const address = page("runs", runs.map((run) => ["compare", run.id]));
    return fits ? h("a.kg-button.kg-slim.kg-primary", { href: address, "data-key": "bulk-compare" }, t("compare.compare"))
      : [h("button.kg-button.kg-slim", { type: "button", disabled: true }, t("compare.compare")), h("span.kg-small", {}, t("compare.how_many"))];
  });

  const colour = (i) => `--kg-run-${i + 1}`;
  const dot = (i) => h("i.kg-run-dot", { style: `background:var(${colour(i)})`, "aria-hidden": "true" });

  function losses(holder, kind, title) {
    const chart = window.KG.chart(holder, { title, height: 260 });
    return (runs, byPictures) => {
      const some = runs.some((run) => run[kind].x.length);
      holder.hidden = !some;
      chart.update({
        xLabel: byPictures ? t("compare.pictures") : t("run.step"), xMax: 0,
        series: runs.map((run, i) => ({ name: run.name, colour: colour(i), width: 2, y: run[kind].y, x: run[kind].x.map((step) => (byPictures ? step * run.pictures_per_step : step)) })),
      });
    };
  }

  function differences(now) {
    if (now.runs.length < FEWEST) return null;
    if (!now.differences.length) return h("p.kg-quiet", {}, t("compare.same"));
    return h("div.kg-scroll-x", { tabindex: "0", "aria-label": t("compare.differences") }, h("table.kg-table.kg-compare-table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("failure.option")), now.runs.map((run, i) => h("th", { scope: "col" }, dot(i), run.name)))),
      h("tbody", {}, now.differences.map((one) => h("tr", { "data-option": one.option },
        h("th", { scope: "row" }, one.label, " ", h("code.kg-faint", {}, one.option)), one.values.map((value) => h("td", {}, value)))))));
  }

  function previews(now) {
    if (!now.previews.length) return h("p.kg-quiet", {}, t("compare.no_previews"));
    return now.previews.map((row) => {
      const steps = [...new Set(row.cells.map((cell) => cell.step))].sort((a, b) => a - b);
      const cell = (run, step) => {
        const found = row.cells.find((one) => one.run === run.id && one.step === step);
        return h("td", {}, found && found.file ? h("a.kg-thumb", { href: file(found.file), target: "_blank", rel: "noopener" },
          h("img", { src: file(found.small || found.file), alt: `${run.name}, ${t("run.step")} ${step}: ${row.prompt}`, loading: "lazy", width: 132, height: 132 })) : null);
      };
      return h("div.kg-compare-prompt", {}, h("h3.kg-h.kg-small", {}, row.prompt, row.seed === null ? "" : ` · ${t("run.seed")} ${row.seed}`),
        h("div.kg-scroll-x", { tabindex: "0", "aria-label": row.prompt }, h("table.kg-matrix", {},
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("runs.name")), steps.map((step) => h("th", { scope: "col" }, `${t("run.step")} ${step}`)))),
          h("tbody", {}, now.runs.map((run, i) => h("tr", {}, h("th", { scope: "row" }, dot(i), run.name), steps.map((step) => cell(run, step))))))));
    });
  }

  window.KG.compareView = (holder, ids, server) => {
    let byPictures = false;
    let now = null;
    const drawn = {};
    /** Whether a part is to be drawn anew: what did not change keeps its place, the focus in it too. */
    const changed = (part, ...what) => {
      const before = drawn[part];
      drawn[part] = JSON.stringify(what);
      return drawn[part] !== before;
    };
    const lossHolder = h("section.kg-card");
    const validationHolder = h("section.kg-card", { hidden: true });
    const settings = h("section.kg-card");
    const pictures = h("section.kg-card");
    const head = h("div");
    const axis = (value, text) => h("label.kg-check", {}, h("input", { type: "radio", name: "kg-axis", checked: byPictures === value, onchange: () => { byPictures = value; drawCharts(); } }), text);
    fill(holder, h("p", {}, h("a", { href: page("runs") }, `← ${t("runs.all")}`)), h("h1.kg-page-title", {}, t("compare.title")), head);
    const body = h("div.kg-compare", { hidden: true },
      h("fieldset.kg-axis", {}, h("legend.kg-small.kg-quiet", {}, t("compare.axis")), axis(false, t("compare.by_step")), axis(true, t("compare.by_pictures"))),
      lossHolder, validationHolder, settings, pictures);
    holder.append(body);
    const drawLoss = losses(lossHolder, "loss_curve", t("run.loss"));
    const drawValidation = losses(validationHolder, "validation", `${t("run.loss")} (${t("run.loss_validation")})`);
    function drawCharts() {
      drawLoss(now.runs, byPictures);
      drawValidation(now.runs, byPictures);
    }
    return every(5000, async () => {
      const answer = await server.compare_runs({ runs: ids });
      if (answer.problem) {
        fill(head, h("div.kg-note.kg-bad", { role: "alert" }, answer.problem));
        return "stop";
      }
      now = answer;
      body.hidden = !now.runs.length;
      const names = now.runs.map((run) => run.name);
      if (changed("head", names, now.missing, now.runs.map((run) => run.state))) {
        fill(head, now.missing.length ? h("div.kg-note.kg-warn", { role: "status" }, t("compare.missing", { names: now.missing.join(", ") })) : null,
          h("ul.kg-compare-runs", {}, now.runs.map((run, i) => h("li", {}, dot(i), h("a", { href: page("runs", { run: run.id }) }, run.name), " ", window.KG.stateTag(run)))));
      }
      if (changed("settings", names, now.differences)) fill(settings, h("h2.kg-h", {}, t("compare.differences")), differences(now));
      if (changed("pictures", names, now.previews)) fill(pictures, h("h2.kg-h", {}, t("run.samples")), now.previews.length ? h("p.kg-quiet.kg-small", {}, t("compare.aligned")) : null, previews(now));
      drawCharts();
      if (now.more) return "again";
      return now.runs.some((run) => run.active) ? undefined : "stop";
    });
  };
})();
