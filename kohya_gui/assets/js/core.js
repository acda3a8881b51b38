// What every page's script needs: texts, building DOM nodes safely, mounting widgets, the theme.
(() => {
  "use strict";
  if (window.KG) return;
  const texts = window.KG_TEXTS || {};
  document.documentElement.lang = window.KG_LANGUAGE || "en";
  const widgets = {};

  /** Return the text of `key` with its {fields} filled in; a missing key shows itself. */
  function t(key, fields = {}) {
    const text = texts[key];
    if (text === undefined) {
      console.error(`no text for ${key}`);
      return key;
    }
    return text.replace(/\{(\w+)\}/g, (all, name) => (name in fields ? String(fields[name]) : all));
  }

  /** Build a node: h("p.note#id", {title: "…", onclick}, child, "text", …). Strings are text, never HTML. */
  function h(what, properties, ...children) {
    const [, tag, id, classes] = /^([\w-]*)(?:#([\w-]+))?((?:\.[\w-]+)*)$/.exec(what);
    const node = document.createElement(tag || "div");
    if (id) node.id = id;
    if (classes) node.className = classes.slice(1).replaceAll(".", " ");
    for (const [name, value] of Object.entries(properties || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name in node && typeof value !== "string") node[name] = value;
      else node.setAttribute(name, value === true ? "" : String(value));
    }
    append(node, children);
    return node;
  }

  function append(node, children) {
    for (const child of children.flat(Infinity)) {
      if (child === null || child === undefined || child === false) continue;
      node.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
  }

  /** Replace what is in `node`. */
  function fill(node, ...children) {
    node.textContent = "";
    append(node, children);
    return node;
  }

  /** Text in which names stand `so`: those as code, the rest as it is. */
  function coded(text) {
    return text.split("`").map((part, i) => (i % 2 ? h("code.kg-code", {}, part) : part));
  }

  const svgNames = "http://www.w3.org/2000/svg";
  function svg(tag, attributes, ...children) {
    const node = document.createElementNS(svgNames, tag);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    append(node, children);
    return node;
  }

  /** Called by each widget's js_on_load with what Gradio gives it. */
  function mount(name, api) {
    if (widgets[name]) widgets[name](api);
    else console.error(`no widget ${name}`);
  }

  /**
   * Call `work` now and then: not while the tab is hidden, slower after failures and where nothing
   * changes (`work` says "same"), never overlapping.
   */
  function every(milliseconds, work) {
    const ended = new AbortController();
    let failures = 0;
    let quiet = 0;
    let timer = 0;
    let busy = false;
    let again = false;
    async function turn() {
      clearTimeout(timer);
      if (ended.signal.aborted) return;
      if (busy) {
        again = true;
        return;
      }
      if (!document.hidden) {
        busy = true;
        try {
          const wish = await work();
          failures = 0;
          quiet = wish === "same" ? quiet + 1 : 0;
          if (wish === "stop") ended.abort();
          if (wish === "again") again = true;
        } catch (error) {
          failures += 1;
          console.warn("a look at the server failed", error);
        }
        busy = false;
      }
      document.documentElement.classList.toggle("kg-offline", failures > 1);
      const slower = Math.min(8, 1 + failures) * Math.min(4, 1 + quiet / 20);
      if (!ended.signal.aborted) timer = setTimeout(turn, again ? 0 : milliseconds * slower);
      again = false;
    }
    const now = () => {
      quiet = 0;
      return turn();
    };
    // Whoever comes back to the window sees how things stand now.
    const onReturn = () => {
      if (!document.hidden) now();
    };
    document.addEventListener("visibilitychange", onReturn, { signal: ended.signal });
    window.addEventListener("focus", onReturn, { signal: ended.signal });
    turn();
    return { now, stop: () => { ended.abort(); clearTimeout(timer); } };
  }

  // ---- numbers and times for people ----
  function number(value, digits = 4) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (!Number.isFinite(value)) return String(value);
    if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) {
      return value.toExponential(Math.max(0, digits - 2)).replace(/\.?0+e/, "e").replace("e+", "e");
    }
    return String(Number(value.toPrecision(digits)));
  }

  function duration(seconds) {
    if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
    const whole = Math.max(0, Math.round(seconds));
    const hours = Math.floor(whole / 3600);
    const minutes = Math.floor((whole % 3600) / 60);
    if (hours >= 48) return t("time.days", { days: Math.floor(hours / 24), hours: hours % 24 });
    if (hours) return t("time.hours", { hours, minutes });
    if (minutes) return t("time.minutes", { minutes, seconds: whole % 60 });
    return t("time.seconds", { seconds: whole });
  }

  const moments = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  /** When something was, in the page's language; `seconds` since 1970. */
  const moment = (seconds) => moments.format(new Date(seconds * 1000));

  /** A span of time in words that promise no more than is known: “3 to 8 minutes”. */
  function span([low, high]) {
    const [size, name, finest] = high >= 5400 ? [3600, "hours", 0.5] : high >= 60 ? [60, "minutes", 1] : [1, "seconds", 5];
    const round = (value) => Math.max(finest, Math.round(value / finest) * finest);
    const [from, to] = [round(low / size), round(high / size)];
    return from === to ? t(`time.about_${name}`, { n: to }) : t(`time.span_${name}`, { from, to });
  }

  function bytes(count) {
    if (count === null || count === undefined) return "";
    const units = ["B", "KB", "MB", "GB", "TB"];
    let index = 0;
    let value = count;
    while (value >= 1000 && index < units.length - 1) {
      value /= 1000;
      index += 1;
    }
    return `${index && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[index]}`;
  }

  /** A bar that shows how much is done, from 0 to 1; null while that is not known. */
  function progressBar(label, fraction = null) {
    const bar = h("div.kg-progress", { role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" }, h("div"));
    setProgress(bar, fraction);
    return bar;
  }

  function setProgress(bar, fraction) {
    bar.classList.toggle("kg-unknown", fraction === null);
    bar.firstElementChild.style.width = fraction === null ? "" : `${(100 * fraction).toFixed(1)}%`;
    if (fraction === null) bar.removeAttribute("aria-valuenow");
    else bar.setAttribute("aria-valuenow", String(Math.round(100 * fraction)));
  }

  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Plain http from another machine has no clipboard API; the old way still works there.
      const area = h("textarea", { style: "position:fixed;opacity:0" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    if (!button) return;
    const before = button.textContent;
    button.textContent = t("common.copied");
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  // ---- theme: "auto", "light" or "dark", a preference of this browser ----
  const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
  function theme() {
    return localStorage.getItem("kg-theme") || { light: "light", dark: "dark" }[window.KG_THEME] || "auto";
  }
  function applyTheme() {
    const dark = theme() === "dark" || (theme() === "auto" && systemDark.matches);
    if (document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
  }
  function setTheme(name) {
    localStorage.setItem("kg-theme", name);
    applyTheme();
    document.dispatchEvent(new CustomEvent("kg-theme", { detail: name }));
  }
  systemDark.addEventListener("change", applyTheme);
  // Gradio sets the class by the system's wish when it starts; ours stays the last word.
  new MutationObserver(applyTheme).observe(document.body, { attributeFilter: ["class"] });
  applyTheme();

  // ---- language: a choice of this browser, sent with each request ----
  function setLanguage(code) {
    const path = new URL(window.gradio_config?.root || "./", window.location.href).pathname;
    document.cookie = `kg-language=${code}; path=${path}; max-age=${code ? 31536000 : 0}; samesite=lax`;
    window.location.reload();
  }

  /** Address of a page of ours: relative, so it holds behind a proxy's path too. */
  function page(name, query = {}) {
    const search = new URLSearchParams(query).toString();
    return `./${name}${search ? `?${search}` : ""}`;
  }

  /** Address of a file that the server may give out (runs and thumbnails only). */
  function file(path) {
    const root = (window.gradio_config && window.gradio_config.root) || "";
    const base = new URL(root || "./", window.location.href);
    const origin = base.hostname === window.location.hostname ? window.location.origin : base.origin;
    const folder = base.pathname.replace(/\/$/, "");
    return `${origin}${folder}/gradio_api/file=${encodeURI(path).replace(/[?#]/g, encodeURIComponent)}`;
  }

  window.KG = {
    t, h, svg, fill, append, coded, mount, widgets, every, number, duration, moment, span, bytes, progressBar, setProgress, copy,
    theme, setTheme, applyTheme, setLanguage, page, file,
  };
})();
