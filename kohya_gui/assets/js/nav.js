// The bar at the top: language, the theme button, and the run that is going on, looked at now and then.
(() => {
  "use strict";
  const { t, h, fill, every, page } = window.KG;
  const order = ["auto", "light", "dark"];

  window.KG.widgets.nav = ({ element, server }) => {
    const themeButton = element.querySelector("[data-theme]");
    const label = () => {
      const name = window.KG.theme();
      themeButton.textContent = { auto: "◐", light: "☀", dark: "☾" }[name];
      themeButton.title = `${t("theme.title")}: ${t(`theme.${name}`)}`;
      themeButton.setAttribute("aria-label", themeButton.title);
    };
    themeButton.addEventListener("click", () => {
      window.KG.setTheme(order[(order.indexOf(window.KG.theme()) + 1) % order.length]);
    });
    document.addEventListener("kg-theme", label);
    label();

    const languages = element.querySelector("[data-languages]");
    fill(languages, Object.entries(window.KG_LANGUAGES || {}).map(([code, name]) =>
      h("option", { value: code, lang: code, selected: code === window.KG_LANGUAGE }, name)));
    languages.addEventListener("change", () => window.KG.setLanguage(languages.value));

    for (const menu of element.querySelectorAll("details")) {
      const away = (event) => {
        if (menu.open && !menu.contains(event.target)) menu.open = false;
      };
      document.addEventListener("click", away);
      document.addEventListener("focusin", away);
      menu.addEventListener("keydown", (event) => {
        if (event.key !== "Escape" || !menu.open) return;
        menu.open = false;
        menu.querySelector("summary").focus();
      });
    }

    const job = element.querySelector("[data-job]");
    let shown = "null";
    every(5000, async () => {
      const now = await server.now_running();
      if (JSON.stringify(now) === shown) return "same";
      shown = JSON.stringify(now);
      job.hidden = !now;
      if (!now) return undefined;
      job.setAttribute("href", page("runs", { run: now.id }));
      // A long name is cut; how far the run is stays in view.
      fill(job, h("span", { "aria-hidden": "true" }, "●"), h("span.kg-cut", {}, now.name), h("span.kg-fixed", {}, now.rest));
      job.title = now.name + now.rest;
      return undefined;
    });
  };
})();

// The choice of the theme on the settings page: kept in this browser, used at once.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;
  window.KG.widgets.theme = ({ element }) => {
    const holder = element.firstElementChild;
    const draw = () => fill(holder,
      h("strong", {}, t("theme.title")),
      h("div.kg-tiers", { role: "group", "aria-label": t("theme.title") }, ["auto", "light", "dark"].map((name) =>
        h("button.kg-button.kg-slim", { type: "button", "data-theme-choice": name, "aria-pressed": String(window.KG.theme() === name), onclick: () => window.KG.setTheme(name) }, t(`theme.${name}`)))),
      h("p.kg-quiet.kg-small", {}, t("theme.note")));
    document.addEventListener("kg-theme", draw);
    draw();
  };
})();
