// The tools page's jobs: a DyLoRA cut to its ranks, and pictures whose captions may be wrong.
(() => {
  "use strict";
  const { t, h, fill, bytes, file, number, page } = window.KG;

  /**
   * Let `button` begin what `ask` asks for and follow it; until it has ended, it begins no other.
   * One that was begun before a reload is found again.
   */
  function begins(name, button, note, { ask, look, stop, ended }) {
    const kept = `kg-tool-${name}`;
    const follow = (begun) => {
      button.disabled = true;
      window.KG.jobs.follow(note, begun, look, stop, (state) => {
        sessionStorage.removeItem(kept);
        button.disabled = false;
        ended(state);
      });
    };
    button.addEventListener("click", async () => {
      button.disabled = true;
      ended({});
      const begun = await ask().catch(() => ({ problems: [{ message: t("common.no_answer"), hint: "" }] }));
      if (begun.problems) {
        button.disabled = false;
        fill(note, window.KG.jobs.problems(begun.problems));
        return;
      }
      sessionStorage.setItem(kept, JSON.stringify(begun));
      follow(begun);
    });
    const before = sessionStorage.getItem(kept);
    if (before) follow(JSON.parse(before));
  }

  function slices(server, fields) {
    const browse = (start, back) => window.KG.choose({ kind: "file", title: t("tools.choose_dylora"), start: start.trim(), list: server.list_folder, back });
    const form = window.KG.jobs.fields(fields, "kg-slice", browse, "file");
    const note = h("div", { "aria-live": "polite" });
    const made = h("div", { "data-slices": true });
    const ended = (state) => fill(made, state.files && state.files.length ? h("ul.kg-list", {}, state.files.map((one) =>
      h("li", {}, h("span.kg-code", { title: one.path }, one.name), h("span.kg-quiet", {}, ` ${bytes(one.bytes)}`)))) : null);
    const go = h("button.kg-button", { type: "button", id: "kg-slice-start" }, t("tools.slice"));
    begins("slice", go, note, { ask: () => server.slice_start({ raw: form.values() }), look: server.slice_state, stop: server.tool_stop, ended });
    return h("section.kg-card", {}, h("h2.kg-h", {}, t("tools.slices")), h("p.kg-quiet", {}, t("tools.slices_why")), form.node, h("p", {}, go), note, made);
  }

  function row(one) {
    return h("tr", {},
      h("td", {}, one.small ? h("img.kg-tool-picture", { src: file(one.small), alt: "", loading: "lazy" }) : null),
      h("td", {}, h("strong", {}, one.name), h("div.kg-small", {}, one.caption || h("span.kg-quiet", {}, t("tools.no_caption"))),
        one.folder ? h("a.kg-small", { href: page("pictures", { folder: one.folder }) }, t("tools.open_pictures")) : null),
      h("td.kg-num", {}, number(one.gain, 3), one.gain <= 0 ? h("div", {}, h("span.kg-tag.kg-warn", {}, t("tools.no_help"))) : null),
      h("td.kg-num", {}, number(one.loss, 3)));
  }

  function ranking(server) {
    const note = h("div", { "aria-live": "polite" });
    const found = h("div", { "data-ranked": true });
    const run = h("select.kg-input", { id: "kg-rank-run" });
    const weights = h("select.kg-input", { id: "kg-rank-file" });
    const go = h("button.kg-button", { type: "button", id: "kg-rank-start" }, t("tools.rank"));
    const body = h("div");
    let runs = [];
    const offer = () => {
      const files = (runs.find((one) => one.id === run.value) || { files: [] }).files;
      fill(weights, h("option", { value: "" }, t("tools.model_alone")), files.map((one) => h("option", { value: one.path }, one.name)));
      if (files.length) weights.value = files.at(-1).path;
    };
    const ended = (state) => fill(found, state.pictures ? [
      h("p", {}, t("tools.ranked", { n: state.count, shown: state.pictures.length }), " ", h("span.kg-code", {}, state.file)),
      h("div.kg-scroll-x", {}, h("table.kg-table", {}, h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, t("tools.picture")), h("th", { scope: "col" }, t("tools.gain")), h("th", { scope: "col" }, t("tools.loss")))),
        h("tbody", {}, state.pictures.map(row))))] : null);
    begins("rank", go, note, { ask: () => server.rank_start({ run: run.value, file: weights.value }), look: server.rank_state, stop: server.tool_stop, ended });
    run.addEventListener("change", offer);
    server.rank_offers().then((answer) => {
      runs = answer.runs || [];
      if (answer.problems) return fill(body, window.KG.jobs.problems(answer.problems));
      if (!runs.length) return fill(body, h("p.kg-empty", {}, t("tools.no_runs")));
      fill(run, runs.map((one) => h("option", { value: one.id }, one.name)));
      offer();
      return fill(body, h("div.kg-job-fields", {},
        h("div.kg-job-field", {}, h("label", { for: run.id }, t("tools.rank_run")), run, h("div.kg-small.kg-faint", {}, t("tools.rank_run_why"))),
        h("div.kg-job-field", {}, h("label", { for: weights.id }, t("tools.rank_file")), weights, h("div.kg-small.kg-faint", {}, t("tools.rank_file_why")))), h("p", {}, go));
    });
    return h("section.kg-card", {}, h("h2.kg-h", {}, t("tools.ranking")), h("p.kg-quiet", {}, t("tools.ranking_why")), body, note, found);
  }

  window.KG.widgets.tools_title = ({ element }) => {
    fill(element.firstElementChild, h("h1.kg-page-title", {}, t("tools.title")), h("p.kg-lead", {}, t("tools.lead")));
  };

  window.KG.widgets.tool_jobs = ({ element, server, props }) => {
    fill(element.firstElementChild, ranking(server), slices(server, JSON.parse(props.facts).fields));
  };
})();
