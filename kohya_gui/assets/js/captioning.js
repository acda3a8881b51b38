// The captioning page: trying the job on one picture, and what it finds, picture by picture.
(() => {
  "use strict";
  const { t, h, fill, every, file, page } = window.KG;

  window.KG.widgets.captioning = ({ element, server }) => {
    const holder = element.firstElementChild;
    (function wait() {
      const slot = document.querySelector('[data-slot="trial"]');
      if (slot) {
        trial(slot, server);
        results(holder, server);
        keepFolder();
      } else setTimeout(wait, 15);
    })();
  };

  /** The other engine's form begins with the folder of this one. */
  function keepFolder() {
    for (const link of document.querySelectorAll("a[data-engine]")) {
      link.addEventListener("click", () => {
        const typed = document.querySelector("#opt-train_data_dir input").value;
        link.href = link.getAttribute("href").split("?")[0] + (typed ? `?folder=${encodeURIComponent(typed)}` : "");
      });
    }
  }

  // ---- one picture first ----
  function trial(slot, server) {
    let chosen = "";
    let mark = "";
    let polling = null;
    const strip = h("div.kg-strip", { role: "radiogroup", "aria-label": t("captioning.which") });
    const go = h("button.kg-button", { type: "button", id: "kg-try", onclick: start }, t("captioning.try"));
    const out = h("div", { "aria-live": "polite", "data-trial": "" });
    fill(slot, h("div.kg-trial", {}, h("div.kg-row.kg-between", {}, h("strong", {}, t("captioning.try_title")), go), strip, out));

    async function offer() {
      const form = window.KG.form;
      const data = form && form.report.data;
      const now = data && data.state === "done" ? `${data.headline} ${JSON.stringify(form.report.problems.length)}` : "";
      if (now === mark) return;
      mark = now;
      const found = now && data.num_images ? await server.offered_pictures({ draft: form.draft }) : [];
      if (!found.some((one) => one.file === chosen)) chosen = found.length ? found[0].file : "";
      go.disabled = !found.length;
      fill(strip, found.length ? found.map(tile) : h("p.kg-quiet.kg-small", {}, t("captioning.choose_first")));
    }

    function tile(one) {
      return h("button.kg-strip-tile", {
        type: "button", role: "radio", "aria-checked": String(one.file === chosen), title: one.name, "aria-label": one.name, "data-file": one.file,
        onclick: (event) => {
          chosen = one.file;
          for (const other of strip.children) other.setAttribute("aria-checked", String(other === event.currentTarget));
        },
      }, one.small ? h("img", { src: file(one.small), alt: "" }) : one.name);
    }

    async function start() {
      go.disabled = true;
      fill(out, h("p.kg-quiet", { role: "status" }, t("captioning.trying")), window.KG.progressBar(t("captioning.trying")));
      const begun = await server.start_trial({ draft: window.KG.form.draft, file: chosen });
      if (begun.problems) {
        go.disabled = false;
        fill(out, begun.problems.map((one) => h("p.kg-note.kg-bad", {}, one)));
        return;
      }
      if (polling) polling.stop();
      polling = every(400, async () => {
        const now = await server.look_at_trial({ trial: begun.trial });
        if (now.state === "working") return undefined;
        go.disabled = false;
        fill(out, now.result ? answer(begun, now.result) : h("div.kg-note.kg-bad", {}, h("strong", {}, t("captioning.trial_failed")), h("pre.kg-pre", {}, now.text)));
        return "stop";
      });
    }

    function answer(begun, result) {
      const percent = (value) => `${Math.round(100 * value)} %`;
      return h("div.kg-trial-answer", {},
        begun.small ? h("img.kg-trial-picture", { src: file(begun.small), alt: begun.name }) : null,
        h("div", {},
          h("p.kg-small.kg-quiet", {}, t("captioning.would_write", { name: begun.name })),
          h("p.kg-caption-text", { "data-trial-text": "" }, result.text || t("captioning.nothing")),
          result.tags.length ? h("ul.kg-scores", {}, result.tags.map((tag) => h(`li${tag.taken ? ".kg-taken" : ""}`, {},
            h("span", {}, tag.tag), h("span.kg-bar", {}, h("i", { style: `width:${(100 * tag.score).toFixed(1)}%` }), tag.threshold !== null && tag.threshold <= 1 ? h("b", { style: `left:${100 * tag.threshold}%`, title: t("captioning.threshold", { n: tag.threshold.toFixed(2) }) }) : null),
            h("span.kg-num", {}, percent(tag.score)), h("span.kg-faint.kg-small", {}, tag.category)))) : null,
          result.tags.length ? h("p.kg-small.kg-quiet", {}, t("captioning.scores")) : null,
          h("p.kg-small.kg-faint", {}, t("captioning.took", { seconds: result.seconds.toFixed(2), device: result.device }))));
    }

    document.addEventListener("kg-report", offer);
    offer();
  }

  // ---- what a run finds ----
  function results(holder, server) {
    let run = "";
    let at = 0;
    let shown = "";
    let looking = null;
    let queued = null;
    const head = h("div");
    const progress = window.KG.progressBar(t("captioning.progress"));
    const buttons = h("div.kg-row");
    const notes = h("div", { "aria-live": "polite" });
    const grid = h("ul.kg-caption-grid");
    const pager = h("div.kg-row");
    const card = h("section#kg-results.kg-card", { hidden: true }, head, progress, buttons, notes, grid, pager);
    const waiting = h("div", { id: "kg-caption-waits", "aria-live": "polite" });
    fill(holder, waiting, card);

    function follow(id) {
      run = id;
      at = 0;
      shown = "";
      card.hidden = false;
      fill(grid);
      fill(notes);
      sessionStorage.setItem("kg-caption-run", id);
      if (looking) looking.stop();
      looking = every(900, look);
    }

    /** Tell what the next job of this page waits for, and follow it once it starts; then the one after it. */
    async function followNext(added, drawn) {
      const id = (await server.next_queued()) || added;
      if (queued) queued.stop();
      queued = id ? window.KG.jobs.wait(waiting, id, { look: server.look_results, stop: server.stop_run, started, drawn, gone: () => followNext() }) : null;
    }

    function started(id) {
      follow(id);
      followNext();
    }

    async function look() {
      const now = await server.look_results({ run, page: at });
      if (now.missing) {
        card.hidden = true;
        return "stop";
      }
      draw(now);
      return now.active || now.more_thumbnails ? undefined : "stop";
    }

    function draw(now) {
      const mark = JSON.stringify(now);
      if (mark === shown) return;
      shown = mark;
      fill(head, h("div.kg-row.kg-between", {}, h("h2.kg-h", {}, t("captioning.results", { name: now.name })), window.KG.stateTag(now)),
        h("p.kg-quiet", { role: "status", "data-results-detail": "" }, now.active ? `${now.doing} ${now.total ? `${now.done} / ${now.total}` : ""}` : now.detail));
      const share = now.total ? now.done / now.total : null;
      progress.hidden = !now.active;
      if (now.active) document.documentElement.classList.add("kg-captioning");
      window.KG.setProgress(progress, share);
      fill(buttons, now.active
        ? [h("button.kg-button", { type: "button", id: "kg-stop", disabled: now.state === "stopping", onclick: stop }, now.state === "stopping" ? t("run.stopping") : t("run.stop")), h("span.kg-quiet.kg-small", {}, t("captioning.goes_on"))]
        : [now.pictures ? h("a.kg-button.kg-primary", { href: page("pictures", { folder: now.pictures }), "data-look": "" }, t("captioning.look_at")) : null, undoButton(now), now.undo ? h("button.kg-button.kg-slim", { type: "button", id: "kg-clear", onclick: clear }, t("captioning.clear")) : null],
      h("a.kg-small", { href: page("runs", { run }) }, t("captioning.log")));
      if (now.problems.length) fill(notes, now.problems.map((one) => h("p.kg-note.kg-bad", {}, one)));
      else if (now.num_warnings) fill(notes, window.KG.jobs.warnings(now));
      fill(grid, now.rows.map((row) => h("li.kg-caption-card", { "data-picture": row.name },
        row.small ? h("img", { src: file(row.small), alt: "", loading: "lazy" }) : h("div.kg-caption-blank"),
        h("div.kg-small.kg-faint.kg-clip", { title: `${row.folder}/${row.name}` }, row.name),
        h("p.kg-small", {}, row.text || h("em.kg-faint", {}, t("captioning.nothing"))),
        row.kept ? null : h("p.kg-small.kg-bad-text", {}, t("captioning.not_kept")))));
      fill(pager, now.pages > 1 ? [
        h("button.kg-button.kg-slim", { type: "button", disabled: at === 0, onclick: () => turn(-1) }, t("captioning.newer")),
        h("span.kg-small", {}, t("captioning.page", { n: at + 1, of: now.pages })),
        h("button.kg-button.kg-slim", { type: "button", disabled: at + 1 >= now.pages, onclick: () => turn(1) }, t("captioning.older"))] : null);
    }

    const undoButton = (now) => (now.undo
      ? h("button.kg-button", { type: "button", id: "kg-undo", "data-what": now.undo.what, onclick: () => change(now.undo.what) }, t(`captioning.${now.undo.what}`))
      : null);

    async function turn(by) {
      at += by;
      shown = "";
      draw(await server.look_results({ run, page: at }));
    }

    async function stop() {
      await server.stop_run({ run });
      if (looking) looking.now();
    }

    async function change(what) {
      const done = await server.change_back({ run, what });
      shown = "";
      draw(await server.look_results({ run, page: at }));
      fill(notes, h(`p.kg-note.${done.problem ? "kg-bad" : "kg-good"}`, { "data-changed": what }, done.problem || done.text));
    }

    async function clear() {
      const sure = await window.KG.confirm({ title: t("captioning.clear"), text: t("captioning.clear_text"), yes: t("captioning.clear"), danger: true });
      if (sure) change("clear");
    }

    document.addEventListener("kg-started", (event) => {
      follow(event.detail);
      card.scrollIntoView({ block: "start", behavior: "smooth" });
    });
    document.addEventListener("kg-queued", (event) => {
      // In the middle, where the bar of the form does not cover it.
      followNext(event.detail, () => waiting.scrollIntoView({ block: "center", behavior: "smooth" }));
    });
    followNext();
    (async () => {
      const asked = new URLSearchParams(window.location.search).get("run");
      const found = asked || (await server.newest_run()) || sessionStorage.getItem("kg-caption-run");
      if (found) follow(found);
    })();
  }
})();
