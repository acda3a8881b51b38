// Beside the grid: one picture with its caption, all tags, and changing many captions at once.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;
  const SAVE_AFTER = 1200;
  const kinds = ["add", "remove", "replace", "find", "prefix", "postfix", "sort", "dedupe"];
  const split = (caption) => caption.split(",").map((one) => one.trim()).filter(Boolean);

  /** What is wrong with a picture, in a few words; `detail` says how much. */
  window.KG.dataset.problemText = (code, detail = "") => t(`dataset.problem_${code}`) + (detail ? `: ${detail}` : "");

  /** Show what changed between two texts: the same beginning and end stay plain. */
  function difference(before, after) {
    let start = 0;
    while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
    let end = 0;
    while (end < before.length - start && end < after.length - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
    const cut = (text) => text.slice(start, text.length - end);
    return h("span.kg-diff", {}, before.slice(0, start), cut(before) ? h("del", {}, cut(before)) : null, cut(after) ? h("ins", {}, cut(after)) : null, before.slice(before.length - end));
  }

  /** One picture: its large copy with the crop, its captions as text and tags, saved by themselves. */
  function makeEditor({ ask, grid, say, changed, steps }) {
    let shown = null;
    let line = 0;
    let timer = 0;
    let saving = null;
    let asked = 0;
    const picture = h("div.kg-closeup");
    const facts = h("div.kg-small.kg-quiet");
    const text = h("textarea.kg-input.kg-caption", { rows: 5, spellcheck: true, "aria-label": t("dataset.caption") });
    const state = h("span.kg-small", { role: "status" });
    const tokens = h("div.kg-small");
    const chips = h("div.kg-chips", { role: "list", "aria-label": t("dataset.tags") });
    const add = h("input.kg-input", { type: "text", list: "kg-known-tags", placeholder: t("dataset.add_tag"), "aria-label": t("dataset.add_tag") });
    const trouble = h("div", { "aria-live": "assertive" });
    const problems = h("div.kg-problems");
    const title = h("strong.kg-picture-name");
    const out = h("button.kg-button.kg-slim", { type: "button", "data-act": "exclude", onclick: exclude });
    const node = h("div.kg-editor", { hidden: true },
      h("div.kg-row.kg-between", {}, title, h("span.kg-row", {},
        h("button.kg-button.kg-slim", { type: "button", title: t("dataset.previous"), "aria-label": t("dataset.previous"), onclick: () => grid.move(-1) }, "‹"),
        h("button.kg-button.kg-slim", { type: "button", title: t("dataset.next"), "aria-label": t("dataset.next"), onclick: () => grid.move(1) }, "›"))),
      picture, facts, problems, trouble,
      h("div.kg-row.kg-between", {}, h("label.kg-h", {}, t("dataset.caption")), state),
      text, tokens, chips, add,
      h("div.kg-row.kg-between", {}, out, h("details.kg-small.kg-keys", {}, h("summary", {}, t("dataset.keys")), h("dl", {}, t("dataset.keys_list").split("\n").map((one) => {
        const [key, what] = one.split(" = ");
        return [h("dt", {}, key), h("dd", {}, what)];
      })))));

    const lines = () => text.value.split("\n").map((one) => one.trim()).filter(Boolean);
    const isChanged = () => shown && !text.readOnly && JSON.stringify(lines()) !== JSON.stringify(shown.texts);

    function drawChips() {
      const all = text.value.split("\n");
      line = Math.min(text.value.slice(0, text.selectionStart).split("\n").length - 1, all.length - 1);
      const tags = split(all[line] || "");
      fill(chips, tags.map((tag, place) => h("span.kg-chip", { role: "listitem" },
        h("span", {}, tag),
        text.readOnly ? null : [
          place ? h("button.kg-chip-x", { type: "button", title: t("dataset.tag_sooner"), "aria-label": `${t("dataset.tag_sooner")}: ${tag}`, onclick: () => setTags(tags.map((one, at) => (at === place - 1 ? tag : at === place ? tags[place - 1] : one))) }, "‹") : null,
          h("button.kg-chip-x", { type: "button", title: t("dataset.tag_remove"), "aria-label": `${t("dataset.tag_remove")}: ${tag}`, onclick: () => setTags(tags.filter((_, at) => at !== place)) }, "×")])));
    }

    function setTags(tags) {
      const all = text.value.split("\n");
      all[line] = tags.join(", ");
      text.value = all.join("\n");
      drawChips();
      edited();
    }

    function edited() {
      state.textContent = isChanged() ? t("dataset.unsaved") : "";
      clearTimeout(timer);
      if (isChanged()) timer = setTimeout(() => flush(), SAVE_AFTER);
    }

    function drawTokens() {
      const limit = window.KG.dataset.known.max_tokens;
      fill(tokens, shown.texts.map((caption, place) => {
        const cut = shown.cuts[place];
        const number = shown.texts.length > 1 ? `${place + 1}. ` : "";
        return h(`p${cut === null ? ".kg-quiet" : ".kg-warn-text"}`, {}, number + t("dataset.tokens_of", { n: shown.token_counts[place], limit }),
          cut === null ? null : [" ", t("dataset.cut_off"), " ", h("del", {}, caption.slice(cut).trim())]);
      }), shown.texts.length > 1 ? h("p.kg-quiet", {}, t("dataset.several", { n: shown.texts.length })) : null);
    }

    function drawPicture() {
      const size = shown.size;
      title.textContent = shown.name;
      title.title = shown.name;
      const box = shown.seen && shown.seen.map((part) => `${(100 * part).toFixed(2)}%`);
      fill(picture, shown.large
        ? h("div.kg-closeup-frame", { style: `aspect-ratio:${size[0]}/${size[1]};width:min(100%, ${Math.round((240 * size[0]) / size[1])}px)` }, h("img", { src: window.KG.file(shown.large), alt: shown.name, draggable: false }),
          box ? h("div.kg-crop", { style: `left:${box[0]};top:${box[1]};width:${box[2]};height:${box[3]}`, title: t("dataset.crop") }) : null)
        : h("p.kg-empty", {}, t("dataset.no_picture")));
      const seen = shown.seen ? Math.round(100 * shown.seen[2] * shown.seen[3]) : null;
      facts.textContent = [
        size ? `${size[0]} × ${size[1]}` : null,
        shown.bucket ? t("dataset.bucket", { size: `${shown.bucket[0]} × ${shown.bucket[1]}` }) : null,
        seen !== null && seen < 100 ? t("dataset.seen", { n: seen }) : null,
        shown.enlarged ? t("dataset.enlarged") : null,
        shown.caption_file,
      ].filter(Boolean).join(" · ");
      out.textContent = shown.excluded ? t("dataset.take_in") : t("dataset.leave_out");
      fill(problems, shown.excluded ? h("p.kg-note.kg-small", {}, shown.why ? t("dataset.is_out_why", { why: shown.why }) : t("dataset.is_out")) : null,
        shown.problems.filter(([code]) => code !== "too_long" && code !== "no_caption").map(([code, what]) => h("p.kg-note.kg-warn.kg-small", {}, window.KG.dataset.problemText(code, what))));
    }

    function drawCaption() {
      text.value = shown.texts.join("\n");
      text.readOnly = Boolean(shown.closed);
      add.disabled = text.readOnly;
      text.placeholder = t("dataset.caption_example");
      fill(trouble, shown.closed ? h("div.kg-note.kg-warn", {}, t("dataset.closed", { why: shown.closed })) : null);
      state.textContent = "";
      drawTokens();
      drawChips();
    }

    async function open(id, large = true) {
      const mine = (asked += 1);
      const leaving = Boolean(shown) && shown.id !== id;
      await flush(false, leaving);
      const answer = await ask("picture", { id, large });
      if (mine !== asked) return;
      if (answer.problem) {
        say(`${answer.problem} ${answer.hint}`, "bad");
        return;
      }
      const same = shown && shown.id === id;
      if (same && isChanged()) {
        // What was typed could not be written, or is being typed: it stays.
        Object.assign(shown, { ...answer, large: large ? answer.large : shown.large, texts: shown.texts, mark: shown.mark });
        drawPicture();
        return;
      }
      shown = { ...answer, large: large ? answer.large : shown && shown.large };
      node.hidden = false;
      drawPicture();
      drawCaption();
      if (!same) node.scrollTop = 0;
    }

    /**
     * Write what was typed, unless nothing was; false if that was refused. Then the editor tells
     * why, or the line above the pictures when the picture is being left.
     */
    async function flush(force = false, leaving = false) {
      clearTimeout(timer);
      while (saving) await saving;
      if (!isChanged() && !force) return true;
      const target = shown;
      const here = () => shown === target && !leaving;
      const texts = lines();
      state.textContent = t("dataset.saving");
      saving = ask("save", { id: target.id, texts, mark: target.mark, force }).catch(() => ({ problem: t("common.no_answer"), hint: "" })).finally(() => { saving = null; });
      const answer = await saving;
      if (answer.problem || (answer.failed && answer.failed.length)) {
        const why = answer.problem ? `${answer.problem} ${answer.hint}` : answer.failed[0].join(" ");
        if (here()) {
          state.textContent = t("dataset.unsaved");
          fill(trouble, h("div.kg-note.kg-bad", { role: "alert" }, t("dataset.not_saved", { why })));
        } else say(t("dataset.not_saved_of", { name: target.name, why, text: texts.join(" / ") }), "bad");
        return false;
      }
      if (answer.changed.length) {
        if (here()) conflict(answer, texts);
        else say(t("dataset.changed_of", { name: target.name, text: texts.join(" / ") }), "warn");
        return false;
      }
      target.mark = answer.mark;
      target.texts = answer.theirs || texts;
      steps(answer.steps);
      if (shown === target) {
        state.textContent = answer.written ? t("dataset.saved") : "";
        fill(trouble);
        refreshNumbers(target);
      }
      changed();
      return true;
    }

    async function refreshNumbers(target) {
      const answer = await ask("picture", { id: target.id });
      if (shown !== target || answer.problem) return;
      Object.assign(shown, { ...answer, large: shown.large, texts: shown.texts, mark: shown.mark });
      if (answer.texts.length === shown.texts.length) drawTokens();
    }

    function conflict(answer, mine) {
      state.textContent = t("dataset.unsaved");
      fill(trouble, h("div.kg-note.kg-warn", { role: "alert" }, h("p", {}, t("dataset.conflict")), h("p", {}, answer.theirs.join(" / ") || "–"),
        h("div.kg-row", {},
          h("button.kg-button.kg-slim", { type: "button", "data-act": "theirs", onclick: () => { shown.texts = lines(); open(shown.id, false); } }, t("dataset.take_theirs")),
          h("button.kg-button.kg-slim", { type: "button", "data-act": "mine", onclick: () => { text.value = mine.join("\n"); flush(true); } }, t("dataset.keep_mine")))));
    }

    async function exclude() {
      const answer = await ask("exclude", { ids: [shown.id], exclude: !shown.excluded });
      if (answer.problem) return say(`${answer.problem} ${answer.hint}`, "bad");
      await open(shown.id, false);
      return changed();
    }

    text.addEventListener("input", () => { drawChips(); edited(); });
    text.addEventListener("blur", () => flush());
    for (const name of ["click", "keyup"]) text.addEventListener(name, drawChips);
    text.addEventListener("keydown", (event) => {
      if (event.key === "Escape") grid.box.focus();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) grid.move(1);
      else if (event.key.toLowerCase() === "s" && (event.ctrlKey || event.metaKey)) flush();
      else return;
      event.preventDefault();
    });
    add.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !add.value.trim()) return;
      event.preventDefault();
      const tags = split(text.value.split("\n")[line] || "");
      setTags([...tags, ...split(add.value).filter((one) => !tags.includes(one))]);
      add.value = "";
    });
    window.addEventListener("beforeunload", (event) => {
      if (!isChanged()) return;
      flush();
      event.preventDefault();
    });

    return {
      node, open, flush,
      edit: () => { if (shown) text.focus(); },
      get shown() { return shown; },
      clear() {
        asked += 1;
        shown = null;
        node.hidden = true;
      },
      /** Take over what somebody else wrote, unless something is being typed here. */
      async watch() {
        if (!shown || isChanged() || saving || document.activeElement === text) return;
        const answer = await ask("picture", { id: shown.id });
        if (answer.problem || !shown || answer.id !== shown.id || answer.mark === shown.mark || isChanged()) return;
        shown = { ...answer, large: shown.large };
        drawPicture();
        drawCaption();
      },
      reload: () => (shown ? open(shown.id, false) : null),
    };
  }

  /** All tags of the pictures that are shown, most frequent first. */
  function makeTags({ ask, want, prepare }) {
    const find = h("input.kg-input", { type: "search", placeholder: t("dataset.find_tag"), "aria-label": t("dataset.find_tag") });
    const list = h("ul.kg-tag-list");
    const note = h("p.kg-quiet.kg-small");
    const known = h("datalist#kg-known-tags");
    const node = h("div", {}, h("p.kg-quiet.kg-small", {}, t("dataset.tags_why")), find, note, list, known);
    let tags = [];
    function draw() {
      const wanted = find.value.trim().toLowerCase();
      const shown = tags.filter(([tag]) => !wanted || tag.toLowerCase().includes(wanted)).slice(0, 200);
      fill(list, shown.map(([tag, n]) => h("li", {},
        h("button.kg-linkish.kg-grow", { type: "button", title: t("dataset.show_with", { tag }), onclick: () => want({ tag, lacks: "" }) }, tag),
        h("span.kg-num.kg-quiet", {}, n),
        h("button.kg-button.kg-slim", { type: "button", title: t("dataset.show_without", { tag }), onclick: () => want({ lacks: tag, tag: "" }) }, t("dataset.without")),
        h("button.kg-button.kg-slim", { type: "button", onclick: () => prepare("replace", { tags: tag }) }, t("dataset.rename")),
        h("button.kg-button.kg-slim", { type: "button", onclick: () => prepare("remove", { tags: tag }) }, t("dataset.remove")))));
    }
    find.addEventListener("input", draw);
    return {
      node,
      async read() {
        const answer = await ask("tags");
        if (answer.problem) return;
        tags = answer.tags;
        note.textContent = t("dataset.tags_count", { n: answer.count });
        fill(known, tags.map(([tag]) => h("option", { value: tag })));
        draw();
      },
    };
  }

  /** Change the captions of all pictures that are shown: described, previewed, written. */
  function makeChange({ ask, say, changed, flush, grid }) {
    const kind = h("select.kg-input", { "aria-label": t("dataset.what"), onchange: draw }, kinds.map((one) => h("option", { value: one }, t(`dataset.change_${one}`))));
    const fields = h("div.kg-change-fields");
    const scope = h("p.kg-small.kg-quiet");
    const preview = h("div", { "aria-live": "polite" });
    const tryIt = h("button.kg-button.kg-primary", { type: "submit" }, t("dataset.try"));
    const node = h("form", { onsubmit: (event) => { event.preventDefault(); show(); } }, h("p.kg-quiet.kg-small", {}, t("dataset.change_why")), kind, fields, scope, tryIt, preview);

    const field = (name, label, placeholder = "") => h("label.kg-small", {}, label, h("input.kg-input", { type: "text", "data-field": name, placeholder, oninput: () => fill(preview) }));
    const tick = (name, label) => h("label.kg-small.kg-tick", {}, h("input", { type: "checkbox", "data-field": name, onchange: () => fill(preview) }), label);
    function draw() {
      fill(preview);
      const tags = (label) => field("tags", label, t("dataset.tags_example"));
      fill(fields, {
        add: () => [tags(t("dataset.f_tags")), tick("in_front", t("dataset.f_in_front"))],
        remove: () => tags(t("dataset.f_tags")),
        replace: () => [tags(t("dataset.f_tags_old")), field("new", t("dataset.f_tags_new"))],
        find: () => [field("find", t("dataset.f_find")), field("replacement", t("dataset.f_replacement")), tick("is_pattern", t("dataset.f_pattern")), tick("match_case", t("dataset.f_case"))],
        prefix: () => field("text", t("dataset.f_prefix"), t("dataset.prefix_example")),
        postfix: () => field("text", t("dataset.f_postfix")),
        sort: () => [h("label.kg-small", {}, t("dataset.f_by"), h("select.kg-input", { "data-field": "by" }, h("option", { value: "name" }, t("dataset.by_name")), h("option", { value: "often" }, t("dataset.by_often")))),
          h("label.kg-small", {}, t("dataset.f_keep"), h("input.kg-input", { type: "number", min: 0, max: 99, value: "1", "data-field": "keep_first" }))],
        dedupe: () => h("p.kg-small.kg-quiet", {}, t("dataset.dedupe_why")),
      }[kind.value]());
    }

    function edit() {
      const data = { kind: kind.value };
      for (const input of fields.querySelectorAll("[data-field]")) {
        data[input.dataset.field] = input.type === "checkbox" ? input.checked : input.type === "number" ? Math.max(0, Math.round(Number(input.value) || 0)) : input.value;
      }
      return data;
    }

    async function show() {
      if (!(await flush())) {
        fill(preview, h("div.kg-note.kg-bad", { role: "alert" }, t("dataset.save_first")));
        return;
      }
      tryIt.disabled = true;
      fill(preview, h("p.kg-quiet", {}, t("dataset.trying")));
      const data = edit();
      const answer = await ask("try_change", { edit: data }).catch(() => ({ problem: t("common.no_answer"), hint: "" }));
      tryIt.disabled = false;
      drawPreview(answer, data);
    }

    function drawPreview(answer, data) {
      if (answer.problem) {
        fill(preview, h("div.kg-note.kg-bad", { role: "alert" }, answer.problem, " ", answer.hint));
        return;
      }
      const closed = answer.num_closed ? h("div.kg-note.kg-warn.kg-small", {}, t("dataset.closed_n", { n: answer.num_closed }), h("ul", {}, answer.closed.slice(0, 5).map(([name, why]) => h("li", {}, `${name}: ${why}`)))) : null;
      if (!answer.count) {
        fill(preview, h("div.kg-note", {}, t("dataset.nothing_changes")), closed);
        return;
      }
      fill(preview,
        answer.stale ? h("div.kg-note.kg-warn", {}, t("dataset.stale")) : null,
        h("p", {}, h("strong", {}, t("dataset.would_change", { n: answer.count })), answer.new_files ? ` ${t("dataset.new_files", { n: answer.new_files })}` : null),
        h("button.kg-button.kg-primary", { type: "button", "data-act": "write", onclick: (event) => write(event.currentTarget, answer.mark, data) }, t("dataset.write", { n: answer.count })),
        closed,
        h("ul.kg-preview", {}, answer.rows.map((row) => h("li", {}, h("span.kg-small.kg-quiet", {}, row.name),
          Array.from({ length: Math.max(row.before.length, row.after.length) }, (_, place) => h("div", {}, difference(row.before[place] || "", row.after[place] || "")))))),
        answer.count > answer.rows.length ? h("p.kg-quiet.kg-small", {}, t("dataset.and_more", { n: answer.count - answer.rows.length })) : null);
    }

    async function write(button, mark, data) {
      button.disabled = true;
      button.textContent = t("dataset.writing");
      const answer = await ask("change", { edit: data, mark, title: t(`dataset.change_${data.kind}`) }).catch(() => ({ problem: t("common.no_answer"), hint: "" }));
      if (answer.problem || answer.stale) {
        drawPreview(answer, data);
        return;
      }
      fill(preview);
      const left = [...answer.changed.map((one) => t("dataset.left_alone", { name: one })), ...answer.failed.map(([one, why]) => `${one}: ${why}`)];
      say(t("dataset.written", { n: answer.written }), left.length ? "warn" : "good", left);
      changed();
    }

    draw();
    return {
      node,
      prepare(what, values) {
        kind.value = what;
        draw();
        for (const [name, value] of Object.entries(values)) fields.querySelector(`[data-field="${name}"]`).value = value;
        const empty = [...fields.querySelectorAll("input[type=text]")].find((one) => !one.value);
        (empty || tryIt).focus();
      },
      listChanged(answer) {
        scope.textContent = answer.count === answer.total ? t("dataset.scope_all", { n: answer.count }) : t("dataset.scope_some", { n: answer.count, total: answer.total });
        tryIt.disabled = !answer.count;
        fill(preview);
      },
      focus: () => grid.count && kind.focus(),
    };
  }

  window.KG.dataset.makeSide = ({ ask, grid, want, say, changed, steps }) => {
    const parts = ["picture", "tags", "change"];
    const hint = h("div.kg-empty.kg-small", {}, t("dataset.choose_picture"));
    const after = async () => { await changed(); await editor.reload(); if (now === "tags") tags.read(); };
    const editor = makeEditor({ ask, grid, say, changed, steps });
    const flush = (leaving = false) => editor.flush(false, leaving);
    const change = makeChange({ ask, say, changed: after, flush, grid });
    const tags = makeTags({ ask, want, prepare });
    const panels = { picture: h("div", {}, hint, editor.node), tags: tags.node, change: change.node };
    const buttons = Object.fromEntries(parts.map((name) => [name, h("button.kg-button.kg-slim", { type: "button", "data-part": name, onclick: () => show(name) }, t(`dataset.part_${name}`))]));
    const node = h("aside.kg-card.kg-dataset-side", { "aria-label": t("dataset.side") },
      h("div.kg-tiers", { role: "group" }, parts.map((name) => buttons[name])), parts.map((name) => panels[name]));
    let now = "picture";

    function show(name) {
      now = name;
      for (const part of parts) {
        panels[part].hidden = part !== name;
        buttons[part].setAttribute("aria-pressed", String(part === name));
      }
      if (name === "tags") tags.read();
    }
    function prepare(what, values) {
      show("change");
      change.prepare(what, values);
    }
    show("picture");

    return {
      node, flush, prepare,
      openPicture(id) {
        if (now !== "picture") show("picture");
        hint.hidden = true;
        editor.open(id);
        // On a narrow screen the editor stands below the pictures.
        if (window.innerWidth <= 900 && !document.activeElement.closest(".kg-tiles, .kg-editor")) node.scrollIntoView({ block: "start", behavior: "smooth" });
      },
      edit() { show("picture"); editor.edit(); },
      clear() {
        editor.clear();
        hint.hidden = false;
        show("picture");
      },
      watch: () => editor.watch(),
      reload: () => editor.reload(),
      listChanged(answer) {
        change.listChanged(answer);
        if (now === "tags" || !node.dataset.tagsRead) {
          node.dataset.tagsRead = "yes";
          tags.read();
        }
      },
    };
  };
})();
