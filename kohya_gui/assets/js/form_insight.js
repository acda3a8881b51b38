// What was found in the files that the form names: the model, the pictures, the steps.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;

  window.KG.formParts.insight = (desk) => {
    const { server, slot, alter } = desk;

    function drawFamily() {
      const family = desk.report.family;
      if (!slot("family")) return;
      fill(slot("family"),
        family.state === "working" ? h("p.kg-quiet", {}, family.text) : null,
        family.state === "done" ? h(`div.kg-note${family.family || family.good ? ".kg-good" : ".kg-bad"}`, { "data-family": family.family || "" },
          family.family ? h("strong", {}, `${t(`family.${family.family}`)} · `) : null, family.text) : null);
    }

    let dataMark = "";
    function drawData() {
      const data = desk.report.data;
      const mark = JSON.stringify(data);
      if (mark === dataMark) return;
      dataMark = mark;
      const holder = slot("data");
      if (data.state === "none" || data.state === "failed") {
        fill(holder);
        return;
      }
      if (data.state === "working") {
        const share = data.total ? data.done / data.total : null;
        fill(holder, h("p.kg-quiet", {}, data.total ? `${data.text} ${data.done} / ${data.total}` : data.text),
          window.KG.progressBar(data.text, share));
        return;
      }
      const most = Math.max(1, ...data.buckets.map((b) => b.count));
      fill(holder,
        h("div.kg-row.kg-between", {}, h("strong", { "data-headline": "" }, data.headline),
          h("button.kg-linkish.kg-small", { type: "button", onclick: again }, t("data.again"))),
        data.folders.length ? h("div.kg-scroll-x", {}, h("table.kg-table", {},
          h("thead", {}, h("tr", {}, ["folder", "images", "repeats", "captions"].map((key) => h("th", { scope: "col" }, t(`data.${key}`))))),
          h("tbody", {}, data.folders.map((folder) => h("tr", {},
            h("td", { title: folder.full }, folder.name, folder.is_reg ? h("span.kg-tag", {}, t("data.reg")) : null, folder.words ? h("div.kg-faint.kg-small", {}, t("data.words", { words: folder.words })) : null),
            h("td", {}, folder.images), h("td", {}, `× ${folder.repeats}`),
            h("td", {}, h(`span.kg-tag.${folder.captions >= folder.images ? "kg-good" : folder.words ? "kg-live" : "kg-warn"}`, {}, `${folder.captions} / ${folder.images}`), " ", h("span.kg-faint.kg-small", {}, folder.extension))))))) : null,
        data.num_missing ? h("details", {}, h("summary", {}, t("data.missing", { n: data.num_missing })), h("p.kg-small.kg-quiet", {}, data.missing.join(", "), data.num_missing > data.missing.length ? " …" : "")) : null,
        data.num_skipped ? h("details", { open: true }, h("summary", {}, t("data.skipped", { n: data.num_skipped })), h("ul.kg-small", {}, data.skipped.map((one) => h("li", {}, one)))) : null,
        data.buckets.length ? h("details", { open: data.buckets.length < 9 }, h("summary", {}, t("data.buckets", { n: data.buckets.length + data.more_buckets })),
          h("div.kg-buckets", {}, data.buckets.map((b) => h("div.kg-bucket", { title: t("data.bucket", { w: b.width, h: b.height, n: b.count }) },
            h("span.kg-shape", { style: `aspect-ratio:${b.width}/${b.height};${b.width >= b.height ? "width:26px" : "height:26px"}` }),
            h("span.kg-small", {}, `${b.width} × ${b.height}`),
            h("span.kg-bar", {}, h("i", { style: `width:${(100 * b.count) / most}%` })),
            h("span.kg-small.kg-num", {}, String(b.count)))))) : null,
        data.num_images ? h("p.kg-small.kg-quiet", {}, [
          data.num_enlarged ? t("data.enlarged", { n: data.num_enlarged }) : null,
          data.most_cropped && data.most_cropped.share > 0 ? t("data.cropped", { mean: data.cropped, most: data.most_cropped.share, name: data.most_cropped.name }) : null,
        ].filter(Boolean).join(" ")) : null,
        data.notes.map((note) => h("p.kg-small.kg-quiet", {}, note)));
    }

    async function again() {
      const answer = await server.look_again({ draft: desk.draft });
      if (answer) desk.take(answer);
    }

    function drawSteps() {
      const steps = desk.report.steps;
      if (!slot("steps")) return;
      if (steps.state !== "done") {
        fill(slot("steps"), h("p.kg-quiet.kg-small", {}, t("steps.none")));
        return;
      }
      const odd = steps.views < 40 || steps.views > 300;
      fill(slot("steps"),
        h("p.kg-arithmetic", { "data-steps": steps.total }, steps.text),
        h("p.kg-small.kg-quiet", {}, t("steps.views", { n: steps.views }), " ",
          odd ? h("button.kg-linkish", { type: "button", onclick: () => alter("set", { values: { max_train_epochs: String(steps.wanted_epochs) } }) }, t("steps.suggest", { n: steps.wanted_epochs })) : null));
    }

    return {
      draw() {
        drawFamily();
        drawData();
        drawSteps();
      },
    };
  };
})();
