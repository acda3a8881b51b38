// A failure: its cause, the log's last lines, and what can be done about it, each a button.
(() => {
  "use strict";
  const { t, h, page, bytes, copy } = window.KG;

  /** Options that change, an old and a new value a row. */
  window.KG.changeTable = (changes) => h("table.kg-table.kg-changes", {},
    h("thead", {}, h("tr", {}, [t("failure.option"), t("failure.before"), t("failure.after")].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, changes.map((one) => h("tr", {}, h("th", { scope: "row" }, one.label, " ", h("code.kg-faint", {}, one.option)), h("td", {}, one.before), h("td", {}, h("strong", {}, one.after))))));

  /** A remedy with its button; the first one stands out. */
  function remedy(one, number, now, server) {
    const main = number ? "" : ".kg-primary";
    const button = (text, action) => h(`button.kg-button${main}`, { type: "button", "data-remedy": one.name, onclick: action }, text);
    const link = (text, query) => h(`a.kg-button${main}`, { href: page(now.page, { from: now.run, ...query }), "data-remedy": one.name }, text);
    const leaveOut = async () => {
      const answer = await server.leave_out({ run: now.run, remedy: one.name });
      if (answer.problem) await window.KG.tell(answer.problem);
      else window.location.assign(page(now.page, { from: now.run, remedy: one.name }));
    };
    const doctor = h("span.kg-row", {}, h("code.kg-pre.kg-command", {}, now.doctor),
      button(t("common.copy"), (event) => copy(now.doctor, event.currentTarget)));
    const act = {
      draft: () => link(t("failure.open"), { remedy: one.name }),
      field: () => link(t("failure.go_to_field"), { goto: one.option }),
      pictures: () => button(t("failure.leave_out", { n: one.pictures.length }), leaveOut),
      sizes: () => button(t("failure.sizes"), () => window.KG.sizesDialog(server)),
      doctor: () => doctor,
    };
    if (!now.page && one.kind !== "sizes" && one.kind !== "doctor") return null;
    return h("li.kg-remedy", {}, h("div.kg-row.kg-between", {}, h("strong", {}, one.title), act[one.kind]()),
      h("p.kg-quiet.kg-small", {}, one.cost),
      one.goes_on ? h("p.kg-small", { "data-goes-on": "" }, one.goes_on) : null,
      one.changes.length ? window.KG.changeTable(one.changes) : null,
      one.pictures.length ? h("p.kg-small", {}, one.pictures.join(", ")) : null);
  }

  /** Fill in what a failed run's card shows below its cause. */
  window.KG.failureCard = (now, server) => {
    const { failure } = now;
    if (!failure) return null;
    const remedies = failure.remedies.map((one, number) => remedy(one, number, now, server)).filter(Boolean);
    return [
      failure.free_bytes === null ? null : h("p", {}, t("failure.free", { size: bytes(failure.free_bytes) })),
      remedies.length ? h("div.kg-remedies", {}, h("h2.kg-h", {}, t("failure.remedies")), h("p.kg-quiet.kg-small", {}, t("failure.remedies_why")), h("ul", {}, remedies)) : null,
      failure.log.length ? h("details", { open: true }, h("summary.kg-small", {}, t("failure.log")), h("pre.kg-pre.kg-last-lines", { tabindex: "0" }, failure.log.join("\n"))) : null];
  };

  /** What the runs take, largest first, to delete some of them. */
  window.KG.sizesDialog = async (server) => {
    const found = await server.run_sizes({});
    const chosen = new Map();
    const remove = h("button.kg-button.kg-danger", { type: "button", disabled: true, onclick: async () => {
      if (await window.KG.deleteRuns([...chosen.values()], server)) {
        dialog.close();
        window.KG.sizesDialog(server);
      }
    } }, t("runs.delete"));
    const row = (run) => h("tr", {},
      h("td.kg-choose", {}, run.busy ? null : h("input", { type: "checkbox", "aria-label": t("runs.choose", { name: run.name }),
        onchange: (event) => { if (event.currentTarget.checked) chosen.set(run.id, run); else chosen.delete(run.id); remove.disabled = !chosen.size; } })),
      h("td", {}, run.name, h("div.kg-faint.kg-small", {}, run.id)), h("td.kg-num", {}, bytes(run.bytes)));
    const dialog = h("dialog.kg-dialog", { "aria-label": t("failure.sizes") },
      h("div.kg-dialog-head", {}, h("h2", {}, t("failure.sizes")), h("button.kg-button.kg-slim", { type: "button", onclick: () => dialog.close() }, t("common.close"))),
      h("div.kg-dialog-body", {}, h("p", {}, t("failure.sizes_lead", { free: bytes(found.free_bytes), all: bytes(found.all_bytes) })),
        h("table.kg-table", {}, h("tbody", {}, found.runs.map(row)))),
      h("div.kg-dialog-foot", {}, remove));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  };
})();
