// The page that tries prompts: what is painted with which model and networks, filled in and ordered.
(() => {
  "use strict";
  const { t, h, fill, duration } = window.KG;
  const KEY = "kg-try-form";
  const DEFAULTS = { base: { path: "" }, prompts: "", negative: "", width: 512, height: 512, steps: 25, scale: 7, sampler: "euler_a", seed: 42, keep: true, pictures: 1, networks: [], compare: false, files: [], chosen: [], strengths: "0, 0.5, 0.8, 1", origin: "" };

  const load = () => {
    try {
      return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) || "{}") };
    } catch {
      return { ...DEFAULTS };
    }
  };
  const stem = (path) => path.split(/[\\/]/).pop().replace(/\.(safetensors|ckpt|pt|bin)$/, "");
  const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
  const numbers = (text) => text.split(/[\s,;]+/).filter(Boolean).map(Number);

  window.KG.widgets.try_it = ({ element, server }) => {
    const state = load();
    let sources = { bases: [], runs: [], samplers: [], most_strength: 3 };
    let facts = null; // of the base
    let pace = null;
    const told = new Map(); // what network files say, by path

    const save = () => localStorage.setItem(KEY, JSON.stringify(state));
    const change = (more) => { Object.assign(state, more); save(); count(); };

    // ---- pieces of the form ----
    const field = (label, control, why) => h("label.kg-try-field", {}, h("span.kg-try-label", {}, label), control, why ? h("span.kg-quiet.kg-small", {}, why) : null);
    const number = (name, id, low, high, step) => h(`input#${id}.kg-input`, { type: "number", min: String(low), max: String(high), step: String(step), oninput: (e) => change({ [name]: e.target.valueAsNumber }) });
    const area = (name, id, rows) => h(`textarea#${id}.kg-input`, { rows: String(rows), spellcheck: "false", oninput: (e) => change({ [name]: e.target.value }) });

    const base = h("select#try-base.kg-input", { onchange: (e) => useBase({ path: e.target.value }) });
    const badge = h("span.kg-small", { role: "status", "data-base": "" });
    const networks = h("div.kg-try-networks", { "data-networks": "" });
    const add = h("select#try-add.kg-input", { "aria-label": t("try.add_from_run"), onchange: (e) => { const path = e.target.value; e.target.value = ""; if (path) addNetwork(path); } });
    const prompts = area("prompts", "try-prompts", 4);
    const negative = area("negative", "try-negative", 2);
    const size = h("select#try-size.kg-input", { onchange: (e) => { const [width, height] = e.target.value.split("x").map(Number); change({ width, height }); fillIn(); } });
    const width = number("width", "try-width", 64, 4096, 8);
    const height = number("height", "try-height", 64, 4096, 8);
    const steps = number("steps", "try-steps", 1, 200, 1);
    const scale = number("scale", "try-scale", 0, 50, 0.5);
    const seed = number("seed", "try-seed", 0, 4294967295, 1);
    const pictures = number("pictures", "try-pictures", 1, 64, 1);
    const sampler = h("select#try-sampler.kg-input", { onchange: (e) => change({ sampler: e.target.value }) });
    const keep = h("input#try-keep", { type: "checkbox", onchange: (e) => change({ keep: e.target.checked }) });
    const compare = h("input#try-compare", { type: "checkbox", onchange: (e) => { change({ compare: e.target.checked }); drawGrid(); drawNetworks(); } });
    const strengths = h("input#try-strengths.kg-input", { type: "text", inputmode: "decimal", oninput: (e) => change({ strengths: e.target.value }) });
    const grid = h("div.kg-try-grid-fields");
    const counted = h("p.kg-quiet", { role: "status", "data-count": "" });
    const problems = h("div", { role: "alert" });
    const paint = h("button#try-paint.kg-button.kg-primary", { type: "button", onclick: () => order(false) }, t("try.paint"));
    const dice = h("button#try-dice.kg-button.kg-slim", { type: "button", title: t("try.dice_why"), onclick: roll }, t("try.dice"));

    const form = h("section.kg-card.kg-try-form", { "aria-label": t("try.form") },
      h("h2.kg-h", {}, t("try.base")),
      field(t("try.base_label"), base),
      h("div.kg-row", {}, badge, h("button#try-choose-base.kg-button.kg-slim", { type: "button", onclick: chooseBase }, t("try.choose_file"))),
      h("h2.kg-h", {}, t("try.networks")),
      h("p.kg-quiet.kg-small", {}, t("try.networks_why")),
      networks,
      h("div.kg-row", {}, add, h("button#try-choose-network.kg-button.kg-slim", { type: "button", onclick: chooseNetwork }, t("try.choose_file"))),
      h("h2.kg-h", {}, t("try.words")),
      field(t("try.prompts"), prompts, t("try.prompts_why")),
      field(t("try.negative"), negative, t("try.negative_why")),
      h("div.kg-try-numbers", {},
        field(t("try.size"), size), field(t("try.width"), width), field(t("try.height"), height),
        field(t("try.steps"), steps), field(t("try.scale"), scale), field(t("try.sampler"), sampler),
        field(t("try.seed"), seed), field(t("try.pictures"), pictures)),
      h("p.kg-quiet.kg-small", {}, t("try.numbers_why")),
      h("div.kg-row", {}, dice, h("label.kg-row", {}, keep, t("try.keep"))),
      h("label.kg-row.kg-try-compare", {}, compare, h("strong", {}, t("try.compare"))),
      h("p.kg-quiet.kg-small", {}, t("try.compare_why")),
      grid, counted, problems,
      h("div.kg-row", {}, paint));
    const results = h("section.kg-try-results", { "aria-label": t("try.results") });
    fill(element.firstElementChild,
      h("h1.kg-page-title", {}, t("try.title")),
      h("p.kg-lead", {}, t("try.lead")),
      h("div.kg-try", {}, form, results));

    const shown = window.KG.tryResults({
      holder: results, server,
      base: () => state.base.path,
      onPace: (value) => { if (value !== pace) { pace = value; count(); } },
      use: useSettings,
      again: (placed, beside) => placeOrder((more) => server.try_rest({ ...placed, beside: more ? "yes" : "" }), beside),
    });

    // ---- drawing ----
    function fillIn() {
      for (const [node, name] of [[prompts, "prompts"], [negative, "negative"], [width, "width"], [height, "height"], [steps, "steps"], [scale, "scale"], [seed, "seed"], [pictures, "pictures"], [strengths, "strengths"]]) {
        const value = state[name];
        node.value = value === null || Number.isNaN(value) ? "" : String(value);
      }
      keep.checked = state.keep;
      compare.checked = state.compare;
      const sizes = facts ? facts.sizes : [[512, 512]];
      const own = `${state.width}x${state.height}`;
      const offered = sizes.map(([w, hh]) => `${w}x${hh}`);
      fill(size, [...new Set([...offered, own])].map((one) => h("option", { value: one, selected: one === own }, one.replace("x", " × "))));
      fill(sampler, sources.samplers.map((name) => h("option", { value: name, selected: name === state.sampler }, name)));
      drawBases();
      drawNetworks();
      drawGrid();
      count();
    }

    function drawBases() {
      const known = sources.bases.some((one) => one.path === state.base.path);
      fill(base, h("option", { value: "", disabled: true, selected: !state.base.path }, t("try.choose_base")),
        known || !state.base.path ? null : h("option", { value: state.base.path, selected: true }, stem(state.base.path)),
        sources.bases.map((one) => h("option", { value: one.path, selected: one.path === state.base.path, title: one.path }, one.name)));
    }

    function drawNetworks() {
      fill(add, h("option", { value: "" }, sources.runs.length ? t("try.add_from_run") : t("try.no_runs")),
        sources.runs.map((run) => h("optgroup", { label: run.name }, [...run.files].reverse().map((one) => h("option", { value: one.path }, one.name)))));
      add.disabled = !sources.runs.length;
      fill(networks, state.networks.map((one, place) => networkRow(one, place)));
    }

    function networkRow(one, place) {
      const known = told.get(one.path);
      const isWord = one.kind === "word";
      const id = `try-strength-${place}`;
      const slider = h("input", { type: "range", id, min: "0", max: "1.5", step: "0.05", value: String(one.strength), "aria-label": t("try.strength_of", { name: stem(one.path) }), oninput: (e) => set(e.target.valueAsNumber, slider) });
      const exact = h("input.kg-input.kg-try-exact", { type: "number", min: String(-sources.most_strength), max: String(sources.most_strength), step: "0.05", value: String(one.strength), "aria-label": t("try.strength_of", { name: stem(one.path) }), oninput: (e) => set(e.target.valueAsNumber, exact) });
      function set(value, from) {
        if (Number.isNaN(value)) return;
        one.strength = value;
        for (const node of [slider, exact]) if (node !== from) node.value = String(value);
        change({});
      }
      const other = known && known.family && facts && known.family !== facts.family;
      return h("div.kg-try-network", { "data-network": one.path },
        h("div.kg-row.kg-between", {}, h("strong.kg-clip", { title: one.path }, stem(one.path)),
          h("button.kg-button.kg-slim", { type: "button", "aria-label": t("try.remove_named", { name: stem(one.path) }), onclick: () => { state.networks.splice(place, 1); change({}); drawNetworks(); } }, t("try.remove"))),
        isWord
          ? field(t("try.word"), h("input.kg-input", { type: "text", value: one.word || stem(one.path), oninput: (e) => { one.word = e.target.value.trim(); change({}); } }), t("try.word_why"))
          : isCompared(one) ? h("p.kg-small.kg-quiet", {}, t("try.is_compared")) : h("div.kg-row.kg-try-strength", {}, h("span.kg-small", {}, t("try.strength")), slider, exact),
        known && known.problem ? h("p.kg-note.kg-bad.kg-small", {}, known.problem) : null,
        other ? h("p.kg-note.kg-warn.kg-small", {}, t("try.other_family", { title: known.title, base: facts.title || facts.family })) : null,
        known && known.chips && known.chips.length ? h("div.kg-try-chips", { role: "group", "aria-label": t("try.chips") }, known.chips.map(([word, times]) =>
          h("button.kg-tag", { type: "button", title: times ? t("try.chip_times", { n: times }) : t("try.chip"), onclick: () => addWord(word) }, word))) : null);
    }

    function drawGrid() {
      fill(grid);
      if (!state.compare) return;
      if (!state.files.length) {
        append(h("p.kg-empty", {}, t("try.no_files")));
      } else {
        append(h("fieldset.kg-try-files", {}, h("legend", {}, t("try.files")), state.files.map((path) => h("label.kg-row", {},
          h("input", { type: "checkbox", value: path, checked: state.chosen.includes(path), onchange: (e) => { change({ chosen: state.files.filter((one) => (one === path ? e.target.checked : state.chosen.includes(one))) }); drawNetworks(); } }), stem(path)))));
      }
      append(h("div.kg-row", {},
        h("select.kg-input", { "aria-label": t("try.files_of_run"), id: "try-files-of", disabled: !sources.runs.length, onchange: (e) => filesOf(e.target.value) },
          h("option", { value: "" }, sources.runs.length ? t("try.files_of_run") : t("try.no_runs")), sources.runs.map((run) => h("option", { value: run.run }, `${run.name} (${run.files.length})`))),
        h("button.kg-button.kg-slim", { type: "button", onclick: async () => { const path = await choose(t("try.add_file")); if (path) { change({ files: [...new Set([...state.files, path])], chosen: [...new Set([...state.chosen, path])] }); drawGrid(); drawNetworks(); } } }, t("try.choose_file"))));
      append(field(t("try.strengths"), strengths, t("try.strengths_why")));
      function append(node) { grid.append(node); }
    }

    function filesOf(id) {
      const run = sources.runs.find((one) => one.run === id);
      if (!run) return;
      const paths = run.files.map((one) => one.path);
      change({ files: paths, chosen: paths.slice(-4) });
      drawGrid();
      drawNetworks();
    }

    /** Whether a file is one of those in the table: it does not act on every picture then. */
    const isCompared = (one) => state.compare && state.files.includes(one.path) && state.chosen.includes(one.path);

    // ---- counting ----
    function wish() {
      const chosen = state.files.filter((path) => state.chosen.includes(path));
      return {
        base: state.base,
        prompts: lines(state.prompts), negative: lines(state.negative).join(" "),
        width: state.width, height: state.height, steps: state.steps, scale: state.scale, sampler: state.sampler,
        seed: state.seed, pictures: state.pictures,
        networks: state.networks.filter((one) => one.kind !== "word" && !isCompared(one)).map(({ path, strength }) => ({ path, strength })),
        words: state.networks.filter((one) => one.kind === "word").map(({ path, word }) => ({ path, word: word || "" })),
        grid: state.compare ? { files: chosen, strengths: numbers(state.strengths) } : null,
        origin: state.origin,
      };
    }

    function count() {
      const now = wish();
      const cells = now.grid ? now.grid.files.length * now.grid.strengths.length : 1;
      const total = cells * now.prompts.length * (now.pictures || 0);
      let missing = "";
      if (!state.base.path) missing = t("try.need_base");
      else if (!now.prompts.length) missing = t("try.need_prompt");
      else if (now.grid && !now.grid.files.length) missing = t("try.need_files");
      else if (now.grid && !now.grid.strengths.length) missing = t("try.need_strengths");
      paint.disabled = Boolean(missing);
      if (missing) { fill(counted, missing); return; }
      const work = (now.scale > 1 ? 2 : 1) * now.steps * now.width * now.height / 1e6;
      const text = now.grid
        ? t("try.count_grid", { files: now.grid.files.length, strengths: now.grid.strengths.length, prompts: now.prompts.length, seeds: now.pictures, total })
        : total === 1 ? t("try.count_one") : t("try.count", { total });
      fill(counted, text, " ", pace ? t("try.about", { time: duration(Math.max(1, total * work * pace)) }) : t("try.no_pace"));
    }

    // ---- doing ----
    async function useBase(chosen, keepSettings = false) {
      const path = chosen.path;
      change({ base: chosen });
      fill(badge, t("try.reading"));
      const answer = await server.try_base({ path });
      if (state.base.path !== path) return;
      if (answer.problems) {
        facts = null;
        fill(badge, h("span.kg-bad-text", {}, answer.problems.join(" ")));
        return;
      }
      facts = answer;
      state.base = { ...chosen, path: answer.path };
      fill(badge, h("span.kg-tag.kg-good", {}, facts.starter ? t("try.starter_badge") : facts.title));
      if (!keepSettings) Object.assign(state, { width: facts.sizes[0][0], height: facts.sizes[0][1], steps: facts.steps, scale: facts.scale, sampler: facts.sampler });
      save();
      fillIn();
    }

    const choose = (title) => window.KG.choose({ kind: "file", title, start: "", list: server.list_folder });
    async function chooseBase() {
      const path = await window.KG.choose({ kind: "file_or_folder", title: t("try.base_label"), start: state.base.path, list: server.list_folder });
      if (path) useBase({ path });
    }
    async function chooseNetwork() {
      const path = await choose(t("try.add_file"));
      if (path) addNetwork(path);
    }

    async function tell(path) {
      const answer = await server.try_network({ path });
      const chips = answer.problems ? [] : [...(answer.trigger ? [[answer.trigger, 0]] : []), ...answer.words.filter(([word]) => word !== answer.trigger)];
      told.set(path, answer.problems ? { problem: answer.problems.join(" ") } : { ...answer, chips });
      return told.get(path);
    }

    async function addNetwork(path) {
      const found = await tell(path);
      if (!state.networks.some((one) => one.path === path)) state.networks.push({ path, strength: 1, kind: found.kind || "network", word: "" });
      change({});
      drawNetworks();
    }

    function addWord(word) {
      const written = lines(prompts.value);
      const added = written.length ? written.map((line) => (line.includes(word) ? line : `${line}, ${word}`)) : [word];
      prompts.value = added.join("\n");
      change({ prompts: prompts.value });
      prompts.focus();
    }

    function roll() {
      change({ seed: crypto.getRandomValues(new Uint32Array(1))[0] });
      seed.value = String(state.seed);
    }

    async function order(beside) {
      if (!state.keep && !beside) roll();
      placeOrder((more) => server.try_start({ wish: wish(), beside: more }), beside);
    }

    /** Order; what stands in the way is asked about once. */
    async function placeOrder(ask, beside) {
      paint.disabled = true;
      fill(problems);
      let answer;
      try {
        answer = await ask(beside);
      } catch {
        answer = { problems: [t("common.no_answer")] };
      }
      count();
      if (answer.busy) {
        const sure = await window.KG.confirm({ title: t("try.busy_title"), text: answer.busy, yes: t("try.all_the_same") });
        if (sure) placeOrder(ask, true);
      } else if (answer.problems) {
        fill(problems, answer.problems.map((one) => h("p.kg-note.kg-bad", {}, one)));
      } else shown.now();
    }

    /** Take over what one picture was painted with. */
    function useSettings(asked, picture) {
      Object.assign(state, {
        prompts: picture.prompt, negative: picture.negative_prompt, width: picture.width, height: picture.height, steps: picture.sample_steps,
        scale: picture.scale, sampler: picture.sample_sampler.replace(/^k_/, ""), seed: picture.seed, keep: true, pictures: 1, compare: false,
        networks: [...picture.networks.map((one) => ({ path: one.path, strength: one.strength, kind: "network", word: "" })), ...picture.words.map((one) => ({ path: one.path, strength: 1, kind: "word", word: one.word }))],
      });
      save();
      Promise.all(state.networks.map((one) => tell(one.path))).then(drawNetworks);
      useBase(asked.base, true);
      prompts.focus();
      form.scrollIntoView({ block: "start" });
    }

    async function openRun(id, file) {
      const run = await server.try_run({ run: id });
      if (run.problems) {
        fill(problems, run.problems.map((one) => h("p.kg-note.kg-bad", {}, one)));
        return;
      }
      const paths = run.files.map((one) => one.path);
      const last = paths.includes(file) ? file : paths.at(-1);
      Object.assign(state, { origin: run.run, files: run.whole ? [] : paths, chosen: run.whole ? [] : paths.slice(-4), compare: false, networks: [] });
      const base = run.whole && last ? { path: last } : run.base;
      await useBase(base);
      for (const name of ["width", "height", "steps", "scale", "seed"]) if (run[name] !== null && run[name] !== undefined) state[name] = run[name];
      if (run.sampler) state.sampler = run.sampler;
      if (run.prompts.length) Object.assign(state, { prompts: run.prompts.join("\n"), negative: run.negative });
      save();
      if (last && !run.whole) await addNetwork(last);
      fillIn();
    }

    (async () => {
      sources = await server.try_sources();
      fillIn();
      const asked = new URLSearchParams(window.location.search);
      if (asked.get("run")) await openRun(asked.get("run"), asked.get("file"));
      else {
        await Promise.all(state.networks.map((one) => tell(one.path)));
        if (!state.base.path && sources.bases.length) await useBase({ path: sources.bases[0].path });
        else if (state.base.path) await useBase(state.base, true);
      }
      fillIn();
      document.documentElement.dataset.kgReady = "try";
    })();
  };
})();
