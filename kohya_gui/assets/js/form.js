// The form of a job: search, tiers, errors at their fields, choosing files, and what is reported live.
(() => {
  "use strict";
  const { t, h, fill, every, copy, page } = window.KG;
  const tiers = ["basic", "advanced", "expert"];

  /** Each kind of job has its own draft: going to another page and back loses nothing. */
  const key = (name) => `${name}-${window.location.pathname.split("/").filter(Boolean).pop() || ""}`;

  /** What the page tells the server when it opens: which draft this tab had, and what its address asks for. */
  window.KG.draftWish = () => {
    const query = new URLSearchParams(window.location.search);
    const own = sessionStorage.getItem(key("kg-draft"));
    const wish = { draft: own, last: localStorage.getItem(key("kg-last-draft")) };
    // A duplicated tab takes the session's memory along: the draft stays with the tab that has it open.
    const taken = own && localStorage.getItem(`kg-open-${own}`);
    if (taken && performance.getEntriesByType("navigation")[0]?.type === "navigate" && Number(taken) > Date.now() - 4000) {
      wish.last = own;
      wish.draft = null;
    }
    if (query.get("from")) {
      wish.from = query.get("from");
      for (const name of ["resume", "fork", "remedy"]) wish[name] = query.get(name);
      window.KG.fieldWish = query.get("goto");
      window.history.replaceState(null, "", window.location.pathname);
    }
    if (query.get("queued")) {
      wish.queued = query.get("queued");
      window.history.replaceState(null, "", window.location.pathname);
    }
    if (query.get("folder")) {
      wish.folder = query.get("folder");
      window.history.replaceState(null, "", window.location.pathname);
    }
    if (query.get("try") === "starter") {
      wish.starter = true;
      window.history.replaceState(null, "", window.location.pathname);
    }
    return JSON.stringify(wish);
  };

  const slots = ["bar", "notice", "filter", "side", "actions"];

  // Gradio mounts components in no order one may rely on: begin when all that is needed is there.
  window.KG.widgets.form = (api) => {
    const facts = JSON.parse(api.props.facts);
    const wanted = [...[...slots, ...facts.slots].map((name) => `[data-slot="${name}"]`), ...Object.keys(facts.options).map((name) => `#opt-${name}`)];
    (function wait() {
      if (wanted.every((selector) => document.querySelector(selector))) begin(api, facts);
      else setTimeout(wait, 15);
    })();
  };

  function begin({ trigger, props, server, watch }, facts) {
    const slot = (name) => document.querySelector(`[data-slot="${name}"]`);
    const block = (name) => document.getElementById(`opt-${name}`);
    const label = (name) => (facts.options[name] ? facts.options[name].label : name);
    let draft = null;
    let report = null;
    let busy = null;
    let queued = null;
    let attempted = false;
    let looking = null;
    let lastSerial = 0;

    const alter = (what, data = {}) => trigger("alter", { what, ...data });
    const act = (what, data = {}) => {
      waitFor(what);
      trigger("act", { what, ...data });
    };

    // ---- fields: Browse, reset, errors ----
    function decorate(name) {
      const node = block(name);
      if (!node || node.querySelector(":scope > .kg-tools")) return;
      const option = facts.options[name];
      const reset = h("button.kg-linkish.kg-small.kg-reset", { type: "button", title: t("form.reset_title"), onclick: () => alter("reset", { option: name }) }, t("form.reset"));
      const browse = option.kind
        ? h("button.kg-button.kg-slim.kg-browse", { type: "button", "aria-label": t("form.browse_for", { label: option.label }), onclick: (event) => choose(name, option, event.currentTarget) }, t("form.browse"))
        : null;
      node.append(h("div.kg-tools", {}, reset, browse), h("div.kg-inert", { hidden: true }), h("div.kg-troubles", { id: `trouble-${name}`, "aria-live": "polite" }));
    }

    async function choose(name, option, button) {
      const input = block(name).querySelector("input, textarea");
      const found = await window.KG.choose({
        kind: option.kind, title: t("chooser.title", { label: option.label }),
        start: input.value, list: server.list_folder, back: button,
      });
      if (found !== null) alter("set", { values: { [name]: found } });
    }

    function goTo(name) {
      const node = name === "sample_prompts" && !block(name)?.querySelector("textarea, input")?.value ? document.getElementById("extra-prompts") : block(name);
      if (!node) return;
      node.classList.add("kg-shown");
      node.scrollIntoView({ block: "center", behavior: "smooth" });
      const input = node.querySelector("input, textarea");
      if (input) setTimeout(() => input.focus({ preventScroll: true }), 250);
    }

    function drawTroubles() {
      const byOption = new Map();
      for (const problem of report.problems) {
        if (problem.missing && !attempted) continue;
        for (const name of problem.options) {
          if (!byOption.has(name)) byOption.set(name, []);
          byOption.get(name).push(problem);
        }
      }
      for (const name of Object.keys(facts.options)) {
        const node = block(name);
        if (!node) continue;
        const found = byOption.get(name) || [];
        const bad = found.some((problem) => problem.severity === "error");
        node.classList.toggle("kg-wrong", bad);
        node.classList.toggle("kg-shown", bad || node.contains(document.activeElement));
        const input = node.querySelector("input, textarea");
        if (input) {
          input.setAttribute("aria-invalid", bad ? "true" : "false");
          input.setAttribute("aria-describedby", `trouble-${name}`);
        }
        const holder = node.querySelector(":scope > .kg-troubles");
        const mark = JSON.stringify(found);
        if (holder && holder.dataset.mark !== mark) {
          holder.dataset.mark = mark;
          fill(holder, found.map((problem) => h(`p.${problem.severity === "error" ? "kg-bad" : "kg-warn"}`, {}, sentence(problem, name))));
        }
        const inert = node.querySelector(":scope > .kg-inert");
        const why = report.inert[name];
        node.classList.toggle("kg-idle", Boolean(why));
        if (inert) {
          inert.hidden = !why;
          inert.textContent = why || "";
        }
      }
      const changed = new Set(report.changed);
      for (const name of Object.keys(facts.options)) block(name)?.classList.toggle("kg-changed", changed.has(name));
    }

    function sentence(problem, name) {
      const others = problem.options.filter((other) => other !== name);
      return [
        problem.message, problem.hint ? ` → ${problem.hint}` : "", fixer(problem),
        others.length ? [" ", t("form.together_with"), " ", others.map((other, i) => [i ? ", " : "", h("button.kg-linkish", { type: "button", onclick: () => goTo(other) }, other)])] : null,
      ];
    }

    /** A button that does what the hint says, where that is to set one option. */
    function fixer(problem) {
      if (!problem.fix) return null;
      const { option, value } = problem.fix;
      return [" ", h("button.kg-button.kg-slim.kg-nowrap", { type: "button", "data-fix": option, onclick: () => alter("set", { values: { [option]: value } }) }, t("form.fix", { option, value }))];
    }

    // ---- the bar: presets, files, and above the groups: search and tiers ----
    const open = h("input", { type: "file", accept: ".toml,.json,.safetensors,text/plain", hidden: true });
    open.addEventListener("change", async () => {
      const file = open.files[0];
      if (!file) return;
      const text = await (/\.safetensors$/i.test(file.name) ? headerOf(file) : file.text());
      bring("open_text", { text, source: file.name }, /^\s*\[?\{/.test(text));
      open.value = "";
    });
    /** The header of a safetensors file, which is all that tells of its settings; the file itself stays here. */
    async function headerOf(file) {
      const start = new DataView(await file.slice(0, 8).arrayBuffer());
      const length = start.byteLength === 8 ? Math.min(Number(start.getBigUint64(0, true)), 1e8) : 0;
      return file.slice(8, 8 + length).text();
    }
    async function openHere(event) {
      const found = await window.KG.choose({ kind: "file", title: t("form.open_here"), start: facts.configs, list: server.list_folder, back: event.currentTarget });
      if (found) bring("open_file", { file: found }, /\.(json|safetensors)$/i.test(found));
    }
    /** Open a job's own file at once; of settings of other programs, first tell what becomes of them. */
    let brought = null;
    function bring(what, data, foreign) {
      brought = { what, data };
      if (foreign) act("import", data);
      else alter(what, data);
    }
    async function clear() {
      const sure = await window.KG.confirm({ title: t("form.clear"), text: t("form.clear_text"), yes: t("form.clear") });
      if (sure) alter("clear");
    }
    let presetsOpen = false;
    /** The presets that are not always in view, by group; those for other models are left out once the model is known. */
    function morePresets(family, card) {
      const more = facts.presets.filter((preset) => preset.group !== "start" && (!family || !preset.families.length || preset.families.includes(family)));
      if (!more.length) return null;
      const titles = { subject: t("form.presets_subject"), memory: t("form.presets_memory"), method: t("form.presets_method") };
      return h("details.kg-more-presets", { open: presetsOpen, ontoggle: (event) => { presetsOpen = event.currentTarget.open; } },
        h("summary", {}, t("form.presets_more", { count: more.length })),
        Object.keys(titles).filter((group) => more.some((preset) => preset.group === group)).map((group) => [
          h("h3.kg-h.kg-small", {}, titles[group]),
          h("div.kg-preset-row", {}, more.filter((preset) => preset.group === group).map(card))]));
    }
    function drawBar() {
      const family = report && report.family.family;
      const best = (preset) => family && preset.families.includes(family);
      const card = (preset) =>
        h(`button.kg-preset${best(preset) ? ".kg-best" : ""}`, { type: "button", "data-preset": preset.id, onclick: () => alter("preset", { preset: preset.id }) },
          h("strong", {}, preset.title), best(preset) ? h("span.kg-tag.kg-good", {}, t("form.fits")) : null,
          h("span.kg-quiet.kg-small", {}, preset.note));
      fill(slot("bar"),
        !facts.presets.length ? null : h("div.kg-card.kg-presets", {},
          h("strong", {}, t("form.presets")),
          h("div.kg-preset-row", {}, facts.presets.filter((preset) => preset.group === "start").map(card)), morePresets(family, card)),
        h("div.kg-row.kg-file-row", {},
          h("button.kg-button.kg-slim", { type: "button", title: t("form.open_upload_title"), onclick: () => open.click() }, t("form.open_upload")),
          h("button.kg-button.kg-slim", { type: "button", onclick: openHere }, t("form.open_here")),
          h("button.kg-button.kg-slim", { type: "button", "data-act": "show", onclick: () => act("show") }, t("form.show")),
          h("button.kg-button.kg-slim", { type: "button", "data-act": "save", onclick: () => act("save") }, t("form.save")),
          h("button.kg-button.kg-slim", { type: "button", onclick: clear }, t("form.clear")), open));
    }

    const search = h("input.kg-input", { type: "search", id: "kg-search", placeholder: t("form.search"), "aria-label": t("form.search"), oninput: () => filter() });
    const onlyChanged = h("input", { type: "checkbox", id: "kg-only-changed", onchange: () => filter() });
    const tierButtons = tiers.map((tier) => h("button.kg-button.kg-slim", { type: "button", "data-tier": tier, onclick: () => setTier(tier) }, t(`form.tier_${tier}`)));
    const count = h("span.kg-quiet.kg-small", { role: "status" });
    let tier = localStorage.getItem("kg-tier") || facts.tier;
    if (!tiers.includes(tier)) tier = "basic";
    function setTier(name) {
      tier = name;
      localStorage.setItem("kg-tier", name);
      filter();
    }
    function drawFilter() {
      fill(slot("filter"),
        h("div.kg-filter", {},
          h("h2.kg-h", {}, t("form.all_settings")),
          h("div.kg-row", {}, h("div.kg-search", {}, search),
            h("div.kg-tiers", { role: "group", "aria-label": t("form.tiers") }, tierButtons),
            h("label.kg-check", {}, onlyChanged, t("form.only_changed")), count)));
    }

    const opened = new Set();
    function filter() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const searching = words.length > 0 || onlyChanged.checked;
      let found = 0;
      for (const button of tierButtons) button.setAttribute("aria-pressed", String(button.dataset.tier === tier));
      const changed = new Set(report ? report.changed : []);
      const hiddenIn = new Map();
      for (const [name, option] of Object.entries(facts.options)) {
        const node = block(name);
        if (!node) continue;
        const group = node.closest(".kg-group");
        const key = group.id.replace(/^group-/, "");
        const text = searching ? `${name} ${option.label} ${option.words} ${node.querySelector(".info-text")?.textContent || ""}`.toLowerCase() : "";
        const inTier = tiers.indexOf(option.tier) <= tiers.indexOf(tier) || opened.has(key) || node.classList.contains("kg-wrong") || group.classList.contains("kg-step");
        const fits = searching ? words.every((word) => text.includes(word)) && (!onlyChanged.checked || changed.has(name)) : inTier;
        node.classList.toggle("kg-hidden", !fits);
        if (fits) found += 1;
        if (!searching && !inTier) hiddenIn.set(key, (hiddenIn.get(key) || 0) + 1);
      }
      const prompts = document.getElementById("extra-prompts");
      const fitting = words.every((word) => t("form.prompts_words").includes(word)) && (!onlyChanged.checked || prompts?.querySelector("textarea").value);
      prompts?.classList.toggle("kg-hidden", searching && !fitting);
      for (const group of document.querySelectorAll(".kg-group")) {
        const some = group.querySelector(".kg-option:not(.kg-hidden)");
        const key = group.id.replace(/^group-/, "");
        const more = group.querySelector("[data-more]");
        const left = hiddenIn.get(key) || 0;
        group.classList.toggle("kg-hidden", !some && (searching || !left));
        for (const part of group.querySelectorAll(".form")) part.classList.toggle("kg-hidden", !part.querySelector(".kg-option:not(.kg-hidden)"));
        if (!more) continue;
        if (left) fill(more, h("button.kg-linkish.kg-small", { type: "button", onclick: () => { opened.add(key); filter(); } }, t("form.more_options", { n: left })));
        else if (opened.has(key) && !searching) fill(more, h("button.kg-linkish.kg-small", { type: "button", onclick: () => { opened.delete(key); filter(); } }, t("form.fewer_options")));
        else fill(more);
      }
      count.textContent = searching ? t("form.found", { n: found }) : "";
    }

    // ---- what was found: model, pictures, steps, side card, buttons ----
    function drawFamily() {
      const family = report.family;
      if (!slot("family")) return;
      fill(slot("family"),
        family.state === "working" ? h("p.kg-quiet", {}, family.text) : null,
        family.state === "done" ? h(`div.kg-note${family.family || family.good ? ".kg-good" : ".kg-bad"}`, { "data-family": family.family || "" },
          family.family ? h("strong", {}, `${t(`family.${family.family}`)} · `) : null, family.text) : null);
    }

    let dataMark = "";
    function drawData() {
      const data = report.data;
      const mark = JSON.stringify(data);
      if (mark === dataMark) return;
      dataMark = mark;
      const holder = slot("data");
      if (data.state === "none" || data.state === "failed") {
        fill(holder);
        return;
      }
      if (data.state === "working") {
        const share = data.total ? data.done / data.total : null;
        fill(holder, h("p.kg-quiet", {}, data.total ? `${data.text} ${data.done} / ${data.total}` : data.text),
          h(`div.kg-progress${share === null ? ".kg-unknown" : ""}`, { role: "progressbar", "aria-label": data.text }, h("div", { style: share === null ? "" : `width:${(share * 100).toFixed(0)}%` })));
        return;
      }
      const most = Math.max(1, ...data.buckets.map((b) => b.count));
      fill(holder,
        h("div.kg-row.kg-between", {}, h("strong", { "data-headline": "" }, data.headline),
          h("button.kg-linkish.kg-small", { type: "button", onclick: again }, t("data.again"))),
        data.folders.length ? h("div.kg-scroll-x", {}, h("table.kg-table", {},
          h("thead", {}, h("tr", {}, ["folder", "images", "repeats", "captions"].map((key) => h("th", { scope: "col" }, t(`data.${key}`))))),
          h("tbody", {}, data.folders.map((folder) => h("tr", {},
            h("td", { title: folder.full }, folder.name, folder.is_reg ? h("span.kg-tag", {}, t("data.reg")) : null, folder.words ? h("div.kg-faint.kg-small", {}, t("data.words", { words: folder.words })) : null),
            h("td", {}, folder.images), h("td", {}, `× ${folder.repeats}`),
            h("td", {}, h(`span.kg-tag.${folder.captions >= folder.images ? "kg-good" : folder.words ? "kg-live" : "kg-warn"}`, {}, `${folder.captions} / ${folder.images}`), " ", h("span.kg-faint.kg-small", {}, folder.extension))))))) : null,
        data.num_missing ? h("details", {}, h("summary", {}, t("data.missing", { n: data.num_missing })), h("p.kg-small.kg-quiet", {}, data.missing.join(", "), data.num_missing > data.missing.length ? " …" : "")) : null,
        data.num_skipped ? h("details", { open: true }, h("summary", {}, t("data.skipped", { n: data.num_skipped })), h("ul.kg-small", {}, data.skipped.map((one) => h("li", {}, `${one.name}: ${one.reason}`)))) : null,
        data.buckets.length ? h("details", { open: data.buckets.length < 9 }, h("summary", {}, t("data.buckets", { n: data.buckets.length + data.more_buckets })),
          h("div.kg-buckets", {}, data.buckets.map((b) => h("div.kg-bucket", { title: t("data.bucket", { w: b.width, h: b.height, n: b.count }) },
            h("span.kg-shape", { style: `aspect-ratio:${b.width}/${b.height};${b.width >= b.height ? "width:26px" : "height:26px"}` }),
            h("span.kg-small", {}, `${b.width} × ${b.height}`),
            h("span.kg-bar", {}, h("i", { style: `width:${(100 * b.count) / most}%` })),
            h("span.kg-small.kg-num", {}, String(b.count)))))) : null,
        data.num_images ? h("p.kg-small.kg-quiet", {}, [
          data.num_enlarged ? t("data.enlarged", { n: data.num_enlarged }) : null,
          data.most_cropped && data.most_cropped.share > 0 ? t("data.cropped", { mean: data.cropped, most: data.most_cropped.share, name: data.most_cropped.name }) : null,
        ].filter(Boolean).join(" ")) : null,
        data.notes.map((note) => h("p.kg-small.kg-quiet", {}, note)));
    }

    async function again() {
      const answer = await server.look_again({ draft });
      if (answer) take(answer);
    }

    function drawSteps() {
      const steps = report.steps;
      if (!slot("steps")) return;
      if (steps.state !== "done") {
        fill(slot("steps"), h("p.kg-quiet.kg-small", {}, t("steps.none")));
        return;
      }
      const odd = steps.views < 40 || steps.views > 300;
      fill(slot("steps"),
        h("p.kg-arithmetic", { "data-steps": steps.total }, steps.text),
        h("p.kg-small.kg-quiet", {}, t("steps.views", { n: steps.views }), " ",
          odd ? h("button.kg-linkish", { type: "button", onclick: () => alter("set", { values: { max_train_epochs: String(steps.wanted_epochs) } }) }, t("steps.suggest", { n: steps.wanted_epochs })) : null));
    }

    function drawSide() {
      const shown = report.problems.filter((problem) => !problem.missing || attempted);
      const errors = shown.filter((problem) => problem.severity === "error");
      const warnings = shown.filter((problem) => problem.severity !== "error");
      const line = (state, name, text, option) => h("li", { "data-check": state },
        h(`span.kg-dot.kg-${state}`, { "aria-hidden": "true" }, { done: "✓", todo: "○", bad: "!", working: "…" }[state]),
        h("span", {}, h("button.kg-linkish", { type: "button", onclick: () => goTo(option) }, name), text ? h("span.kg-quiet.kg-small", {}, ` ${text}`) : null));
      const named = (...names) => errors.some((problem) => problem.options.some((option) => names.includes(option)));
      const data = report.data;
      const state = (done, working, ...names) => (working ? "working" : named(...names) ? "bad" : done ? "done" : "todo");
      fill(slot("side"),
        h("h2.kg-h", {}, t("side.title")),
        h("ul.kg-checklist", {}, report.checklist ? report.checklist.map((row) => line(row.state, row.name, row.text, row.option)) : [
          line(state(report.family.state === "done", report.family.state === "working", "pretrained_model_name_or_path"), t("side.model"), report.family.family ? t(`family.${report.family.family}`) : "", "pretrained_model_name_or_path"),
          line(state(data.state === "done" && data.num_images > 0, data.state === "working", "train_data_dir", "dataset_config"), t("side.pictures"), data.state === "done" ? String(data.num_images) : "", "train_data_dir"),
          line(state(report.changed.includes("output_name"), false, "output_name"), t("side.name"), report.changed.includes("output_name") ? report.name : "", "output_name"),
          line(state(report.steps.state === "done", false, "max_train_epochs", "max_train_steps"), t("side.length"), report.steps.state === "done" ? t("side.steps", { n: report.steps.total }) : "", "max_train_epochs"),
          line(state(report.changed.includes("learning_rate"), false, "learning_rate"), t("side.rate"), "", "learning_rate")]),
        errors.length ? h("div", {}, h("h3.kg-small", {}, t("side.errors", { n: errors.length })), errors.map((problem) => trouble(problem, "kg-bad"))) : null,
        warnings.length ? h("details", { open: warnings.length < 4 }, h("summary.kg-small", {}, t("side.warnings", { n: warnings.length })), warnings.map((problem) => trouble(problem, "kg-warn"))) : null,
        !errors.length && !warnings.length && (report.steps.state === "done" || report.next.key === "start") ? h("p.kg-note.kg-good", {}, t("side.fine")) : null);
    }

    function trouble(problem, tone) {
      return h(`div.kg-note.${tone}.kg-small`, { "data-problem": problem.options.join(",") },
        problem.options.map((name, i) => [i ? ", " : "", h("button.kg-linkish.kg-code", { type: "button", onclick: () => goTo(name), title: label(name) }, name)]),
        problem.options.length ? ": " : "", problem.message, problem.hint ? h("div", {}, `→ ${problem.hint}`) : null, fixer(problem));
    }

    function drawActions() {
      const next = report.next;
      const queues = busy && busy.mode === "queue";
      const refused = busy && busy.mode === "refuse";
      fill(slot("actions"),
        h("div.kg-next", { role: "status" }, h("strong", {}, t("next.title")), " ",
          next.option ? h("button.kg-linkish", { type: "button", onclick: () => goTo(next.option) }, next.text) : next.text,
          busy ? h("div.kg-small.kg-quiet", {}, busy.text, " ", h("a", { href: page("runs", { run: busy.run }) }, t("form.look_at_run"))) : null),
        h("div.kg-row", {},
          h("button.kg-button", { type: "button", "data-act": "check", onclick: () => act("check") }, t("form.check")),
          queued ? h("button.kg-button.kg-primary", { type: "button", "data-act": "requeue", onclick: () => act("requeue") }, t("form.requeue", { name: queued })) : h("button.kg-button.kg-primary", { type: "button", id: "kg-start", "data-act": "start", disabled: Boolean(refused), onclick: () => act("start") }, queues ? t("form.queue") : facts.stays ? t("captioning.start") : t("form.start"))));
      restoreWaiting();
    }

    let waiting = null;
    let patience = 0;
    function waitFor(what) {
      waiting = what;
      clearTimeout(patience);
      // An answer that got lost with the connection must not leave a dead button behind.
      if (what) patience = setTimeout(() => waitFor(null), 20000);
      restoreWaiting();
    }
    function restoreWaiting() {
      for (const button of document.querySelectorAll("[data-act]")) {
        if (button.dataset.act === waiting) {
          button.disabled = true;
          button.setAttribute("aria-busy", "true");
        } else if (button.getAttribute("aria-busy")) {
          button.disabled = false;
          button.removeAttribute("aria-busy");
        }
      }
    }

    function notice(found) {
      const holder = slot("notice");
      if (!found || (!found.text && !found.problems.length)) return;
      fill(holder, h(`div.kg-note.${found.bad ? "kg-bad" : found.problems.length ? "kg-warn" : "kg-good"}`, { role: "status" },
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
        attempted = true;
        drawAll();
        const names = result.problems.flatMap((problem) => problem.options);
        notice({ text: t("form.mend_first", { n: result.problems.length }), problems: result.problems, bad: true });
        slot("notice").scrollIntoView({ block: "nearest" });
        if (names.length) goTo(names[0]);
        return;
      }
      if (result.state === "failed") notice({ text: result.text, problems: [], bad: true });
      if (result.state === "started" && !facts.stays) window.location.assign(page("runs", { run: result.run }));
      if (result.state === "started") document.dispatchEvent(new CustomEvent("kg-started", { detail: result.run }));
      if (result.state === "queued") notice({ text: result.text, problems: [] });
      if (result.state === "requeued") window.location.assign(page("runs"));
      if (result.state === "not_requeued") notice({ text: result.text, problems: [], bad: true });
      if (result.state === "refused") notice({ text: result.text, problems: [], bad: true });
      if (result.state === "shown") showJob(result);
      if (result.state === "exists") replaceConfig(result);
      if (result.state === "saved") savedConfig(result);
      if (result.state === "checking") showCheck(result.check);
      if (result.state === "report") showReport(result);
      if (result.state === "no_report") alter(brought.what, brought.data);
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
      const { what, data } = brought;
      const node = dialog(t("form.import_title", { source: result.source }),
        h("p.kg-quiet", {}, t("form.import_lead")),
        result.refused.length ? h(`div.kg-note.${result.fits ? "kg-warn" : "kg-bad"}`, { "data-refused": "" }, h("strong", {}, t("form.import_refused")), h("ul", {}, result.refused.map((words) => h("li", {}, words)))) : null,
        result.sections.map((section) => h("details", { open: section.fate !== "mapped", "data-fate": section.fate },
          h("summary", {}, `${section.title} (${section.lines.length})`), h("ul.kg-small", {}, section.lines.map((line) => h("li", {}, line))))),
        result.fits ? h("button.kg-button.kg-primary", { type: "button", "data-fill": "", onclick: () => { node.close(); alter(what, data); } }, t("form.import_fill")) : null);
    }

    async function replaceConfig(result) {
      const sure = await window.KG.confirm({ title: t("form.save"), text: t("form.save_exists", { name: result.name }), yes: t("form.save_replace") });
      if (sure) act("save", { name: result.name, replace: true });
    }

    function savedConfig(result) {
      notice({ text: t("form.saved", { file: result.file }), problems: [] });
    }

    function showCheck(check) {
      const text = h("pre.kg-pre", { tabindex: "0" });
      const state = h("p", { role: "status" }, t("check.working"));
      const bar = h("div.kg-progress.kg-unknown", {}, h("div"));
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

    // ---- taking in what the server says ----
    let barFamily = null;
    function drawAll() {
      drawTroubles();
      drawFamily();
      drawData();
      drawSteps();
      drawSide();
      drawActions();
      filter();
      if (barFamily !== (report.family.family || "")) {
        barFamily = report.family.family || "";
        drawBar();
      }
    }

    function take(answer) {
      if (answer.serial < lastSerial) return;
      lastSerial = answer.serial;
      draft = answer.draft;
      sessionStorage.setItem(key("kg-draft"), draft);
      localStorage.setItem(key("kg-last-draft"), draft);
      report = answer.report;
      window.KG.form = { draft, report };
      document.dispatchEvent(new CustomEvent("kg-report"));
      busy = answer.busy;
      queued = answer.queued;
      drawAll();
      if (answer.notice) notice(answer.notice);
      if (answer.opened && window.KG.fieldWish) {
        goTo(window.KG.fieldWish);
        window.KG.fieldWish = null;
      }
      if (answer.result) {
        waitFor(null);
        showResult(answer.result);
      }
      if (report.working && !looking) {
        looking = every(400, async () => {
          const now = await server.look_form({ draft });
          if (now) take(now);
          if (report.working) return undefined;
          looking = null;
          return "stop";
        });
      }
      document.documentElement.dataset.kgReady = "form";
    }

    for (const name of Object.keys(facts.options)) decorate(name);
    drawFilter();
    drawBar();
    filter();
    setInterval(() => draft && localStorage.setItem(`kg-open-${draft}`, String(Date.now())), 2000);
    window.addEventListener("pagehide", () => draft && localStorage.removeItem(`kg-open-${draft}`));
    // The queue and other tabs change what Start does; a slow look keeps the words true.
    every(10000, async () => {
      if (!draft || looking) return;
      const now = await server.look_form({ draft });
      if (now && JSON.stringify(now.busy) !== JSON.stringify(busy)) {
        busy = now.busy;
        drawActions();
      }
    });
    const read = () => {
      if (!props.value) return;
      try {
        take(JSON.parse(props.value));
      } catch (error) {
        console.error("the form's data could not be read", error);
      }
    };
    watch("value", read);
    read();
  }
})();
