// Choosing a file or folder of the server in the browser: a dialog over a safe listing.
(() => {
  "use strict";
  const { t, h, svg, fill, bytes } = window.KG;
  const marks = {
    folder: "M1.5 3.5h5l1.5 2h6.5v7.5h-13z",
    model: "M8 1.5l6 3.3v6.4l-6 3.3-6-3.3V4.8z M2 4.8l6 3.4 6-3.4 M8 8.2v6.3",
    picture: "M1.5 2.5h13v11h-13z M1.5 11l4-4 3.5 3.5 2-2 3.5 3.5",
    text: "M3.5 1.5h6l3 3v10h-9z M5.5 7h5 M5.5 9.5h5",
    file: "M3.5 1.5h6l3 3v10h-9z",
  };
  marks.config = marks.text;
  const mark = (kind) => h("span.kg-mark", { "aria-hidden": "true" }, svg("svg", { viewBox: "0 0 16 16" }, svg("path", { d: marks[kind] || marks.file })));

  function date(seconds) {
    return seconds ? window.KG.moment(seconds) : "";
  }

  /**
   * Let the user choose; resolves to a path, or null when it was cancelled.
   * `list({folder, wants, filter})` asks the server; `kind` is "file", "folder", "output_folder" or "file_or_folder".
   */
  window.KG.choose = ({ kind, title, start, list, back }) =>
    new Promise((resolve) => {
      const wantsFolder = kind !== "file";
      const wantsFile = kind === "file" || kind === "file_or_folder";
      let current = null;
      let chosen = null;
      let asked = 0;

      const where = h("input.kg-input", { type: "text", "aria-label": t("chooser.path"), spellcheck: "false" });
      const find = h("input.kg-input", { type: "search", placeholder: t("chooser.find"), "aria-label": t("chooser.find") });
      const places = h("div.kg-places", { role: "group", "aria-label": t("chooser.places") });
      const note = h("p.kg-quiet.kg-small", { role: "status" });
      const entries = h("ul.kg-entries", { "aria-label": t("chooser.entries") });
      const pick = h("button.kg-button.kg-primary", { type: "button", onclick: () => finish(chosen || (wantsFolder ? where.value : null)) });
      const up = h("button.kg-button.kg-slim", { type: "button", onclick: () => current && current.parent && go(current.parent) }, t("chooser.up"));
      const dialog = h(
        "dialog.kg-dialog.kg-chooser",
        { "aria-label": title },
        h("div.kg-dialog-head", {}, h("h2", {}, title),
          h("button.kg-button.kg-slim", { type: "button", onclick: () => finish(null) }, t("common.cancel"))),
        h("div.kg-dialog-body", {},
          h("div.kg-chooser-path", {}, up, where),
          places, find, note, entries),
        h("div.kg-dialog-foot", {}, h("span.kg-chosen.kg-code"), pick),
      );
      const chosenText = dialog.querySelector(".kg-chosen");

      function finish(path) {
        dialog.close();
        dialog.remove();
        if (back) back.focus();
        resolve(path);
      }

      function offer() {
        const path = chosen || (wantsFolder && current && !current.problem ? current.folder : null);
        chosenText.textContent = path || "";
        pick.disabled = !path;
        pick.textContent = wantsFolder && !chosen ? t("chooser.pick_folder") : t("chooser.pick");
      }

      function rows() {
        const wanted = find.value.trim().toLowerCase();
        const shown = current.entries.filter((e) => !wanted || e.name.toLowerCase().includes(wanted));
        fill(entries, shown.map((entry) => {
          const folder = entry.kind === "folder";
          const fits = folder || wantsFile;
          return h("li", {}, h(
            "button.kg-entry",
            {
              type: "button",
              disabled: !fits || entry.closed,
              "data-path": entry.full,
              "aria-pressed": chosen === entry.full ? "true" : null,
              onclick: () => (folder ? go(entry.full) : select(entry)),
              ondblclick: () => !folder && fits && finish(entry.full),
            },
            mark(entry.kind),
            h("span.kg-entry-name", {}, entry.name),
            h("span.kg-entry-note", {}, entry.note || (folder ? "" : `${bytes(entry.bytes)}  ${date(entry.modified)}`)),
          ));
        }));
        if (!shown.length && !current.problem) {
          fill(entries, h("li.kg-quiet", {}, current.entries.length ? t("chooser.nothing_found") : t("chooser.empty")));
        }
      }

      function select(entry) {
        chosen = entry.full;
        for (const node of entries.querySelectorAll(".kg-entry")) {
          if (node.dataset.path === chosen) node.setAttribute("aria-pressed", "true");
          else node.removeAttribute("aria-pressed");
        }
        offer();
      }

      async function go(folder) {
        const turn = (asked += 1);
        note.textContent = t("chooser.reading");
        let answer;
        try {
          answer = await list({ folder, wants: kind });
        } catch {
          answer = { problem: { message: t("common.no_answer") }, folder, entries: [], places: [], note: "" };
        }
        if (turn !== asked) return;
        current = answer;
        chosen = null;
        where.value = answer.folder;
        find.value = "";
        up.disabled = !answer.parent;
        note.textContent = answer.problem
          ? [answer.problem.message, answer.problem.hint].filter(Boolean).join(" ")
          : answer.note;
        note.className = answer.problem ? "kg-note kg-bad" : "kg-quiet kg-small";
        fill(places, answer.places.map((place) =>
          h("button.kg-button.kg-slim", { type: "button", onclick: () => go(place.folder) }, place.name)));
        rows();
        offer();
        if (answer.chosen) {
          const entry = answer.entries.find((e) => e.full === answer.chosen);
          if (entry && wantsFile) select(entry);
        }
      }

      find.addEventListener("input", rows);
      where.addEventListener("keydown", (event) => {
        if (event.key === "Enter") {
          event.preventDefault();
          go(where.value.trim());
        }
      });
      dialog.addEventListener("cancel", (event) => {
        event.preventDefault();
        finish(null);
      });
      dialog.addEventListener("keydown", (event) => {
        const buttons = [...entries.querySelectorAll(".kg-entry:not(:disabled)")];
        const at = buttons.indexOf(document.activeElement);
        if (event.key === "ArrowDown" && document.activeElement !== where) {
          event.preventDefault();
          (buttons[at + 1] || buttons[0])?.focus();
        } else if (event.key === "ArrowUp" && at >= 0) {
          event.preventDefault();
          (buttons[at - 1] || find).focus();
        } else if (event.key === "Backspace" && at >= 0 && current.parent) {
          event.preventDefault();
          go(current.parent).then(() => find.focus());
        } else if (event.key === "Enter" && at >= 0 && chosen && document.activeElement.dataset.path === chosen) {
          event.preventDefault();
          finish(chosen);
        }
      });
      document.body.append(dialog);
      dialog.showModal();
      find.focus();
      go(start || "");
    });
})();
