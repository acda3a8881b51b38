// Preparing a new folder: a dry run shows what would be made; only then can it be made.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;

  window.KG.widgets.dataset_prepare = ({ element, props, server }) => {
    const holder = element.firstElementChild;
    const browse = (start, back) => window.KG.choose({ kind: "folder", title: t("prepare.choose"), start: start.trim(), list: server.list_folder, back });
    const form = window.KG.jobs.fields(JSON.parse(props.facts).fields, "kg-prepare", browse);
    const note = h("div", { "aria-live": "polite" });
    const shown = h("div", { id: "kg-prepare-shown" });
    const look = h("button.kg-button.kg-primary", { type: "button", id: "kg-prepare-look", onclick: () => start(true) }, t("prepare.look"));
    const make = h("button.kg-button", { type: "button", id: "kg-prepare-make", disabled: true, onclick: () => start(false) }, t("prepare.make"));
    let following = null;
    let looked = "";
    const mark = () => JSON.stringify([window.KG.dataset.folder, form.values()]);
    /** What comes next stands out: first the look, then making what was looked at. */
    const check = () => {
      const ready = looked === mark();
      make.disabled = !ready;
      make.classList.toggle("kg-primary", ready);
      look.classList.toggle("kg-primary", !ready);
    };
    form.node.addEventListener("input", check);
    fill(holder, h("section.kg-card", {}, h("p.kg-quiet", {}, t("prepare.lead")), form.node, h("div.kg-row", {}, look, make), note, shown));
    check();

    async function start(dry) {
      // What is made is what was looked at, so only a look waits for a folder being opened.
      const folder = dry ? await window.KG.dataset.wanted(note, look) : window.KG.dataset.folder;
      if (!folder) return;
      if (following) following.stop();
      const asked = mark();
      looked = "";
      check();
      look.disabled = true;
      fill(shown);
      const begun = await server.prepare_start({ folder, raw: form.values(), dry });
      if (folder !== window.KG.dataset.folder) return;
      // Until it has ended, waiting or at work, a second one would do the same again.
      look.disabled = !begun.problems;
      following = window.KG.jobs.follow(note, begun, server.prepare_state, server.prepare_stop, (state) => {
        look.disabled = false;
        looked = dry && state.state === "finished" ? asked : "";
        check();
        if (state.folders) show(state);
      });
    }

    function show(plan) {
      fill(shown,
        h("ul", {}, plan.folders.map((one) => h("li", { "data-folder": one.path }, h("strong", {}, one.path), " ", t("prepare.folder", { n: one.pictures, repeats: one.repeats, words: one.words })))),
        h("details", {}, h("summary", {}, t("prepare.pictures", { n: plan.count })),
          h("table.kg-small", {}, plan.pictures.map((one) => h("tr", {}, h("td", {}, one.from), h("td", {}, "→"), h("td", {}, one.to), h("td", {}, one.size))))));
    }

    window.KG.dataset.onFolder(() => {
      form.suggest("caption_extension", window.KG.dataset.ending);
      if (following) following.stop();
      look.disabled = false;
      looked = "";
      check();
      fill(note);
      fill(shown);
    });
  };
})();
