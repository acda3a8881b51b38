// What runs at the start page: those at work, jobs that wait, and the newest ones.
(() => {
  "use strict";
  const { t, h, every, duration, number, page } = window.KG;

  /** The cells of a run that every list has. */
  function cells(run) {
    return [
      h("td", {}, window.KG.stateTag(run)),
      h("td", {}, run.active && run.fraction !== null ? window.KG.progressBar(t("run.progress"), run.fraction) : null,
        h("span.kg-small.kg-quiet", {}, !run.step && run.phase_total ? `${run.phase_done} / ${run.phase_total}` : run.total_steps ? `${run.step} / ${run.total_steps}` : run.step || "", run.active && run.eta_seconds ? ` · ${t("runs.left", { time: duration(run.eta_seconds) })}` : "")),
      h("td.kg-num", run.loss === null ? {} : { "data-name": t("run.loss") }, run.loss === null ? "" : number(run.loss, 3)),
    ];
  }

  /** The name of a run as a link, and when it began. */
  function title(run) {
    const when = window.KG.moment(run.created);
    return [h("a", { href: page("runs", { run: run.id }) }, run.name), h("div.kg-faint.kg-small", {}, `${run.job ? `${run.job} · ` : ""}${when}`)];
  }

  function table(runs) {
    return h("div.kg-scroll-x", {}, h("table.kg-table.kg-stack", {},
      h("thead", {}, h("tr", {}, [t("runs.name"), t("runs.state"), t("runs.progress"), t("run.loss")].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, runs.map((run) => h("tr", { "data-run": run.id }, h("td", {}, title(run)), cells(run))))));
  }

  /** A change to the queue, and a look at what came of it. */
  function queueAct(server, looking) {
    return async (what, more = {}) => {
      const answer = await server.queue_action({ what, ...more });
      if (answer.problem) await window.KG.tell(answer.problem);
      looking().now();
    };
  }

  window.KG.runLists = { cells, title, table, queueAct };

  window.KG.widgets.overview = ({ element, server }) => {
    const holder = element.firstElementChild;
    let mark = "";
    const looking = every(3000, async () => {
      const now = await server.overview({ mark });
      if (now.same) return "same";
      mark = now.mark;
      const running = now.runs.filter((run) => run.active);
      const others = now.runs.filter((run) => !run.active);
      window.KG.refill(holder,
        now.problem ? h("div.kg-note.kg-bad", { role: "alert" }, now.problem) : null,
        running.length ? h("section.kg-card", {}, h("h2.kg-h", {}, t("start.running")), table(running)) : null,
        window.KG.queueCard(now.queue, queueAct(server, () => looking)),
        others.length
          ? h("section.kg-card", {}, h("div.kg-row.kg-between", {}, h("h2.kg-h", {}, t("start.recent")), h("a", { href: page("runs") }, t("runs.all"))), table(others.slice(0, 5)))
          : running.length ? null : h("div.kg-empty", {}, h("p", {}, t("start.no_runs"))));
      return undefined;
    });
    return looking;
  };
})();
