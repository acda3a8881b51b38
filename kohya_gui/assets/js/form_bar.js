// The bar above the form: presets, and files to open and to save.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;

  window.KG.formParts.bar = (desk) => {
    const { facts, server, slot, alter } = desk;

    const open = h("input", { type: "file", accept: ".toml,.json,.safetensors,text/plain", hidden: true });
    open.addEventListener("change", async () => {
      const file = open.files[0];
      if (!file) return;
      const text = await (/\.safetensors$/i.test(file.name) ? headerOf(file) : file.text());
      bring("open_text", { text, source: file.name }, /^\s*\[?\{/.test(text));
      open.value = "";
    });
    /** The header of a safetensors file, which is all that tells of its settings; the file itself stays here. */
    async function headerOf(file) {
      const start = new DataView(await file.slice(0, 8).arrayBuffer());
      const length = start.byteLength === 8 ? Math.min(Number(start.getBigUint64(0, true)), 1e8) : 0;
      return file.slice(8, 8 + length).text();
    }
    async function openHere(event) {
      const found = await window.KG.choose({ kind: "file", title: t("form.open_here"), start: facts.configs, list: server.list_folder, back: event.currentTarget });
      if (found) bring("open_file", { file: found }, /\.(json|safetensors)$/i.test(found));
    }
    /** Open a job's own file at once; of settings of other programs, first tell what becomes of them. */
    function bring(what, data, foreign) {
      desk.brought = { what, data };
      if (foreign) desk.act("import", data);
      else alter(what, data);
    }
    async function clear() {
      const sure = await window.KG.confirm({ title: t("form.clear"), text: t("form.clear_text"), yes: t("form.clear") });
      if (sure) alter("clear");
    }
    let presetsOpen = false;
    /** The presets that are not always in view, by group; those for other models are left out once the model is known. */
    function morePresets(family, card) {
      const more = facts.presets.filter((preset) => preset.group !== "start" && (!family || !preset.families.length || preset.families.includes(family)));
      if (!more.length) return null;
      const titles = { subject: t("form.presets_subject"), memory: t("form.presets_memory"), method: t("form.presets_method") };
      return h("details.kg-more-presets", { open: presetsOpen, ontoggle: (event) => { presetsOpen = event.currentTarget.open; } },
        h("summary", {}, t("form.presets_more", { count: more.length })),
        Object.keys(titles).filter((group) => more.some((preset) => preset.group === group)).map((group) => [
          h("h3.kg-h.kg-small", {}, titles[group]),
          h("div.kg-preset-row", {}, more.filter((preset) => preset.group === group).map(card))]));
    }
    function drawBar() {
      const family = desk.report && desk.report.family.family;
      const best = (preset) => family && preset.families.includes(family);
      const card = (preset) =>
        h(`button.kg-preset${best(preset) ? ".kg-best" : ""}`, { type: "button", "data-preset": preset.id, onclick: () => alter("preset", { preset: preset.id }) },
          h("strong", {}, preset.title), best(preset) ? h("span.kg-tag.kg-good", {}, t("form.fits")) : null,
          h("span.kg-quiet.kg-small", {}, preset.note));
      fill(slot("bar"),
        !facts.presets.length ? null : h("div.kg-card.kg-presets", {},
          h("strong", {}, t("form.presets")),
          h("div.kg-preset-row", {}, facts.presets.filter((preset) => preset.group === "start").map(card)), morePresets(family, card)),
        h("div.kg-row.kg-file-row", {},
          h("button.kg-button.kg-slim", { type: "button", title: t("form.open_upload_title"), onclick: () => open.click() }, t("form.open_upload")),
          h("button.kg-button.kg-slim", { type: "button", onclick: openHere }, t("form.open_here")),
          h("button.kg-button.kg-slim", { type: "button", "data-act": "save", onclick: () => desk.act("save") }, t("form.save")),
          h("button.kg-button.kg-slim", { type: "button", onclick: clear }, t("form.clear")), open));
    }

    let drawnFor = null;
    drawBar();
    return {
      draw() {
        if (drawnFor === (desk.report.family.family || "")) return;
        drawnFor = desk.report.family.family || "";
        drawBar();
      },
    };
  };
})();
