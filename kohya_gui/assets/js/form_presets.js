// Presets: those that ship, by group, and the user's own, which can be kept, renamed, given away and deleted.
(() => {
  "use strict";
  const { t, h } = window.KG;

  window.KG.formParts.presets = (desk) => {
    const { facts, alter } = desk;
    let moreOpen = false;
    const hasPresets = () => facts.presets.length > 0 || desk.own.length > 0;

    const bring = h("input", { type: "file", accept: ".toml,.json,text/plain", hidden: true, "data-preset-file": "" });
    bring.addEventListener("change", async () => {
      const file = bring.files[0];
      if (!file) return;
      const sent = { text: await file.text(), source: file.name };
      bring.value = "";
      // Settings of another program are no preset yet: they open in the form, and can be kept there.
      if (window.KG.formParts.isJson(sent.text)) desk.bring("open_text", sent, true);
      else desk.act("preset_import", sent);
    });

    /** What keeps the form as a preset, and brings one in. */
    const presetButtons = () => [
      h("button.kg-button.kg-slim", { type: "button", "data-preset-keep": "", title: t("form.preset_keep_title"), onclick: keep }, t("form.preset_keep")),
      h("button.kg-button.kg-slim", { type: "button", onclick: () => bring.click() }, t("form.preset_import")), bring];

    /** The card of presets above the form, if there are any. */
    function presetCard() {
      if (!hasPresets()) return null;
      const family = desk.report && desk.report.family.family;
      const best = (preset) => family && preset.families.includes(family);
      const card = (preset) =>
        h(`button.kg-preset${best(preset) ? ".kg-best" : ""}`, { type: "button", "data-preset": preset.id, onclick: () => alter("preset", { preset: preset.id }) },
          h("strong", {}, preset.title), best(preset) ? h("span.kg-tag.kg-good", {}, t("form.fits")) : null,
          h("span.kg-quiet.kg-small", {}, preset.note));
      return h("div.kg-card.kg-presets", {},
        h("div.kg-row.kg-between", {}, h("strong", {}, t("form.presets")),
          h("span.kg-row.kg-preset-buttons", {}, presetButtons())),
        h("div.kg-preset-row", {}, facts.presets.filter((preset) => preset.group === "start").map(card)),
        more(family, card),
        desk.own.length ? [h("h3.kg-h.kg-small", {}, t("form.presets_own")), h("div.kg-preset-row", {}, desk.own.map((preset) => ownCard(preset, card)))] : null);
    }

    /** The presets that are not always in view, by group; those for other models are left out once the model is known. */
    function more(family, card) {
      const found = facts.presets.filter((preset) => preset.group !== "start" && (!family || !preset.families.length || preset.families.includes(family)));
      if (!found.length) return null;
      const titles = { subject: t("form.presets_subject"), memory: t("form.presets_memory"), method: t("form.presets_method") };
      return h("details.kg-more-presets", { open: moreOpen, ontoggle: (event) => { moreOpen = event.currentTarget.open; } },
        h("summary", {}, t("form.presets_more", { count: found.length })),
        Object.keys(titles).filter((group) => found.some((preset) => preset.group === group)).map((group) => [
          h("h3.kg-h.kg-small", {}, titles[group]),
          h("div.kg-preset-row", {}, found.filter((preset) => preset.group === group).map(card))]));
    }

    function ownCard(preset, card) {
      const link = (name, onclick) => h("button.kg-linkish.kg-small", { type: "button", [`data-own-${name}`]: preset.id, "aria-label": t("form.preset_for", { what: t(`form.preset_${name}`), title: preset.title }), onclick }, t(`form.preset_${name}`));
      return h("div.kg-own-preset", {}, card(preset), h("div.kg-row", {},
        link("compare", () => desk.compare(preset.id)), link("rename", () => rename(preset)),
        link("export", () => desk.act("preset_export", { preset: preset.id })), link("delete", () => remove(preset))));
    }

    /** Ask for words in a window, one field each; `done` gets them by name. */
    function ask(title, fields, done) {
      const inputs = fields.map(([name, words, value]) => [name, h("input.kg-input", { id: `kg-ask-${name}`, type: "text", value, maxlength: "300" }), words]);
      const form = h("form", { onsubmit: (event) => {
        event.preventDefault();
        node.close();
        done(Object.fromEntries(inputs.map(([name, input]) => [name, input.value])));
      } }, inputs.map(([name, input, words]) => h("p", {}, h("label", { for: `kg-ask-${name}` }, words), input)),
      h("button.kg-button.kg-primary", { type: "submit", "data-ask-done": "" }, t("form.preset_save")));
      const node = desk.dialog(title, form);
      inputs[0][1].focus();
    }

    const keep = () => ask(t("form.preset_keep"), [["title", t("form.preset_title"), ""], ["note", t("form.preset_note"), ""]], (words) => desk.act("preset_save", words));
    const rename = (preset) => ask(t("form.preset_rename"), [["title", t("form.preset_title"), preset.title]], (words) => desk.act("preset_rename", { preset: preset.id, ...words }));
    async function remove(preset) {
      const sure = await window.KG.confirm({ title: t("form.preset_delete"), text: t("form.preset_delete_text", { title: preset.title }), yes: t("form.preset_delete") });
      if (sure) desk.act("preset_delete", { preset: preset.id });
    }

    desk.presetCard = presetCard;
    desk.presetButtons = () => (hasPresets() ? null : presetButtons());
    desk.presetExists = async (result) => {
      const sure = await window.KG.confirm({ title: t("form.preset_keep"), text: t("form.preset_exists", { title: result.title }), yes: t("form.preset_replace") });
      if (sure) desk.act(result.what, { ...result.sent, replace: true });
    };
    return {};
  };
})();
