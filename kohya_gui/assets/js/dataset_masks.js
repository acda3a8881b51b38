// Masks: painted on a picture; bright is learned, dark is not. The picture itself is never touched.
(() => {
  "use strict";
  const { t, h, fill, file, page } = window.KG;

  window.KG.widgets.dataset_masks = ({ element, server }) => {
    const holder = element.firstElementChild;
    let folder = "";
    let at = 0;
    let open = null;
    let unsaved = false;
    let listing = 0;
    let painting = 0;
    let asking = false;
    const masks = h("input.kg-input", { type: "text", id: "kg-mask-folder", spellcheck: "false", onchange: otherMasks });
    const model = h("input.kg-input", { type: "text", id: "kg-mask-model", spellcheck: "false" });
    const note = h("div", { "aria-live": "polite" });
    const trouble = h("div", { "aria-live": "polite" });
    const strip = h("div.kg-mask-list");
    const pager = h("div.kg-row");
    const desk = h("div.kg-mask-desk");
    fill(holder, h("section.kg-card", {}, h("p.kg-quiet", {}, t("masks.lead")),
      h("label.kg-field", {}, t("masks.folder"), masks), h("p.kg-small.kg-quiet", {}, t("masks.folder_info")),
      note, trouble, h("div.kg-mask-split", {}, h("div", {}, strip, pager), desk)),
    h("details.kg-card", {}, h("summary", {}, t("masks.auto")), h("p.kg-quiet", {}, t("masks.auto_why")),
      h("div.kg-row", {}, h("label.kg-field.kg-grow", {}, t("masks.model"), model),
        h("button.kg-button", { type: "button", onclick: browse }, t("masks.browse")),
        h("button.kg-button.kg-primary", { type: "button", id: "kg-mask-find", onclick: find }, t("masks.find")))));

    const tell = (tone, ...words) => fill(note, h(`p.kg-note.${tone}`, {}, ...words));
    const asked = (more = {}) => ({ folder, masks: masks.value.trim(), ...more });

    async function browse(event) {
      const found = await window.KG.choose({ kind: "file", title: t("masks.model"), start: model.value, list: server.list_folder, back: event.currentTarget });
      if (found) model.value = found;
    }

    async function find(event) {
      if (!(await window.KG.dataset.wanted(note, event.currentTarget))) return;
      const answer = await server.find_subjects(asked({ model: model.value.trim() }));
      if (answer.problem) tell("kg-bad", answer.problem);
      else tell("kg-good", answer.text, " ", answer.run ? h("a", { href: page("runs", { run: answer.run }) }, t("masks.run")) : null);
    }

    function otherMasks() {
      list(0);
      if (open && !unsaved && open.folder === folder) paint(open.name);
    }

    async function list(number) {
      at = number;
      if (!folder) return;
      const mine = asked({ page: at });
      const turn = (listing += 1);
      const found = await server.list_masks(mine);
      // A late answer is about another folder or page than the one that is open now.
      if (turn !== listing || mine.folder !== folder) return;
      if (found.problem) {
        fill(strip);
        fill(trouble, h("p.kg-note.kg-bad", {}, found.problem));
        return;
      }
      fill(trouble);
      if (!masks.value) masks.value = found.masks;
      fill(strip, found.total ? found.rows.map(tile) : h("p.kg-quiet", {}, t("masks.none")));
      fill(pager, found.pages > 1 ? [
        h("button.kg-button.kg-slim", { type: "button", disabled: !at, onclick: () => list(at - 1) }, t("masks.newer")),
        h("span.kg-small", {}, `${at + 1} / ${found.pages}`),
        h("button.kg-button.kg-slim", { type: "button", disabled: at + 1 >= found.pages, onclick: () => list(at + 1) }, t("masks.older"))] : null);
      strip.dataset.maskReady = "yes";
      if (!open) fill(desk, h("p.kg-quiet", {}, t("masks.choose")));
      if (found.more) await later(mine, turn);
    }

    /** Small copies that are still made: they are put into their tiles as they come. */
    async function later(mine, turn) {
      let found = { more: true };
      while (found.more) {
        found = await server.list_masks(mine);
        if (turn !== listing || found.problem) return;
        for (const row of found.rows) {
          const one = [...strip.children].find((other) => other.dataset.name === row.name);
          if (one && row.small && !one.querySelector("img")) fill(one, ...inside(row));
        }
      }
    }

    const inside = (row) => [row.small ? h("img", { src: file(row.small), alt: "", loading: "lazy" }) : row.name, row.has_mask ? h("span.kg-mask-mark", { "aria-hidden": "true" }, "◐") : null];

    const tile = (row) => h("button.kg-strip-tile", { type: "button", title: row.name, "aria-label": row.has_mask ? `${row.name}: ${t("masks.has")}` : row.name, "aria-pressed": String(Boolean(open) && open.folder === folder && open.name === row.name), "data-name": row.name, onclick: () => paint(row.name) }, inside(row));

    async function paint(name) {
      const turn = (painting += 1);
      if (unsaved && (!(await mayLeave()) || turn !== painting)) return;
      // Where the mask lies is settled here: what is painted never goes to a folder opened later.
      const mine = asked({ name });
      const found = await server.open_mask(mine);
      if (turn !== painting || mine.folder !== folder) return;
      if (found.problem) {
        tell("kg-bad", found.problem);
        return;
      }
      const mask = new Image();
      mask.src = `data:image/png;base64,${found.mask}`;
      await mask.decode();
      if (turn !== painting || mine.folder !== folder) return;
      fill(note);
      unsaved = false;
      open = mine;
      for (const one of strip.children) one.setAttribute("aria-pressed", String(one.dataset.name === name));
      setUp(mine, found, mask);
    }

    const mayLeave = () => window.KG.confirm({ title: t("masks.unsaved"), text: t("masks.leave_text"), yes: t("masks.leave_yes"), danger: true });

    function clear() {
      open = null;
      unsaved = false;
      fill(desk, h("p.kg-quiet", {}, t("masks.choose")));
    }

    /** Paint one mask; `mine` holds picture, folder and folder of masks as they were when it was opened. */
    function setUp(mine, found, mask) {
      const name = mine.name;
      const state = h("span.kg-small.kg-quiet", { role: "status", "data-mask-state": "" });
      const source = h("p.kg-small.kg-quiet", {}, t(`masks.source_${found.source}`, { path: found.path }));
      const easel = window.KG.maskEasel({ name, mask, source: found.file ? file(found.file) : null, onChange: () => {
        unsaved = true;
        source.hidden = true;
        state.textContent = t("masks.unsaved");
      } });
      async function save(event) {
        const button = event.currentTarget;
        button.disabled = true;
        const saved = easel.strokes();
        const answer = await server.save_mask({ ...mine, mask: easel.data() });
        button.disabled = false;
        if (answer.problem) {
          tell("kg-bad", answer.problem);
          return;
        }
        // Another mask may be on the easel by now, or more have been painted on this one.
        if (open !== mine) return;
        if (saved === easel.strokes()) unsaved = false;
        state.textContent = unsaved ? t("masks.unsaved") : t("masks.saved", { path: answer.path });
        list(at);
      }
      async function drop() {
        const sure = await window.KG.confirm({ title: t("masks.drop"), text: t("masks.drop_text"), yes: t("masks.drop"), danger: true });
        if (!sure) return;
        const answer = await server.drop_mask(mine);
        if (answer.problem) {
          tell("kg-bad", answer.problem);
          return;
        }
        if (open !== mine) return;
        unsaved = false;
        if (mine.folder !== folder) {
          clear();
          return;
        }
        await list(at);
        await paint(name);
        if (answer.kept) tell("kg-good", t("masks.dropped", { path: answer.kept }));
      }
      fill(desk, easel.tools,
        source, easel.board, easel.spoken, easel.help,
        h("div.kg-row", {}, h("button.kg-button.kg-primary", { type: "button", id: "kg-mask-save", onclick: save }, t("masks.save")),
          found.source === "file" ? h("button.kg-button.kg-slim", { type: "button", onclick: drop }, t("masks.drop")) : null, state));
      desk.dataset.easel = name;
    }

    window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
    window.KG.dataset.onFolder(async (now) => {
      if (now === folder) {
        list(at);
        return;
      }
      const left = open;
      folder = now;
      fill(note);
      painting += 1;
      masks.value = "";
      fill(strip);
      fill(pager);
      list(0);
      // An easel that is kept still saves to the folder its picture came from.
      if (unsaved && (asking || !(await askOnce()))) return;
      if (open === left) clear();
    });

    async function askOnce() {
      asking = true;
      try {
        return await mayLeave();
      } finally {
        asking = false;
      }
    }
  };
})();
