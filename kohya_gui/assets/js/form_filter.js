// What of the form is in view: search, tiers, only what was changed.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;

  window.KG.formParts.filter = (desk) => {
    const { facts, slot, block } = desk;

    const tiers = ["basic", "advanced", "expert"];
    const search = h("input.kg-input", { type: "search", id: "kg-search", placeholder: t("form.search"), "aria-label": t("form.search"), oninput: () => filter() });
    const onlyChanged = h("input", { type: "checkbox", id: "kg-only-changed", onchange: () => filter() });
    const tierButtons = tiers.map((tier) => h("button.kg-button.kg-slim", { type: "button", "data-tier": tier, onclick: () => setTier(tier) }, t(`form.tier_${tier}`)));
    const count = h("span.kg-quiet.kg-small", { role: "status" });
    let tier = localStorage.getItem("kg-tier") || facts.tier;
    if (!tiers.includes(tier)) tier = "basic";
    function setTier(name) {
      tier = name;
      localStorage.setItem("kg-tier", name);
      filter();
    }
    function drawFilter() {
      fill(slot("filter"),
        h("div.kg-filter", {},
          h("h2.kg-h", {}, t("form.all_settings")),
          h("div.kg-row", {}, h("div.kg-search", {}, search),
            h("div.kg-tiers", { role: "group", "aria-label": t("form.tiers") }, tierButtons),
            h("label.kg-check", {}, onlyChanged, t("form.only_changed")), count)));
    }

    const opened = new Set();
    function filter() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const searching = words.length > 0 || onlyChanged.checked;
      let found = 0;
      for (const button of tierButtons) button.setAttribute("aria-pressed", String(button.dataset.tier === tier));
      const changed = new Set(desk.report ? desk.report.changed : []);
      const hiddenIn = new Map();
      let waiting = false;
      for (const [name, option] of Object.entries(facts.options)) {
        const node = block(name);
        if (!node) {
          waiting = true; // it is drawn later, and this is called again then
          if (tiers.indexOf(option.tier) > tiers.indexOf(tier)) hiddenIn.set(option.group, (hiddenIn.get(option.group) || 0) + 1);
          continue;
        }
        const group = node.closest(".kg-group");
        const key = group.id.replace(/^group-/, "");
        const text = searching ? `${name} ${option.label} ${option.words} ${node.querySelector(".info-text")?.textContent || ""}`.toLowerCase() : "";
        const inTier = tiers.indexOf(option.tier) <= tiers.indexOf(tier) || opened.has(key) || node.classList.contains("kg-wrong") || group.classList.contains("kg-step");
        const fits = searching ? words.every((word) => text.includes(word)) && (!onlyChanged.checked || changed.has(name)) : inTier;
        node.classList.toggle("kg-hidden", !fits);
        if (fits) found += 1;
        if (!searching && !inTier) hiddenIn.set(key, (hiddenIn.get(key) || 0) + 1);
      }
      const prompts = document.getElementById("extra-prompts");
      const fitting = words.every((word) => t("form.prompts_words").includes(word)) && (!onlyChanged.checked || prompts?.querySelector("textarea").value);
      prompts?.classList.toggle("kg-hidden", searching && !fitting);
      for (const group of document.querySelectorAll(".kg-group")) {
        const some = group.querySelector(".kg-option:not(.kg-hidden)");
        const key = group.id.replace(/^group-/, "");
        const more = group.querySelector("[data-more]");
        const left = hiddenIn.get(key) || 0;
        group.classList.toggle("kg-hidden", !some && (searching || !left));
        for (const part of group.querySelectorAll(".form")) part.classList.toggle("kg-hidden", !part.querySelector(".kg-option:not(.kg-hidden)"));
        if (!more) continue;
        if (left) fill(more, h("button.kg-linkish.kg-small", { type: "button", onclick: () => { opened.add(key); filter(); } }, t("form.more_options", { n: left })));
        else if (opened.has(key) && !searching) fill(more, h("button.kg-linkish.kg-small", { type: "button", onclick: () => { opened.delete(key); filter(); } }, t("form.fewer_options")));
        else fill(more);
      }
      count.textContent = searching && !waiting ? t("form.found", { n: found }) : "";
      if (waiting && (searching || opened.size || tier !== "basic")) desk.all();
    }

    drawFilter();
    filter();
    return { draw: filter };
  };
})();
