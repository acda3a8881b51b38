// What the page shows of an answer: a word above the form, or a window.
(() => {
  "use strict";
  const { t, h, fill, every, copy, page } = window.KG;

  window.KG.formParts.results = (desk) => {
    const { facts, server, slot, alter } = desk;

    function notice(found) {
      const holder = slot("notice");
      if (!found || (!found.text && !found.problems.length)) return;
      fill(holder, h(`div.kg-note.${found.bad ? "kg-bad" : found.problems.length ? "kg-warn" : "kg-good"}`, { role: "status", "data-until-kept": Boolean(found.until_kept) },
        h("div.kg-row.kg-between", {}, h("span", {}, found.text || t("form.not_done")),
          h("span.kg-row", {},
            found.undo ? h("button.kg-button.kg-slim", { type: "button", onclick: () => { fill(holder); alter("revert", { draft: found.undo }); } }, t("form.undo")) : null,
            h("button.kg-button.kg-slim", { type: "button", onclick: () => fill(holder) }, t("common.close")))),
        found.problems.length ? h("ul", {}, found.problems.map((problem) => h("li", {}, problem.options.length ? h("code", {}, `${problem.options.join(", ")}: `) : null, problem.message, problem.hint ? ` → ${problem.hint}` : ""))) : null));
    }

    // ---- results of what was asked for ----
    function dialog(title, ...body) {
      const node = h("dialog.kg-dialog", { "aria-label": title },
        h("div.kg-dialog-head", {}, h("h2", {}, title), h("button.kg-button.kg-slim", { type: "button", onclick: () => node.close() }, t("common.close"))),
        h("div.kg-dialog-body", {}, ...body));
      node.addEventListener("close", () => node.remove());
      document.body.append(node);
      node.showModal();
      return node;
    }

    function showResult(result) {
      if (result.state === "problems") {
        desk.attempted = true;
        desk.drawAll();
        const names = result.problems.flatMap((problem) => problem.options);
        notice({ text: t("form.mend_first", { n: result.problems.length }), problems: result.problems, bad: true });
        slot("notice").scrollIntoView({ block: "nearest" });
        if (names.length) desk.goTo(names[0]);
        return;
      }
      if (result.state === "failed") notice({ text: result.text, problems: [], bad: true });
      if (result.state === "started" && !facts.stays) window.location.assign(page("runs", { run: result.run }));
      if (result.state === "started") document.dispatchEvent(new CustomEvent("kg-started", { detail: result.run }));
      if (result.state === "queued" && facts.stays) document.dispatchEvent(new CustomEvent("kg-queued", { detail: result.queued }));
      else if (result.state === "queued") notice({ text: result.text, problems: [] });
      if (result.state === "requeued") window.location.assign(page("runs"));
      if (result.state === "not_requeued") notice({ text: result.text, problems: [], bad: true });
      if (result.state === "refused") notice({ text: result.text, problems: [], bad: true });
      if (result.state === "presets" || result.state === "said") notice({ text: result.text, problems: [] });
      if (result.state === "swept") desk.swept(result);
      if (result.state === "preset_exists") desk.presetExists(result);
      if (result.state === "preset_file") download(result.file, result.text);
      if (result.state === "shown") showJob(result);
      if (result.state === "exists") replaceConfig(result);
      if (result.state === "saved") savedConfig(result);
      if (result.state === "checking") showCheck(result.check);
      if (result.state === "report") showReport(result);
      if (result.state === "no_report") alter(desk.brought.what, desk.brought.data);
    }

    function download(name, text) {
      const link = h("a", { href: URL.createObjectURL(new Blob([text], { type: "application/toml" })), download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }

    function showJob(result) {
      const toml = h("pre.kg-pre", { tabindex: "0" }, result.changed);
      const all = h("input", { type: "checkbox", onchange: () => { toml.textContent = all.checked ? result.all : result.changed; } });
      dialog(t("form.show"),
        h("div.kg-row.kg-between", {}, h("label.kg-check", {}, all, t("form.show_all")),
          h("span.kg-row", {},
            h("button.kg-button.kg-slim", { type: "button", onclick: (e) => copy(toml.textContent, e.currentTarget) }, t("common.copy")),
            h("button.kg-button.kg-slim", { type: "button", onclick: () => download(result.file, toml.textContent) }, t("form.download")))),
        toml,
        result.prompts ? [h("h3", {}, t("form.prompts_shown")), h("pre.kg-pre", {}, result.prompts)] : null,
        h("div.kg-row.kg-between", {}, h("h3", {}, t("run.command")), h("button.kg-button.kg-slim", { type: "button", onclick: (e) => copy(result.command, e.currentTarget) }, t("common.copy"))),
        h("pre.kg-pre", {}, result.command));
    }

    function showReport(result) {
      const { what, data } = desk.brought;
      const node = dialog(t("form.import_title", { source: result.source }),
        h("p.kg-quiet", {}, t("form.import_lead")),
        result.refused.length ? h(`div.kg-note.${result.fits ? "kg-warn" : "kg-bad"}`, { "data-refused": "" }, h("strong", {}, t("form.import_refused")), h("ul", {}, result.refused.map((words) => h("li", {}, words)))) : null,
        result.sections.map((section) => h("details", { open: section.fate !== "mapped", "data-fate": section.fate },
          h("summary", {}, `${section.title} (${section.lines.length})`), h("ul.kg-small", {}, section.lines.map((line) => h("li", {}, line))))),
        result.fits ? h("button.kg-button.kg-primary", { type: "button", "data-fill": "", onclick: () => { node.close(); alter(what, data); } }, t("form.import_fill")) : null);
    }

    async function replaceConfig(result) {
      const sure = await window.KG.confirm({ title: t("form.save"), text: t("form.save_exists", { name: result.name }), yes: t("form.save_replace") });
      if (sure) desk.act("save", { name: result.name, replace: true });
    }

    function savedConfig(result) {
      notice({ text: t("form.saved", { file: result.file }), problems: [] });
    }

    function showCheck(check) {
      const text = h("pre.kg-pre", { tabindex: "0" });
      const state = h("p", { role: "status" }, t("check.working"));
      const bar = window.KG.progressBar(t("check.working"));
      const node = dialog(t("check.title"), h("p.kg-quiet", {}, t("check.lead")), state, bar, text);
      const poll = every(500, async () => {
        const now = await server.look_at_check({ check });
        text.textContent = now.text;
        if (now.state === "working") return undefined;
        bar.remove();
        state.className = `kg-note ${now.state === "good" ? "kg-good" : "kg-bad"}`;
        state.textContent = t(`check.${now.state}`);
        state.dataset.check = now.state;
        return "stop";
      });
      node.addEventListener("close", () => {
        poll.stop();
        server.cancel_check({ check });
      });
    }

    desk.notice = notice;
    desk.download = download;
    desk.dialog = dialog;
    desk.showResult = showResult;
    return {};
  };
})();
