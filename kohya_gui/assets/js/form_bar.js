// The bar above the form: presets, files to open and to save, and what new forms begin with.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;

  window.KG.formParts.bar = (desk) => {
    const { facts, server, slot, alter } = desk;

    const open = h("input", { type: "file", accept: ".toml,.json,.safetensors,text/plain", hidden: true, "data-open-file": "" });
    open.addEventListener("change", async () => {
      const file = open.files[0];
      if (!file) return;
      const text = await (/\.safetensors$/i.test(file.name) ? headerOf(file) : file.text());
      bring("open_text", { text, source: file.name }, window.KG.formParts.isJson(text));
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
    desk.bring = bring;
    async function clear() {
      const sure = await window.KG.confirm({ title: t("form.clear"), text: t("form.clear_text"), yes: t("form.clear") });
      if (sure) alter("clear");
    }
    function drawBar() {
      const plain = desk.beginsOwn;
      fill(slot("bar"), desk.presetCard(),
        h("div.kg-row.kg-file-row", {},
          h("button.kg-button.kg-slim", { type: "button", title: t("form.open_upload_title"), onclick: () => open.click() }, t("form.open_upload")),
          h("button.kg-button.kg-slim", { type: "button", onclick: openHere }, t("form.open_here")),
          h("button.kg-button.kg-slim", { type: "button", "data-act": "save", onclick: () => desk.act("save") }, t("form.save")),
          h("button.kg-button.kg-slim", { type: "button", "data-act": "begin_with", title: t("form.begin_with_title"), onclick: () => desk.act("begin_with") }, t("form.begin_with")),
          plain ? h("button.kg-button.kg-slim", { type: "button", "data-act": "begin_plain", onclick: () => desk.act("begin_plain") }, t("form.begin_plain")) : null,
          h("button.kg-button.kg-slim", { type: "button", onclick: clear }, t("form.clear")), desk.presetButtons(), open));
    }

    let drawnFor = null;
    return {
      draw() {
        const mark = JSON.stringify([desk.report.family.family, desk.own, desk.beginsOwn]);
        if (drawnFor === mark) return;
        drawnFor = mark;
        drawBar();
      },
    };
  };
})();
