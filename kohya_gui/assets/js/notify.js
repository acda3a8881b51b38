// Notifications of the browser when a run ends: also while the tab is hidden, and once for all tabs.
(() => {
  "use strict";
  const { t, page } = window.KG;
  const every = 10000;
  const read = (name) => localStorage.getItem(name);

  const possible = () => "Notification" in window && window.isSecureContext;
  const allowed = () => possible() && Notification.permission === "granted";
  const wanted = () => read("kg-notify") === "on";

  async function set(on) {
    localStorage.setItem("kg-notify", on ? "on" : "off");
    if (on && possible() && Notification.permission === "default") await Notification.requestPermission();
    if (on) look();
  }

  /** What was at work at the last look of any tab; kept in the browser, so that moving on loses nothing. */
  function known() {
    try {
      return JSON.parse(read("kg-at-work") || "[]");
    } catch {
      return [];
    }
  }

  async function ask(path) {
    const answer = await fetch(`./api/v1/${path}`, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  }

  async function look() {
    if (!wanted() || !allowed()) return;
    const now = (await ask("runs?active=1&limit=100")).runs.map((run) => run.run);
    const ended = known().filter((id) => !now.includes(id));
    localStorage.setItem("kg-at-work", JSON.stringify(now));
    for (const id of ended) {
      const run = await ask(`runs/${encodeURIComponent(id)}`).catch(() => null);
      if (!run || run.active) continue;
      const bad = run.state === "failed" || run.state === "lost";
      const title = bad ? t("notify.failed", { name: run.name }) : t("notify.ended", { name: run.name });
      // The same tag from several tabs is shown once.
      const note = new Notification(title, { body: run.detail, tag: `kg-${id}` });
      note.onclick = () => {
        window.focus();
        window.location.href = page("runs", { run: id });
      };
    }
  }

  setInterval(() => look().catch((error) => console.warn("no look for notifications", error)), every);
  window.KG.notifications = { possible, allowed, wanted, set, look };
})();
