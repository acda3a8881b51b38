// The data set page: which folder is open. Tabs read KG.dataset and hear when it changes.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;
  const listeners = [];
  let field = null;
  // From the start a folder is being opened: the address or the last visit may name one.
  let opening = true;
  const waiting = [];

  window.KG.dataset = {
    folder: "",
    /** The ending of the caption files in it. */
    ending: ".txt",
    /** Call `work(folder)` whenever a folder is opened, and now if one is open. */
    onFolder(work) {
      listeners.push(work);
      if (this.folder) work(this.folder);
    },
    /** Open a folder as if it had been typed. */
    open(folder) { if (field) field(folder); },
    /**
     * Give the folder that a click on `button` is for. If one is being opened, the click waits for
     * it; if there is none, `note` says so and "" is given.
     */
    async wanted(note, button) {
      if (opening) {
        button.disabled = true;
        fill(note, h("p.kg-quiet", { role: "status", "data-waits": "folder" }, t("dataset.opening")));
        await new Promise((go) => waiting.push(go));
        button.disabled = false;
      }
      fill(note, this.folder ? null : h("p.kg-note.kg-warn", { role: "status" }, t("dataset.no_folder")));
      return this.folder;
    },
  };

  /** The opening has come to its end: carry out what was clicked meanwhile. */
  function settle() {
    opening = false;
    for (const go of waiting.splice(0)) go();
  }

  window.KG.widgets.dataset_folder = ({ element, trigger, props, server, watch }) => {
    const holder = element.firstElementChild;
    let turn = 0;
    const input = h("input#kg-dataset-path.kg-input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder: t("dataset.folder_example"), "aria-label": t("dataset.folder") });
    const browse = h("button.kg-button", { type: "button", onclick: choose }, t("dataset.browse"));
    const open = h("button.kg-button.kg-primary", { type: "button", onclick: () => go(input.value) }, t("dataset.open"));
    const recent = h("div.kg-row.kg-dataset-recent", { hidden: true });
    const note = h("div", { "aria-live": "polite" });
    const said = h("div", { "aria-live": "polite" });
    const card = h("section.kg-card.kg-dataset-choice", {},
      h("label.kg-h", { for: "kg-dataset-path" }, t("dataset.folder")),
      h("div.kg-dataset-path-row", {}, input, browse, window.KG.uploads.picker(t("teach.upload"), copy), open), recent, said, note);
    fill(holder, card);
    window.KG.uploads.into(card, copy);

    async function choose() {
      const path = await window.KG.choose({ kind: "folder", title: t("dataset.choose"), start: input.value.trim(), list: server.list_folder, back: browse });
      if (path) go(path);
    }

    /** Copy pictures that were dropped or chosen into a new folder of the workspace, and open it. */
    async function copy(given) {
      if (!given.files.length && !given.refused.length) return;
      let made = "";
      const ask = (piece) => server.take_upload({ folder: given.name, ...piece });
      await window.KG.uploads.send(given, ask, (answer) => { made = answer.folder || made; }, said);
      if (made) go(made);
    }

    function go(folder) {
      document.documentElement.classList.remove("kg-dataset-none");
      open.classList.add("kg-primary");
      turn += 1;
      opening = true;
      input.value = folder.trim();
      fill(note);
      trigger("choose", { folder: input.value, turn });
    }
    field = go;

    async function showRecent(list) {
      const folders = (list || (await server.recent_folders())).filter((one) => one !== window.KG.dataset.folder);
      recent.hidden = !folders.length;
      fill(recent, h("span.kg-quiet.kg-small", {}, t("dataset.recent")), folders.map((one) => h("span.kg-recent", {},
        h("button.kg-linkish.kg-small", { type: "button", title: one, onclick: () => go(one) }, one.split(/[\\/]/).filter(Boolean).pop() || one),
        h("button.kg-chip-x", { type: "button", "aria-label": t("dataset.forget", { folder: one }), title: t("dataset.forget", { folder: one }), onclick: async () => showRecent(await server.forget_folder({ folder: one })) }, "×"))));
    }

    function read() {
      if (!props.value) return;
      const answer = JSON.parse(props.value);
      if (answer.turn !== turn) return;
      fill(note, answer.problem ? h("div.kg-note.kg-bad", { role: "alert" }, answer.problem, " ", answer.hint || "") : null);
      if (answer.folder) {
        input.value = answer.folder;
        const query = new URLSearchParams(window.location.search);
        query.set("folder", answer.folder);
        window.history.replaceState(null, "", `${window.location.pathname}?${query}`);
      }
      window.KG.dataset.folder = answer.folder;
      window.KG.dataset.ending = answer.ending || ".txt";
      document.documentElement.classList.toggle("kg-dataset-open", Boolean(answer.folder));
      for (const work of listeners) work(answer.folder);
      settle();
      showRecent();
    }

    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        go(input.value);
      }
    });
    watch("value", read);
    (async () => {
      const asked = new URLSearchParams(window.location.search).get("folder");
      const list = await server.recent_folders().catch(() => []);
      // A folder that was typed meanwhile is the one that is wanted.
      if (!turn && (asked || list.length)) go(asked || list[0]);
      else if (!turn) {
        document.documentElement.classList.add("kg-dataset-none");
        open.classList.remove("kg-primary");
        const pick = window.KG.uploads.picker(t("teach.upload"), copy);
        pick.classList.add("kg-primary");
        fill(note, h("div.kg-drop-zone", {}, h("p", {}, t("teach.drop")), h("p", {}, pick), h("p.kg-quiet.kg-small", {}, t("teach.drop_why"))),
          h("p.kg-quiet", {}, t("dataset.first")),
          h("ol.kg-dataset-steps", {}, ["captions", "doctor", "samples", "masks", "prepare"].map((step) => h("li", {}, t(`dataset.step_${step}`)))));
        settle();
      }
      showRecent(list);
      document.documentElement.dataset.kgReady = "dataset";
    })();
  };
})();
