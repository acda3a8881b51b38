// What the tabs “Doctor” and “Prepare” share: fields of a job's options, and a run that is followed.
(() => {
  "use strict";
  const { t, h, fill, every, page, coded } = window.KG;

  /**
   * Fields from the schema; `values()` gives what stands in them. Rare ones are folded away.
   * `browse(start, button)` chooses a path, of the kind that `wants` says.
   */
  function fields(list, prefix, browse, wants = "folder") {
    const inputs = new Map();
    const one = (field) => {
      const id = `${prefix}-${field.name}`;
      let input;
      if (field.kind === "tick") input = h("input", { type: "checkbox", id, checked: Boolean(field.value) });
      else if (field.kind === "choice") input = h("select.kg-input", { id }, field.choices.map(([shown, value]) => h("option", { value, selected: value === field.value }, shown)));
      else input = h("input.kg-input", { type: "text", id, value: String(field.value ?? ""), spellcheck: "false", autocomplete: "off" });
      inputs.set(field.name, input);
      const button = browse && field.path && (field.path === "file") === (wants === "file") ? h("button.kg-button", { type: "button", onclick: async () => {
        const path = await browse(input.value, button);
        if (!path) return;
        input.value = path;
        input.dispatchEvent(new Event("input", { bubbles: true }));
      } }, t("dataset.browse")) : null;
      const label = h("label", { for: id }, field.label);
      return h("div.kg-job-field", {}, field.kind === "tick" ? [input, " ", label] : [label, h("div.kg-row", {}, input, button)],
        h("div.kg-small.kg-faint", {}, coded(`\`${field.name}\` ${field.help}`)));
    };
    const rare = list.filter((field) => !field.basic);
    const node = h("div", {},
      h("div.kg-job-fields", {}, list.filter((field) => field.basic).map(one)),
      rare.length ? h("details", {}, h("summary", {}, t("dataset.more_settings")), h("div.kg-job-fields", {}, rare.map(one))) : null);
    const values = () => Object.fromEntries([...inputs].map(([name, input]) => [name, input.type === "checkbox" ? input.checked : input.value]));
    const typed = new Set();
    node.addEventListener("input", (event) => typed.add(event.target.id));
    /** Fill a field in, unless the user has done so. */
    const suggest = (name, value) => {
      const input = inputs.get(name);
      if (!typed.has(input.id)) input.value = value;
    };
    return { node, values, suggest };
  }

  /** Show mistakes, each with its remedy. */
  function problems(list) {
    return h("div.kg-note.kg-bad", { role: "alert" }, list.map((one) => h("p", {}, one.message, one.hint ? h("span.kg-quiet", {}, ` ${one.hint}`) : null)));
  }

  /** Work that is repeated until it is stopped; `work` is given what tells whether it was. */
  function repeat(milliseconds, work) {
    let over = false;
    const looking = every(milliseconds, () => work(() => over));
    return { stop() { over = true; looking.stop(); } };
  }

  /**
   * Tell in `note` what a queued job waits for until it starts, then `started(run)`; or `gone()`
   * if it was taken out of the queue. `look` and `stop` are asked with `{ queued }`; `drawn()` is told
   * once something stands there.
   */
  function wait(note, queued, { look, stop, started, gone, drawn }) {
    let shown = "";
    return repeat(1000, async (stopped) => {
      const now = await look({ queued });
      if (stopped()) return "stop";
      if (now.run) {
        fill(note);
        started(now.run);
        return "stop";
      }
      if (now.gone) {
        fill(note, h("p.kg-note", { role: "status", "data-ended": "gone" }, now.gone));
        gone();
        return "stop";
      }
      const mark = JSON.stringify(now);
      if (mark === shown || !now.waits) return undefined;
      const first = !shown;
      shown = mark;
      fill(note, h(`div.kg-note${now.problem ? ".kg-bad" : ""}`, { role: "status", "data-queued": queued },
        h("p", {}, now.waits, now.paused ? ` ${t("queue.paused")}` : ""),
        h("div.kg-row", {},
          h("button.kg-button.kg-slim", { type: "button", "aria-label": t("queue.remove_of", { name: now.name }), onclick: () => stop({ queued }) }, t("queue.remove")),
          h("a.kg-small", { href: page("runs") }, t("runs.all")))));
      if (first && drawn) drawn();
      return undefined;
    });
  }

  /** What a run warned of, for people; null if it did not. */
  function warnings(state) {
    return state.num_warnings ? h("details.kg-note.kg-warn", { open: state.num_warnings < 4 },
      h("summary", {}, t("captioning.warnings", { n: state.num_warnings })), h("ul.kg-small", {}, state.warnings.map((one) => h("li", {}, one)))) : null;
  }

  /** Tell in `note` how far a run is until it ends; then `done(state)`. */
  function watch(note, run, look, stop, done) {
    const said = h("p.kg-quiet", { role: "status" });
    const counted = h("span.kg-quiet.kg-small", { "data-counted": "" });
    const progress = window.KG.progressBar(t("run.progress"));
    fill(note, said, progress, h("div.kg-row", {},
      h("button.kg-button", { type: "button", onclick: () => stop({ run }) }, t("dataset.stop")), counted,
      h("a.kg-small", { href: page("runs", { run }) }, t("dataset.log"))));
    return repeat(500, async (stopped) => {
      const state = await look({ run });
      if (stopped()) return "stop";
      if (said.textContent !== (state.detail || "")) said.textContent = state.detail || "";
      counted.textContent = state.total ? `${state.done} / ${state.total}` : "";
      window.KG.setProgress(progress, state.total ? state.done / state.total : null);
      if (state.active) return undefined;
      fill(note, state.problems && state.problems.length ? problems(state.problems)
        : h(`p.kg-note${state.state === "failed" ? ".kg-bad" : ""}`, { role: "status", "data-ended": state.state }, state.detail, state.hint ? ` ${state.hint}` : ""), warnings(state));
      done(state);
      return "stop";
    });
  }

  /** Follow a job that was begun, through the queue if it waits there, until it ends; then `done(state)`. */
  function follow(note, begun, look, stop, done) {
    if (begun.problems) {
      fill(note, problems(begun.problems));
      return { stop() {} };
    }
    if (!begun.queued) return watch(note, begun.run, look, stop, done);
    const started = (run) => {
      at = watch(note, run, look, stop, done);
    };
    let at = wait(note, begun.queued, { look, stop, started, gone: () => done({ state: "gone" }) });
    return { stop: () => at.stop() };
  }

  window.KG.jobs = { fields, problems, warnings, wait, follow };
})();
