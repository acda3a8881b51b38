// How the learning rate moves over the run: a small curve, and the same in a sentence.
(() => {
  "use strict";
  const { t, h, svg, fill, number } = window.KG;
  const WIDTH = 300;
  const HEIGHT = 80;

  window.KG.formParts.course = (desk) => {
    const { slot } = desk;
    if (!slot("course")) return {};
    let mark = "";

    function curve(found) {
      const last = Math.max(1, found.total - 1);
      const x = (step) => ((step / last) * WIDTH).toFixed(1);
      const y = (rate) => (HEIGHT - (found.highest ? rate / found.highest : 0) * HEIGHT).toFixed(1);
      const line = found.points.map(([step, rate]) => `${x(step)},${y(rate)}`).join(" ");
      return h("div.kg-course", { "aria-hidden": "true" },
        h("span.kg-course-top", {}, number(found.highest, 3)), h("span.kg-course-bottom", {}, "0"),
        svg("svg", { viewBox: `0 -3 ${WIDTH} ${HEIGHT + 6}`, preserveAspectRatio: "none" }, svg("polyline", { points: line, "vector-effect": "non-scaling-stroke" })),
        h("span.kg-course-steps", {}, h("span", {}, t("course.step", { n: 1 })), h("span", {}, t("course.step", { n: found.total }))));
    }

    /** The curve in words. */
    function words(found) {
      if (found.even) return t("course.even", { rate: number(found.last, 3) });
      const fields = { first: number(found.first, 3), highest: number(found.highest, 3), step: found.highest_step, last: number(found.last, 3) };
      return found.highest_step === 1 ? t("course.falls", fields) : t("course.told", fields);
    }

    return {
      draw() {
        const found = desk.report.course;
        const now = JSON.stringify(found);
        if (now === mark) return;
        mark = now;
        const text = { none: () => t("course.none"), unknown: () => t("course.unknown"), done: () => words(found) }[found.state]();
        fill(slot("course"), h("h3.kg-small", {}, t("course.title")), found.state === "done" ? curve(found) : null,
          h("p.kg-small.kg-quiet", { "data-course": found.state }, text));
      },
    };
  };
})();
