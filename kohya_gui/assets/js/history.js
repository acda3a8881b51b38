// The page of runs: search, filters, tags, several at once; or the view of one run.
(() => {
  "use strict";
  const { t, h, fill, every, page } = window.KG;

  /** What somebody looks for stands in the address too, so that going back finds it again. */
  function wishOf(address) {
    const query = new URLSearchParams(address);
    return { text: query.get("q") || "", state: query.get("state") || "", job: query.get("job") || "", sort: query.get("sort") || "newest", page: Number(query.get("page")) || 1 };
  }
  function remember(wish) {
    const query = { q: wish.text, state: wish.state, job: wish.job, sort: wish.sort === "newest" ? "" : wish.sort, page: wish.page > 1 ? wish.page : "" };
    const set = Object.fromEntries(Object.entries(query).filter(([, value]) => value));
    window.history.replaceState(null, "", page("runs", set));
  }

  function tags(run, search) {
    return run.tags.map((tag) => h("button.kg-tag.kg-tag-button", { type: "button", title: t("runs.tag_search", { tag }), onclick: () => search(`#${tag}`) }, `#${tag}`));
  }

  function history(holder, server) {
    const wish = wishOf(window.location.search);
    const chosen = new Map();
    let mark = "";
    let now = null;
    let typing = 0;

    const problem = h("div");
    const queue = h("div");
    const running = h("div");
    const unknown = h("div", { "aria-live": "polite" });
    const bulk = h("div.kg-bulk", { hidden: true });
    const list = h("div");
    const pager = h("div.kg-row");
    const count = h("span.kg-quiet.kg-small", { role: "status" });
    const search = h("input.kg-input", { type: "search", id: "kg-run-search", value: wish.text, placeholder: t("runs.search"), "aria-label": t("runs.search"), "aria-describedby": "kg-run-help",
      oninput: () => { clearTimeout(typing); typing = setTimeout(() => change({ text: search.value }), 200); } });
    const select = (name) => h("select.kg-input.kg-select", { "aria-label": t(`runs.by_${name}`), onchange: (event) => change({ [name]: event.currentTarget.value }) });
    const states = select("state");
    const jobs = select("job");
    const sort = select("sort");
    fill(sort, ["newest", "oldest", "name", "loss"].map((name) => h("option", { value: name, selected: wish.sort === name }, t(`runs.sort_${name}`))));
    const filters = h("div.kg-run-filters", {}, h("div.kg-grow", {}, search), states, jobs, sort);
    fill(holder, h("h1.kg-page-title", {}, t("runs.title")), problem, running, queue,
      h("section.kg-card", { "data-history": "" }, filters, h("p.kg-quiet.kg-small", { id: "kg-run-help" }, t("runs.search_help")), unknown, bulk, list,
        h("div.kg-row.kg-between", {}, count, pager)));

    function change(part) {
      Object.assign(wish, { page: 1 }, part);
      if (search.value !== wish.text) search.value = wish.text;
      mark = "";
      remember(wish);
      looking.now();
    }

    function options(node, all, found, value) {
      const key = JSON.stringify([found, value]);
      if (node.dataset.shown === key) return;
      node.dataset.shown = key;
      const known = found.some((one) => one.id === value) || !value ? found : [...found, { id: value, text: value, count: 0 }];
      fill(node, h("option", { value: "" }, all), known.map((one) => h("option", { value: one.id, selected: one.id === value }, `${one.text} (${one.count})`)));
    }

    function row(run) {
      const box = h("input", { type: "checkbox", "data-key": `choose-${run.id}`, checked: chosen.has(run.id), "aria-label": t("runs.choose", { name: run.name }),
        onchange: (event) => { if (event.currentTarget.checked) chosen.set(run.id, run); else chosen.delete(run.id); drawBulk(); } });
      return h("tr", { "data-run": run.id },
        h("td.kg-choose", {}, box),
        h("td", {}, window.KG.runLists.title(run), run.note ? h("div.kg-small.kg-quiet.kg-one-line", {}, run.note) : null,
          run.tags.length ? h("div.kg-row.kg-tags", {}, tags(run, (text) => change({ text }))) : null),
        window.KG.runLists.cells(run));
    }

    function drawBulk() {
      const runs = [...chosen.values()];
      bulk.hidden = !runs.length;
      if (!runs.length) return;
      window.KG.refill(bulk,
        h("strong", {}, t("runs.chosen", { n: runs.length })),
        window.KG.bulkActions.map((action) => action({ runs, server, done: after })),
        h("button.kg-button.kg-slim", { type: "button", "data-key": "bulk-tag", onclick: () => tagDialog(runs) }, t("runs.tag")),
        h("button.kg-button.kg-slim", { type: "button", "data-key": "bulk-none", onclick: () => { chosen.clear(); drawBulk(); drawList(); } }, t("runs.choose_none")));
    }

    function after() {
      chosen.clear();
      drawBulk();
      mark = "";
      looking.now();
    }

    function tagDialog(runs) {
      const input = h("input.kg-input", { type: "text", "aria-label": t("runs.tag_name"), list: "kg-known-tags", maxlength: "200" });
      const end = async (what) => {
        const answer = await server.tag_runs({ runs: runs.map((run) => run.id), tag: input.value, what });
        dialog.close();
        if (answer.problem) await window.KG.tell(answer.problem);
        after();
      };
      const dialog = h("dialog.kg-dialog.kg-narrow", { "aria-label": t("runs.tag") },
        h("div.kg-dialog-head", {}, h("h2", {}, t("runs.tag_title", { n: runs.length }))),
        h("div.kg-dialog-body", {}, h("p", {}, t("runs.tag_lead")), input, h("datalist#kg-known-tags", {}, now.tags.map((tag) => h("option", { value: tag })))),
        h("div.kg-dialog-foot", {},
          h("button.kg-button", { type: "button", onclick: () => dialog.close() }, t("common.cancel")),
          h("button.kg-button", { type: "button", onclick: () => end("remove") }, t("runs.tag_remove")),
          h("button.kg-button.kg-primary", { type: "button", onclick: () => end("add") }, t("runs.tag_add"))));
      dialog.addEventListener("close", () => dialog.remove());
      document.body.append(dialog);
      dialog.showModal();
      input.focus();
    }

    function drawList() {
      const all = h("input", { type: "checkbox", "data-key": "choose-all", "aria-label": t("runs.choose_page"), checked: now.runs.length > 0 && now.runs.every((run) => chosen.has(run.id)),
        onchange: (event) => { for (const run of now.runs) { if (event.currentTarget.checked) chosen.set(run.id, run); else chosen.delete(run.id); } drawBulk(); drawList(); } });
      const headings = [t("runs.name"), t("runs.state"), t("runs.progress"), t("run.loss")];
      window.KG.refill(list, now.runs.length
        ? h("div.kg-scroll-x", {}, h("table.kg-table.kg-stack", {},
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, all), headings.map((name) => h("th", { scope: "col" }, name)))),
          h("tbody", {}, now.runs.map(row))))
        : now.num_all
          ? h("div.kg-empty", {}, h("p", {}, t("runs.none_found")), h("button.kg-button", { type: "button", onclick: () => change({ text: "", state: "", job: "" }) }, t("runs.show_all")))
          : h("div.kg-empty", {}, h("p", {}, t("runs.none")), h("a.kg-button.kg-primary", { href: page("lora") }, t("runs.first"))));
    }

    function drawPager() {
      const turn = (key, to, off) => h("button.kg-button.kg-slim", { type: "button", "data-key": key, disabled: off, onclick: () => { change({ page: to }); list.scrollIntoView({ block: "start" }); } }, t(`runs.${key}`));
      count.textContent = now.num_found === now.num_all ? t("runs.count", { n: now.num_all }) : t("runs.count_found", { n: now.num_found, all: now.num_all });
      window.KG.refill(pager, now.num_pages < 2 ? null : [
        turn("page_before", wish.page - 1, wish.page <= 1), h("span.kg-small", {}, t("runs.page", { n: now.page, of: now.num_pages })), turn("page_after", wish.page + 1, wish.page >= now.num_pages)]);
    }

    const looking = every(3000, async () => {
      const asked = JSON.stringify(wish);
      const answer = await server.list_runs({ ...wish, mark });
      if (asked !== JSON.stringify(wish)) return "again"; // changed while the question was on its way
      if (answer.same) return "same";
      now = answer;
      mark = now.mark;
      wish.page = now.page;
      for (const run of now.runs) if (chosen.has(run.id)) chosen.set(run.id, run);
      fill(problem, now.problem ? h("div.kg-note.kg-bad", { role: "alert" }, now.problem) : null);
      const others = now.running.filter((run) => !now.runs.some((shown) => shown.id === run.id));
      fill(running, others.length ? h("section.kg-card", {}, h("h2.kg-h", {}, t("start.running")), window.KG.runLists.table(others)) : null);
      window.KG.refill(queue, window.KG.queueCard(now.queue, window.KG.runLists.queueAct(server, () => looking)));
      fill(unknown, now.unknown.map((words) => h("div.kg-note.kg-warn", {}, words)));
      filters.hidden = !now.num_all;
      document.getElementById("kg-run-help").hidden = !now.num_all;
      options(states, t("runs.all_states"), now.states, wish.state);
      options(jobs, t("runs.all_jobs"), now.jobs, wish.job);
      drawBulk();
      drawList();
      drawPager();
      document.documentElement.dataset.kgReady = "runs";
      return undefined;
    });
    return looking;
  }

  /** What can be done with several runs at once; each is called with {runs, server, done} and returns a button. */
  window.KG.bulkActions = [];

  window.KG.widgets.runs = ({ element, server }) => {
    const holder = element.firstElementChild;
    const query = new URLSearchParams(window.location.search);
    const id = query.get("run");
    const compared = query.getAll("compare");
    if (compared.length) window.KG.compareView(holder, compared, server);
    else if (id) window.KG.runView(holder, id, server);
    else history(holder, server);
  };
})();
