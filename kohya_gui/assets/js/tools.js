// The tools page: the doctor's report, the folders of the program and clearing them, versions.
(() => {
  "use strict";
  const { t, h, fill, bytes, page } = window.KG;

  const card = (title, ...children) => h("section.kg-card", {}, h("h2.kg-h", {}, title), children);

  function findings(title, tone, rows) {
    if (!rows.length) return null;
    return h(`div.kg-note.${tone}`, {}, h("strong", {}, title),
      h("ul", {}, rows.map((row) => h("li", {}, row.message, h("div.kg-small", {}, `→ ${row.remedy}`)))));
  }

  function report(found) {
    if (found.problem) return h("div.kg-note.kg-bad", {}, found.problem);
    const facts = found.facts;
    const torch = facts.torch ? `${facts.torch.version}${facts.torch.devices.length ? ` · ${facts.torch.devices.map((one) => one.name).join(", ")}` : ""}` : "–";
    const rows = [
      [t("tools.hardware"), facts.hardware?.text], [t("tools.torch"), torch],
      [t("tools.python"), facts.python?.version], [t("tools.system"), facts.system],
      [t("tools.free_disk"), t("tools.gb", { n: facts.free_disk_gb })],
    ];
    return [
      found.ok ? h("p.kg-note.kg-good", {}, t("tools.fine")) : null,
      h("div.kg-scroll-x", {}, h("table.kg-table", {}, h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value || "–")))))),
      findings(t("tools.mend"), "kg-bad", found.findings.filter((one) => one.level === "mend")),
      findings(t("tools.good_to_know"), "", found.findings.filter((one) => one.level === "note")),
    ];
  }

  function doctor(server) {
    const out = h("div", { "aria-live": "polite", "data-doctor": true });
    const button = h("button.kg-button", { type: "button", "data-examine": true, onclick: async () => {
      button.disabled = true;
      fill(out, h("p.kg-quiet", {}, t("tools.examining")));
      try {
        fill(out, report(await server.examine()));
      } catch {
        fill(out, h("p.kg-note.kg-bad", {}, t("common.no_answer")));
      }
      button.disabled = false;
    } }, t("tools.examine"));
    return card(t("tools.doctor"), h("p.kg-quiet", {}, t("tools.doctor_why")), h("p", {}, button), out);
  }

  function storage(server) {
    const table = h("tbody");
    const said = h("div", { role: "status" });
    async function look() {
      const { places } = await server.storage();
      fill(table, places.map((place) => {
        const name = t(`tools.names.${place.name}`);
        return h("tr", { "data-place": place.name },
          h("td", {}, name, h("div.kg-code.kg-quiet", {}, place.path)),
          h("td.kg-num", {}, bytes(place.bytes), h("div.kg-small.kg-quiet", {}, t("tools.files", { n: place.files }))),
          h("td", {}, place.clearable && place.files ? h("button.kg-button.kg-slim", { type: "button", "aria-label": t("tools.clear_of", { name }), onclick: () => clear(place, name) }, t("tools.clear")) : null));
      }));
    }
    async function clear(place, name) {
      const text = t("tools.clear_text", { files: place.files, size: bytes(place.bytes), lost: t(`tools.lost.${place.name}`) });
      if (!(await window.KG.confirm({ title: t("tools.clear_title", { name }), text, yes: t("tools.clear"), danger: true }))) return;
      const answer = await server.clear_place({ name: place.name });
      fill(said, answer.problem
        ? h("p.kg-note.kg-bad", {}, answer.problem)
        : h("p.kg-note.kg-good", {}, t("tools.cleared", { name, size: bytes(answer.bytes) })));
      await look();
    }
    look();
    return card(t("tools.storage"), h("p.kg-quiet", {}, t("tools.storage_why")),
      h("div.kg-scroll-x", {}, h("table.kg-table.kg-stack", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("tools.place")), h("th", { scope: "col" }, t("tools.size")), h("td", {}))), table)),
      said, h("p", {}, h("button.kg-button.kg-slim", { type: "button", onclick: look }, t("tools.measure"))));
  }

  window.KG.widgets.tools = ({ element, server, props }) => {
    const { versions, forms } = JSON.parse(props.facts);
    fill(element.firstElementChild,
      doctor(server), storage(server),
      card(t("tools.old"), h("p.kg-quiet", {}, t("tools.old_why")), h("div.kg-row", {}, forms.map((form) => h("a.kg-button.kg-slim", { href: page(form.page) }, form.title)))),
      card(t("tools.versions"), h("div.kg-scroll-x", {}, h("table.kg-table", {}, h("tbody", {}, versions.map((one) => h("tr", {}, h("th", { scope: "row" }, one.name), h("td.kg-code", {}, one.version))))))));
  };
})();
