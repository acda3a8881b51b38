// The tab “Pictures and captions”: what stands above the grid, which pictures are wanted, undo.
(() => {
  "use strict";
  const { t, h, fill, every, page, progressBar } = window.KG;
  const NO_WISH = { text: "", tag: "", lacks: "", problem: "", folder_in: null, state: "" };

  window.KG.widgets.dataset_pictures = ({ element, props, server }) => {
    const holder = element.firstElementChild;
    const facts = JSON.parse(props.facts);
    const wish = { ...NO_WISH };
    let folder = "";
    let known = null;
    let turn = 0;
    let scanning = null;

    const ask = (what, data = {}) => server[what]({ folder, ...wish, ...data });
    const grid = window.KG.dataset.makeGrid({
      fetchRows: (offset, limit) => ask("look", { offset, limit }).then((answer) => (answer.rows ? answer : null)),
      fetchSmall: (ids) => ask("small", { ids }).then((answer) => answer.files || {}),
      onChoose: (row) => side.openPicture(row.id),
    });

    const count = h("strong", { "aria-live": "polite" });
    const filters = h("span.kg-row");
    const notice = h("div", { "aria-live": "polite" });
    const notes = h("div");
    const find = h("input.kg-input", { type: "search", placeholder: t("dataset.find"), "aria-label": t("dataset.find") });
    const problems = h("select.kg-input", { "aria-label": t("dataset.problem"), onchange: (event) => want(event.target.value === ":excluded" ? { problem: "", state: "excluded" } : { problem: event.target.value, state: "" }) });
    const folders = h("select.kg-input", { "aria-label": t("dataset.inside"), hidden: true, onchange: (event) => want({ folder_in: event.target.value === "*" ? null : event.target.value }) });
    const undo = h("button.kg-button.kg-slim", { type: "button", "data-act": "undo", onclick: () => step(true) });
    const redo = h("button.kg-button.kg-slim", { type: "button", "data-act": "redo", onclick: () => step(false) });
    const look = h("details.kg-look");
    const main = h("div.kg-dataset-main", { hidden: true });
    const progress = h("div");
    const side = window.KG.dataset.makeSide({ ask, grid, want, wish, say, changed: () => refresh({ facts: true }), steps: showSteps });

    fill(main,
      h("section.kg-card.kg-dataset-bar", {},
        h("div.kg-dataset-filter", {}, find, problems, folders, look, count, filters, h("span.kg-grow"), h("span.kg-row", {}, undo, redo)),
        notice, notes),
      h("div.kg-dataset-split", {}, grid.box, side.node));
    fill(holder, progress, main);

    function say(text, tone = "good", list = []) {
      fill(notice, text ? h(`div.kg-note.kg-${tone}`, { role: "status" }, text,
        list.length ? h("ul", {}, list.slice(0, 12).map((one) => h("li", {}, one))) : null) : null);
    }

    function showSteps(steps) {
      if (!steps) return;
      undo.disabled = !steps.undo;
      redo.disabled = !steps.redo;
      undo.textContent = `↶ ${t("dataset.undo")}`;
      redo.textContent = `↷ ${t("dataset.redo")}`;
      undo.title = steps.undo ? `${steps.undo} (Ctrl+Z)` : t("dataset.nothing_to_undo");
      redo.title = steps.redo ? `${steps.redo} (Ctrl+Y)` : "";
    }

    function want(changes) {
      Object.assign(wish, changes);
      if ("text" in changes) find.value = changes.text;
      problems.value = wish.state ? `:${wish.state}` : wish.problem;
      refresh({ top: true });
    }

    /** Show the pictures of a problem; words to be put in front of their captions are filled in. */
    window.KG.dataset.showCaptions = async (wanted, prefix) => {
      Object.assign(wish, NO_WISH, wanted);
      find.value = "";
      await refresh({ top: true, facts: true });
      if (prefix) side.prepare("prefix", { text: prefix });
    };

    function drawFilters() {
      const chip = (text, key, empty) => h("span.kg-chip.kg-on", {}, text, h("button.kg-chip-x", { type: "button", "aria-label": t("dataset.drop_filter", { what: text }), onclick: () => want({ [key]: empty }) }, "×"));
      fill(filters,
        wish.tag ? chip(t("dataset.has_tag", { tag: wish.tag }), "tag", "") : null,
        wish.lacks ? chip(t("dataset.lacks_tag", { tag: wish.lacks }), "lacks", "") : null,
        wish.state ? chip(t(`dataset.state_${wish.state}`), "state", "") : null,
        wish.text || wish.tag || wish.lacks || wish.problem || wish.state || wish.folder_in !== null
          ? h("button.kg-linkish.kg-small", { type: "button", onclick: () => want(NO_WISH) }, t("dataset.show_all")) : null);
    }

    function choice(label, name, values, chosen, text) {
      return h("label.kg-small", {}, label, h("select.kg-input", { "data-setting": name, onchange: async (event) => {
        const raw = event.target.value;
        const answer = await ask("settings", { [name]: name === "ending" ? raw : Number(raw) });
        if (answer.problem) say(`${answer.problem} ${answer.hint}`, "bad");
        refresh({ facts: true });
      } }, values.map((value) => h("option", { value, selected: value === chosen }, text(value)))));
    }

    function drawFacts() {
      const option = (value, text, chosen) => h("option", { value, selected: value === chosen }, text);
      fill(problems, option("", t("dataset.all_pictures"), wish.problem),
        Object.entries(known.problems).map(([code, n]) => option(code, `${window.KG.dataset.problemText(code)} (${n})`, wish.problem)),
        option(":excluded", t("dataset.state_excluded"), wish.state ? ":excluded" : ""));
      folders.hidden = known.folders.length < 2;
      fill(folders, option("*", t("dataset.all_folders"), wish.folder_in === null ? "*" : ""),
        known.folders.map((one) => option(one, one || t("dataset.folder_itself"), wish.folder_in)));
      const source = Object.fromEntries(known.endings.map((one) => [one.ending, one.text]));
      const others = known.endings.filter((one) => one.ending !== known.ending && one.count);
      const elsewhere = others.map((one) => `${one.text}: ${one.count}`).join(" · ");
      fill(notes, [...known.notes, ...(elsewhere ? [t("dataset.other_ending", { others: elsewhere, chosen: source[known.ending] })] : [])]
        .map((note) => h("p.kg-note.kg-small", {}, note)),
      known.problems.no_caption ? h("p.kg-note.kg-small", {}, t("dataset.without_n", { n: known.problems.no_caption }), " ", h("a", { href: page("captioning", { folder }), "data-let-write": "" }, t("dataset.let_write"))) : null);
      fill(look, h("summary.kg-button.kg-slim", {}, t("dataset.view")),
        h("div.kg-look-body", {},
          choice(t("dataset.resolution"), "resolution", facts.resolutions, known.resolution, (n) => `${n} × ${n}`),
          choice(t("dataset.max_tokens"), "max_tokens", facts.token_limits, known.max_tokens, (n) => t("dataset.tokens_n", { n })),
          choice(t("dataset.ending"), "ending", Object.keys(source), known.ending, (one) => source[one]),
          h("button.kg-button.kg-slim", { type: "button", onclick: () => { grid.forgetSmall(); refresh({ facts: true, again: true }); } }, t("dataset.read_again")),
          h("button.kg-button.kg-slim", { type: "button", "data-act": "forget", onclick: forgetSteps }, t("dataset.forget_steps"))));
    }

    /** Throw away what undo keeps, once it is told how much that is and the user is sure. */
    async function forgetSteps() {
      const kept = await ask("forget_steps");
      if (kept.problem) return say(`${kept.problem} ${kept.hint}`, "bad");
      if (!kept.count) return say(t("dataset.nothing_kept"));
      const sure = await window.KG.confirm({ title: t("dataset.forget_steps"), text: t("dataset.forget_text", { n: kept.count, size: window.KG.bytes(kept.bytes) }), yes: t("dataset.forget_yes"), danger: true });
      if (!sure) return undefined;
      const answer = await ask("forget_steps", { sure: true });
      if (answer.problem) return say(`${answer.problem} ${answer.hint}`, "bad");
      showSteps(answer.steps);
      return say(t("dataset.forgotten", { n: answer.count, size: window.KG.bytes(answer.bytes) }));
    }

    /** Ask for the pictures that are wanted now, waiting while the folder is read. */
    async function refresh({ facts: withFacts = false, again = false, top = false } = {}) {
      const mine = (turn += 1);
      let first = true;
      for (;;) {
        let answer;
        try {
          answer = await ask("look", { offset: top || !known ? 0 : Math.floor(grid.inSight()[0] / grid.chunk) * grid.chunk, limit: grid.chunk, facts: withFacts || !known, again: again && first });
        } catch {
          answer = { problem: t("common.no_answer"), hint: "" };
        }
        first = false;
        if (mine !== turn) return;
        if (answer.working) {
          const told = answer.total ? t("dataset.reading_n", { done: answer.done, total: answer.total }) : t("dataset.reading");
          fill(progress, h("section.kg-card", { role: "status" }, h("p", {}, told), progressBar(t("dataset.reading"), answer.total ? answer.done / answer.total : null)));
          await new Promise((go) => setTimeout(go, 250));
          if (mine !== turn) return;
          continue;
        }
        fill(progress, answer.problem ? h("div.kg-note.kg-bad", { role: "alert" }, answer.problem, " ", answer.hint) : null);
        if (answer.problem) return;
        main.hidden = false;
        if (answer.facts) {
          known = answer.facts;
          window.KG.dataset.known = known;
          drawFacts();
        }
        grid.reset(answer, !top);
        fill(count, answer.count === answer.total ? t("dataset.count", { n: answer.total }) : t("dataset.count_of", { n: answer.count, total: answer.total }));
        drawFilters();
        showSteps(answer.steps);
        side.listChanged(answer);
        return;
      }
    }

    async function step(back) {
      if (!(await side.flush())) return say(t("dataset.save_first"), "bad");
      const answer = await ask("turn", { back });
      if (answer.problem) return say(`${answer.problem} ${answer.hint}`, "bad");
      showSteps(answer.steps);
      if (answer.title === null) return undefined;
      const left = [...answer.changed.map((one) => t("dataset.left_alone", { name: one })), ...answer.failed.map(([one, why]) => `${one}: ${why}`)];
      const facts = { what: answer.title, n: answer.restored };
      say(back ? t("dataset.undone", facts) : t("dataset.redone", facts), left.length ? "warn" : "good", left);
      await refresh({ facts: true });
      return side.reload();
    }

    let typing = 0;
    find.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => want({ text: find.value }), 250);
    });
    document.addEventListener("keydown", (event) => {
      if (!element.isConnected || main.hidden || document.querySelector("dialog[open]")) return;
      const writes = event.target.closest && event.target.closest("input, textarea, select");
      if ((event.ctrlKey || event.metaKey) && !writes && ["z", "y"].includes(event.key.toLowerCase())) {
        event.preventDefault();
        step(event.key.toLowerCase() === "z" && !event.shiftKey);
      } else if (event.altKey && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
        event.preventDefault();
        grid.move(event.key === "ArrowRight" ? 1 : -1);
      } else if (event.key === "/" && !writes) {
        event.preventDefault();
        find.focus();
      }
    });
    grid.box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        side.edit();
      }
    });

    // What taggers, editors and other people write meanwhile appears by itself.
    scanning = every(5000, async () => {
      if (!folder || !known || main.hidden || !element.isConnected) return;
      const mine = turn;
      const [first, last] = grid.inSight();
      const answer = await ask("look", { offset: first, limit: Math.max(1, last - first) });
      if (mine !== turn || !answer.rows) return;
      grid.take(answer);
      showSteps(answer.steps);
      await side.watch();
    });

    window.KG.dataset.onFolder(async (chosen) => {
      say("");
      // The next folder may be one that can't be shown: what was lost is told above it.
      if (!(await side.flush(true))) holder.prepend(notice);
      folder = chosen;
      known = null;
      turn += 1;
      main.hidden = true;
      Object.assign(wish, NO_WISH);
      find.value = "";
      side.clear();
      grid.forgetSmall();
      fill(progress);
      if (chosen) {
        await refresh({ top: true });
        scanning.now();
      }
    });
  };
})();
