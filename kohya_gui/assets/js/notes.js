// Note and tags of one run; of two who write at once, the later one is told.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;

  window.KG.noteCard = (holder, id, server) => {
    const text = h("textarea.kg-input.kg-note-text", { rows: "3", maxlength: "10000", "aria-label": t("notes.note"), placeholder: t("notes.placeholder"), oninput: () => edited() });
    const tags = h("input.kg-input", { type: "text", "aria-label": t("notes.tags"), placeholder: t("notes.tags_placeholder"), oninput: () => edited() });
    const save = h("button.kg-button", { type: "button", disabled: true, "data-note": "save", onclick: () => write() }, t("notes.save"));
    const told = h("div", { "aria-live": "polite" });
    let version = 0;
    let kept = "";

    const state = () => JSON.stringify([text.value, tags.value]);
    function edited() {
      save.disabled = state() === kept;
      fill(told);
    }
    function show(note) {
      text.value = note.note;
      tags.value = note.tags.join(", ");
      version = note.version;
      kept = state();
      save.disabled = true;
    }
    async function write() {
      save.disabled = true;
      const answer = await server.write_note({ run: id, note: text.value, tags: tags.value, version });
      if (answer.problem) {
        fill(told, h("div.kg-note.kg-bad", { role: "alert" }, answer.problem));
        save.disabled = false;
      } else if (answer.changed) {
        const theirs = answer.changed;
        fill(told, h("div.kg-note.kg-warn", { role: "alert", "data-note": "changed" }, h("strong", {}, t("notes.changed")),
          h("p.kg-pre-line", {}, theirs.note || "–"), theirs.tags.length ? h("p", {}, theirs.tags.map((tag) => `#${tag} `)) : null,
          h("span.kg-row", {},
            h("button.kg-button.kg-slim", { type: "button", onclick: () => { fill(told); show(theirs); } }, t("notes.take_theirs")),
            h("button.kg-button.kg-slim", { type: "button", onclick: () => { fill(told); version = theirs.version; write(); } }, t("notes.keep_mine")))));
      } else {
        show(answer);
        fill(told, h("span.kg-quiet.kg-small", {}, t("notes.saved")));
      }
    }

    fill(holder, h("h2.kg-h", {}, t("notes.title")), text, h("div.kg-row.kg-note-row", {}, h("div.kg-grow", {}, tags), save), told);
    server.read_note({ run: id }).then((note) => { if (!note.problem && state() === JSON.stringify(["", ""])) show(note); });
    window.addEventListener("beforeunload", (event) => { if (state() !== kept && !save.disabled) event.preventDefault(); });
  };
})();
