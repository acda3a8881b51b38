// What is done with several runs at once: doing them again, and deleting, with one question that says what is lost.
(() => {
  "use strict";
  const { t, h, bytes } = window.KG;

  function files(title, paths) {
    if (!paths.length) return null;
    const shown = paths.slice(0, 8);
    return [h("h3.kg-h.kg-small", {}, title), h("ul.kg-small.kg-code", {}, shown.map((path) => h("li", {}, path))),
      paths.length > shown.length ? h("p.kg-small", {}, t("runs.and_more", { n: paths.length - shown.length })) : null];
  }

  /** Ask once, then delete; resolves to true when something was deleted. */
  window.KG.deleteRuns = async (runs, server) => {
    const ids = runs.map((run) => run.id);
    const loss = await server.runs_loss({ runs: ids });
    const title = runs.length === 1 ? t("runs.delete_title", { name: runs[0].name }) : t("runs.delete_titles", { n: runs.length });
    const text = [
      h("p", {}, t("runs.delete_text", { size: bytes(loss.bytes), files: loss.files })),
      loss.at_work.length ? h("div.kg-note.kg-warn", {}, t("runs.delete_at_work", { names: loss.at_work.join(", ") })) : null,
      files(t("runs.delete_weights"), loss.weights), files(t("runs.delete_states"), loss.states), files(t("runs.delete_stays"), loss.elsewhere)];
    const sure = await window.KG.confirm({ title, text, yes: t("runs.delete_size", { size: bytes(loss.bytes) }), danger: true });
    if (!sure) return false;
    const answer = await server.delete_runs({ runs: ids });
    if (answer.problem) await window.KG.tell(answer.problem);
    return true;
  };

  window.KG.bulkActions.push(({ runs, server, done }) => {
    const over = runs.filter((run) => !run.active);
    return over.length ? h("button.kg-button.kg-slim", { type: "button", "data-key": "bulk-again", title: t("runs.again_why"), onclick: async () => {
      const answer = await server.run_again({ runs: over.map((run) => run.id) });
      if (answer.problem) await window.KG.tell(answer.problem);
      else done();
    } }, t("runs.again")) : null;
  });

  window.KG.bulkActions.push(({ runs, server, done }) =>
    h("button.kg-button.kg-slim.kg-danger", { type: "button", "data-key": "bulk-delete", onclick: async () => { if (await window.KG.deleteRuns(runs, server)) done(); } }, t("runs.delete")));
})();
