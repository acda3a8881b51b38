// Lists of runs and of waiting jobs, and the page that shows either the list or one run.
(() => {
  "use strict";
  const { t, h, fill, every, duration, number, page } = window.KG;

  function row(run, remove) {
    const done = run.fraction === null ? null : Math.round(run.fraction * 100);
    return h("tr", { "data-run": run.id },
      h("td", {}, h("a", { href: page("runs", { run: run.id }) }, run.name),
        h("div.kg-faint.kg-small", {}, new Date(run.created * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }))),
      h("td", {}, window.KG.stateTag(run)),
      h("td", {}, run.active && done !== null ? h("div.kg-progress", { role: "img", "aria-label": `${done} %` }, h("div", { style: `width:${done}%` })) : null,
        h("span.kg-small.kg-quiet", {}, run.total_steps ? `${run.step} / ${run.total_steps}` : run.step || "", run.active && run.eta_seconds ? ` · ${t("runs.left", { time: duration(run.eta_seconds) })}` : "")),
      h("td.kg-num", run.loss === null ? {} : { "data-name": t("run.loss") }, run.loss === null ? "" : number(run.loss, 3)),
      h("td", {}, remove && !run.busy ? h("button.kg-button.kg-slim", { type: "button", "aria-label": t("runs.delete_of", { name: run.name }), onclick: () => remove(run) }, t("runs.delete")) : null));
  }

  function table(runs, remove) {
    return h("div.kg-scroll-x", {}, h("table.kg-table.kg-stack", {},
      h("thead", {}, h("tr", {}, [t("runs.name"), t("runs.state"), t("runs.progress"), t("run.loss"), ""].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, runs.map((run) => row(run, remove)))));
  }

  function waiting(jobs, act) {
    if (!jobs.length) return null;
    return h("section.kg-card", {}, h("h2.kg-h", {}, t("queue.title", { n: jobs.length })),
      h("ol.kg-queue", {}, jobs.map((job, i) => h("li", {},
        h("strong", {}, job.name), job.problem ? h("div.kg-note.kg-bad", {}, job.problem) : null,
        h("span.kg-row", {},
          job.problem ? h("button.kg-button.kg-slim", { type: "button", onclick: () => act("retry", job) }, t("queue.retry")) : null,
          i ? h("button.kg-button.kg-slim", { type: "button", onclick: () => act("up", job) }, t("queue.up")) : null,
          h("button.kg-button.kg-slim", { type: "button", onclick: () => act("remove", job) }, t("queue.remove")))))));
  }

  function list(holder, server, { short }) {
    let mark = "";
    const looking = every(3000, async () => {
      const now = await server.overview({ mark });
      if (now.same) return;
      mark = now.mark;
      const act = async (what, job) => {
        await server.queue_action({ what, id: job.id });
        looking.now();
      };
      const remove = async (run) => {
        const size = await server.run_size({ run: run.id });
        const sure = await window.KG.confirm({ title: t("runs.delete_title", { name: run.name }), text: t("runs.delete_text", { size: window.KG.bytes(size.bytes), files: size.files }), yes: t("runs.delete"), danger: true });
        if (!sure) return;
        const answer = await server.delete_run({ run: run.id });
        if (answer.problem) await window.KG.confirm({ title: t("run.failed_to_ask"), text: answer.problem, yes: t("common.close") });
        looking.now();
      };
      const problem = now.problem ? h("div.kg-note.kg-bad", { role: "alert" }, now.problem) : null;
      const running = now.runs.filter((run) => run.active);
      const others = now.runs.filter((run) => !run.active);
      if (short) {
        fill(holder, problem,
          running.length ? h("section.kg-card", {}, h("h2.kg-h", {}, t("start.running")), table(running)) : null,
          waiting(now.waiting, act),
          others.length
            ? h("section.kg-card", {}, h("div.kg-row.kg-between", {}, h("h2.kg-h", {}, t("start.recent")), h("a", { href: page("runs") }, t("runs.all"))), table(others.slice(0, 5)))
            : running.length ? null : h("div.kg-empty", {}, h("p", {}, t("start.no_runs"))));
        return;
      }
      fill(holder, h("h1.kg-page-title", {}, t("runs.title")), problem, waiting(now.waiting, act),
        now.runs.length
          ? h("section.kg-card", {}, table([...running, ...others], remove), now.more ? h("p.kg-quiet", {}, t("runs.more", { n: now.more })) : null)
          : h("div.kg-empty", {}, h("p", {}, t("runs.none")), h("a.kg-button.kg-primary", { href: page("lora") }, t("runs.first"))));
    });
    return looking;
  }

  window.KG.widgets.overview = ({ element, server }) => list(element.firstElementChild, server, { short: true });

  window.KG.widgets.runs = ({ element, server }) => {
    const holder = element.firstElementChild;
    const id = new URLSearchParams(window.location.search).get("run");
    if (id) window.KG.runView(holder, id, server);
    else list(holder, server, { short: false });
  };
})();
