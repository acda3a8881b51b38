// What the model will see: single samples of an epoch with their crop, caption and cut-off tokens.
(() => {
  "use strict";
  const { t, h, fill, every, file } = window.KG;

  window.KG.widgets.dataset_samples = ({ element, server }) => {
    const holder = element.firstElementChild;
    let looking = null;
    const form = h("select.kg-input", { id: "kg-seen-form", "aria-label": t("samples.settings") });
    const number = (id, value, most) => h("input.kg-input.kg-short", { type: "number", id, min: "1", max: String(most), value: String(value) });
    const count = number("kg-seen-count", 12, 48);
    const epoch = number("kg-seen-epoch", 1, 100000);
    const go = h("button.kg-button.kg-primary", { type: "button", id: "kg-seen-draw", onclick: draw }, t("samples.draw"));
    const next = h("button.kg-button", { type: "button", onclick: () => { epoch.value = String(Number(epoch.value) + 1); draw(); } }, t("samples.next_epoch"));
    const note = h("div", { "aria-live": "polite" });
    const grid = h("ul.kg-seen-grid");
    fill(holder, h("section.kg-card", {}, h("p.kg-quiet", {}, t("samples.lead")),
      h("div.kg-row.kg-seen-bar", {},
        h("label.kg-field", {}, t("samples.settings"), form),
        h("label.kg-field", {}, t("samples.count"), count),
        h("label.kg-field", {}, t("samples.epoch"), epoch), go, next),
      note, grid));

    const draftOf = (page) => sessionStorage.getItem(`kg-draft-${page}`) || localStorage.getItem(`kg-last-draft-${page}`);
    const forms = server.training_forms().then((found) => {
      fill(form, found.map((one) => h("option", { value: one.job, "data-page": one.page }, draftOf(one.page) ? t("samples.form", { title: one.title }) : t("samples.defaults", { title: one.title }))));
    });

    async function draw() {
      const folder = await window.KG.dataset.wanted(note, go);
      if (!folder) return;
      go.disabled = true;
      if (looking) looking.stop();
      fill(note, h("p.kg-quiet", { role: "status" }, t("samples.drawing")), window.KG.progressBar(t("samples.drawing")));
      let begun;
      try {
        await forms;
        const chosen = form.selectedOptions[0];
        begun = await server.draw_samples({ folder, job: form.value, draft: draftOf(chosen.dataset.page), count: Number(count.value), epoch: Number(epoch.value) });
      } catch {
        begun = { problem: t("common.no_answer") };
      }
      // Another folder was opened meanwhile: these samples are not asked for any more.
      if (folder !== window.KG.dataset.folder) return;
      if (begun.problem) {
        go.disabled = false;
        fill(note, h("p.kg-note.kg-bad", { role: "alert" }, begun.problem));
        return;
      }
      looking = every(400, async () => {
        const now = await server.look_at_samples({ drawing: begun.drawing });
        if (now.state === "working") return undefined;
        go.disabled = false;
        if (now.result) show(now.result);
        else fill(note, h("div.kg-note.kg-bad", {}, h("strong", {}, t("samples.failed")), h("pre.kg-pre", {}, now.text)));
        return "stop";
      });
    }

    function show(result) {
      fill(note, h("p.kg-small.kg-quiet", { "data-seen": String(result.rows.length) }, t("samples.shown", { n: result.rows.length, of: result.num_showings, epoch: result.epoch, seed: result.seed })),
        result.problems.length ? h("details.kg-note.kg-warn", {}, h("summary", {}, t("samples.problems", { n: result.problems.length })), h("ul.kg-small", {}, result.problems.map((one) => h("li", {}, one)))) : null);
      fill(grid, result.rows.map((row) => h("li.kg-seen-card", { "data-picture": row.name },
        h("img", { src: file(row.file), alt: row.name, width: row.bucket[0], height: row.bucket[1], loading: "lazy" }),
        h("div.kg-small", {}, h("strong.kg-clip", { title: row.name }, row.name), h("span.kg-faint", {}, ` · ${t("samples.step", { step: row.step })}`)),
        h("p.kg-seen-caption", {}, row.read || (row.cut ? "" : h("em.kg-faint", {}, t("samples.no_caption"))), row.cut ? h("del", { title: t("samples.cut") }, row.cut) : null),
        h("p.kg-small.kg-faint", {}, t("samples.tokens", { n: row.tokens, most: result.max_tokens })),
        h("div.kg-chips", {},
          h("span.kg-tag", { title: t("samples.sizes", { from: row.image_size.join(" × "), resized: row.resized.join(" × ") }) }, row.bucket.join(" × ")),
          row.crop[0] || row.crop[1] ? h("span.kg-tag", {}, t("samples.cropped", { x: row.crop[0], y: row.crop[1] })) : null,
          row.flipped ? h("span.kg-tag.kg-live", {}, t("samples.flipped")) : null,
          row.color ? h("span.kg-tag.kg-live", {}, t("samples.color")) : null,
          row.masked === null ? null : h("span.kg-tag.kg-live", {}, t("samples.masked", { n: Math.round(100 * row.masked) })),
          row.is_reg ? h("span.kg-tag", {}, t("samples.regular")) : null,
          h("span.kg-tag", {}, t("samples.weight", { n: row.loss_weight }))),
        row.original === null ? null : h("details.kg-small", {}, h("summary", {}, t("samples.original")), h("p", {}, row.original)))));
    }

    window.KG.dataset.onFolder(() => {
      if (looking) looking.stop();
      go.disabled = false;
      fill(grid);
      fill(note);
    });
  };
})();
