// The form of a job: its parts, what they share, and taking in what the server says.
(() => {
  "use strict";
  const { every } = window.KG;
  window.KG.formParts = {
    /** Whether a text is JSON rather than TOML: settings of another program. */
    isJson: (text) => /^\s*\[?\{/.test(text),
  };

  /** Each kind of job has its own draft: going to another page and back loses nothing. */
  const key = (name) => `${name}-${window.location.pathname.split("/").filter(Boolean).pop() || ""}`;

  /** What the page tells the server when it opens: which draft this tab had, and what its address asks for. */
  window.KG.draftWish = () => {
    const query = new URLSearchParams(window.location.search);
    const own = sessionStorage.getItem(key("kg-draft"));
    const wish = { draft: own, last: localStorage.getItem(key("kg-last-draft")) };
    // A duplicated tab takes the session's memory along: the draft stays with the tab that has it open.
    const taken = own && localStorage.getItem(`kg-open-${own}`);
    if (taken && performance.getEntriesByType("navigation")[0]?.type === "navigate" && Number(taken) > Date.now() - 4000) {
      wish.last = own;
      wish.draft = null;
    }
    if (query.get("from")) {
      wish.from = query.get("from");
      for (const name of ["resume", "fork", "remedy"]) wish[name] = query.get(name);
      window.KG.fieldWish = query.get("goto");
      window.history.replaceState(null, "", window.location.pathname);
    }
    if (query.get("queued")) {
      wish.queued = query.get("queued");
      window.history.replaceState(null, "", window.location.pathname);
    }
    if (query.get("folder")) {
      wish.folder = query.get("folder");
      window.history.replaceState(null, "", window.location.pathname);
    }
    if (query.get("try") === "starter") {
      wish.starter = true;
      window.history.replaceState(null, "", window.location.pathname);
    }
    return JSON.stringify(wish);
  };

  const slots = ["bar", "notice", "filter", "toml", "side", "actions"];

  // Gradio mounts components in no order one may rely on: begin when all that is needed is there.
  window.KG.widgets.form = (api) => {
    const facts = JSON.parse(api.props.facts);
    const wanted = [...[...slots, ...facts.slots].map((name) => `[data-slot="${name}"]`), ...Object.keys(facts.options).filter((name) => !facts.later.includes(name)).map((name) => `#opt-${name}`)];
    (function wait() {
      if (wanted.every((selector) => document.querySelector(selector))) begin(api, facts);
      else setTimeout(wait, 15);
    })();
  };

  // Building `filter` may ask for all that is drawn later.
  const order = ["later", "results", "fields", "presets", "bar", "insight", "course", "side", "filter", "sweep", "toml"];

  /** What all parts share: what they need to know, and what each of them offers to the others. */
  function begin({ trigger, props, server, watch }, facts) {
    const desk = {
      facts, server, draft: null, report: null, busy: null, queued: null, attempted: false, own: [], beginsOwn: false, sweep: {},
      slot: (name) => document.querySelector(`[data-slot="${name}"]`),
      block: (name) => document.getElementById(`opt-${name}`),
      label: (name) => (facts.options[name] ? facts.options[name].label : name),
      alter: (what, data = {}) => trigger("alter", { what, ...data }),
      drawLater: () => trigger("later"),
      act(what, data = {}) {
        desk.waitFor(what);
        trigger("act", { what, ...data });
      },
      drawAll: () => parts.forEach((part) => part.draw && part.draw()),
      take,
    };
    let looking = null;
    let lastSerial = 0;
    const parts = order.map((name) => window.KG.formParts[name](desk));

    function take(answer) {
      if (answer.serial < lastSerial) return;
      lastSerial = answer.serial;
      desk.draft = answer.draft;
      sessionStorage.setItem(key("kg-draft"), desk.draft);
      localStorage.setItem(key("kg-last-draft"), desk.draft);
      desk.report = answer.report;
      window.KG.form = { draft: desk.draft, report: desk.report };
      document.dispatchEvent(new CustomEvent("kg-report"));
      desk.busy = answer.busy;
      desk.queued = answer.queued;
      desk.beginsOwn = answer.begins_own;
      desk.sweep = answer.sweep;
      if (answer.own) desk.own = answer.own;
      if (answer.result && answer.result.own) desk.own = answer.result.own;
      desk.drawAll();
      if (answer.notice) desk.notice(answer.notice);
      else desk.slot("notice")?.querySelector("[data-until-kept]")?.remove();
      if (answer.opened && window.KG.fieldWish) {
        desk.goTo(window.KG.fieldWish);
        window.KG.fieldWish = null;
      }
      if (answer.toml) desk.tomlProblems(answer.toml);
      if (answer.result) {
        desk.waitFor(null);
        desk.showResult(answer.result);
      }
      if (desk.report.working && !looking) {
        looking = every(400, async () => {
          const now = await server.look_form({ draft: desk.draft });
          if (now) take(now);
          if (desk.report.working) return undefined;
          looking = null;
          return "stop";
        });
      }
      document.documentElement.dataset.kgReady = "form";
      desk.beginLater();
    }

    setInterval(() => desk.draft && localStorage.setItem(`kg-open-${desk.draft}`, String(Date.now())), 2000);
    window.addEventListener("pagehide", () => desk.draft && localStorage.removeItem(`kg-open-${desk.draft}`));
    // The queue and other tabs change what Start does; a slow look keeps the words true.
    every(10000, async () => {
      if (!desk.draft || looking) return;
      const now = await server.look_form({ draft: desk.draft });
      if (now && JSON.stringify(now.busy) !== JSON.stringify(desk.busy)) {
        desk.busy = now.busy;
        desk.drawActions();
      }
    });
    const read = () => {
      if (!props.value) return;
      try {
        take(JSON.parse(props.value));
      } catch (error) {
        console.error("the form's data could not be read", error);
      }
    };
    watch("value", read);
    read();
  }
})();
