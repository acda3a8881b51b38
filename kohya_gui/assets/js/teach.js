// The guided page: one question a step. What is answered lies on the server; here it is only shown.
(() => {
  "use strict";
  const { t, h, fill, page } = window.KG;
  const steps = {};
  window.KG.teach = { steps, problems, field, row, refill };

  /** Show mistakes, whichever way the server names them. */
  function problems(answer) {
    const list = answer.problems || [{ message: answer.problem, hint: answer.hint }];
    return h("div.kg-note.kg-bad", { role: "alert" }, list.map((one) => h("p", {}, one.message, one.hint ? ` ${one.hint}` : "")));
  }

  /** A labelled control with a line of explanation. */
  function field(label, input, info) {
    const id = input.id || `kg-teach-${Math.random().toString(36).slice(2)}`;
    input.id = id;
    return h("div.kg-teach-field", {}, h("label", { for: id }, label), input, info ? h("p.kg-quiet.kg-small", {}, info) : null);
  }

  function row(...children) {
    return h("div.kg-row", {}, ...children);
  }

  /** Replace what is in a place; who worked in it by keyboard stays in it, at what is chosen or the first button. */
  function refill(place, ...children) {
    const within = place.contains(document.activeElement);
    fill(place, ...children);
    const to = within && (place.querySelector("[aria-checked=true]") || place.querySelector("button:enabled, a"));
    if (to) to.focus();
  }

  window.KG.widgets.teach = ({ element, props, server }) => {
    const holder = element.firstElementChild;
    const facts = JSON.parse(props.facts);
    const note = h("div", { "aria-live": "polite" });
    const body = h("div.kg-teach-body");
    const stepper = h("nav.kg-teach-steps", { "aria-label": t("teach.steps") });
    let project = null;
    let shown = null;
    let drawn = "";
    fill(holder, stepper, note, body);

    const titleOf = (name) => facts.steps.find(([step]) => step === name)[1];

    /** Take over an answer; false if it told of a mistake. */
    function take(answer) {
      if (answer.stale) {
        project = answer.stale;
        draw();
        fill(note, h("div.kg-note.kg-warn", { role: "alert" }, answer.told));
        return false;
      }
      if (answer.problems || answer.problem) {
        fill(note, problems(answer));
        note.scrollIntoView({ block: "nearest" });
        return false;
      }
      if (answer.project) project = answer.project;
      fill(note);
      return true;
    }

    const tools = {
      server, facts, take, note,
      get project() { return project; },
      goal: () => facts.goals.find((one) => one.name === project.goal),
      ask: (name, data = {}) => server[name]({ project: project.id, revision: project.revision, ...data }),
      /** Write answers down; true if that was done. */
      set: async (values) => take(await tools.ask("teach_set", { values })),
      go: async (step) => {
        if (await tools.set({ step })) draw();
      },
      /** Read the project anew, as when the server itself has changed it. */
      refresh: async () => {
        const answer = await server.teach_open({ project: project.id });
        return take(answer);
      },
      draw,
    };

    function drawSteps() {
      const open = project ? project.open : ["goal"];
      const now = project ? project.step : "goal";
      fill(stepper, h("ol", {}, facts.steps.map(([name, title], index) => h("li", {},
        h("button", { type: "button", "data-step": name, disabled: !open.includes(name), "aria-current": name === now ? "step" : null, onclick: () => (project ? tools.go(name) : null) },
          h("span.kg-step-number", { "aria-hidden": "true" }, index + 1), h("span", {}, title))))));
    }

    function draw() {
      if (shown && shown.stop) shown.stop();
      shown = null;
      drawSteps();
      const name = project ? project.step : "goal";
      const moved = drawn && drawn !== name;
      drawn = name;
      document.title = `${titleOf(name)} · ${t("teach.title")}`;
      const card = h("section.kg-card.kg-teach-card", { "data-now": name, "aria-label": titleOf(name) });
      fill(body, card);
      if (name === "goal") goals(card);
      else shown = steps[name](card, tools);
      // A new step is read from its question on; what had the focus is gone.
      const question = card.querySelector("h2");
      question.tabIndex = -1;
      if (moved) question.focus();
      document.documentElement.dataset.kgReady = `teach ${name}`;
    }

    function goals(card) {
      const choose = async (goal) => {
        if (project) {
          if (await tools.set({ goal: goal.name, step: "pictures" })) draw();
          return;
        }
        begin({ goal: goal.name });
      };
      fill(card, h("h2.kg-teach-question", {}, t("teach.goal_question")), h("p.kg-quiet.kg-why", {}, t("teach.goal_why")),
        h("div.kg-teach-goals", {}, facts.goals.map((goal) => h("button.kg-teach-goal", { type: "button", "data-goal": goal.name, "aria-pressed": project && project.goal === goal.name ? "true" : null, onclick: () => choose(goal) },
          h("strong", {}, goal.title), h("span.kg-quiet", {}, goal.why)))));
      if (!project) doors();
    }

    /** What was begun before, and the trial with what ships. */
    async function doors() {
      const more = h("div.kg-teach-more");
      body.append(more);
      const answer = await server.teach_list({});
      const list = answer.projects || [];
      fill(more,
        facts.starter && !list.length ? h("section.kg-card", {}, row(h("button.kg-button", { type: "button", id: "kg-teach-try", onclick: () => begin({ starter: true }) }, t("teach.try")), h("span.kg-quiet", {}, t("teach.try_why")))) : null,
        list.length ? h("section.kg-card", {}, h("h2.kg-h", {}, t("teach.go_on")), h("ul.kg-teach-projects", {}, list.map((one) => h("li", {},
          h("a", { href: page("teach", { project: one.id }) }, one.name || one.goal_title),
          h("span.kg-quiet.kg-small", {}, ` ${one.goal_title} · ${one.step_title} · ${window.KG.moment(one.changed)}`),
          h("button.kg-button.kg-slim", { type: "button", "aria-label": t("teach.forget_of", { name: one.name || one.goal_title }), onclick: () => forget(one) }, t("teach.forget")))))) : null);
    }

    async function forget(one) {
      const sure = await window.KG.confirm({ title: t("teach.forget_title", { name: one.name || one.goal_title }), text: t("teach.forget_text"), yes: t("teach.forget") });
      if (!sure) return;
      take(await server.teach_forget({ project: one.id }));
      draw();
    }

    async function begin(wish) {
      if (!take(await server.teach_begin(wish))) return;
      window.history.replaceState(null, "", page("teach", { project: project.id }));
      draw();
    }

    // Coming back to the tab: somebody may have gone on in another one.
    document.addEventListener("visibilitychange", async () => {
      if (document.hidden || !project) return;
      const before = project.revision;
      const answer = await server.teach_open({ project: project.id });
      if (answer.project && answer.project.revision !== before) {
        project = answer.project;
        draw();
      }
    });

    (async () => {
      const query = new URLSearchParams(window.location.search);
      const id = query.get("project");
      if (id) take(await server.teach_open({ project: id }));
      else if (query.get("try") === "starter") {
        await begin({ starter: true });
        return;
      }
      draw();
    })();
  };
})();

// On the start page: what was begun and not finished; with nothing begun, the trial with what ships.
(() => {
  "use strict";
  const { t, h, fill, page } = window.KG;
  const SHOWN = 3;
  window.KG.widgets.begun = async ({ element, props, server }) => {
    const holder = element.firstElementChild;
    const { starter } = JSON.parse(props.facts);
    const answer = await server.teach_list({});
    const list = (answer.projects || []).filter((one) => !one.picked);
    if (list.length) {
      fill(holder, h("section.kg-card", {}, h("h2.kg-h", {}, t("start.begun")), h("ul.kg-teach-projects", {}, list.slice(0, SHOWN).map((one) => h("li", {},
        h("a", { href: page("teach", { project: one.id }) }, one.name || one.goal_title),
        h("span.kg-quiet.kg-small", {}, `${one.goal_title} · ${one.step_title}`))))));
    } else if (starter && !(answer.projects || []).length) {
      fill(holder, h("section.kg-card", {}, h("h2.kg-h", {}, t("start.try_title")), h("div.kg-row", {},
        h("a.kg-button", { href: page("teach", { try: "starter" }), id: "kg-start-try" }, t("teach.try")), h("span.kg-quiet", {}, t("teach.try_why")),
        h("a", { href: page("lora", { try: "starter" }) }, t("start.try_form")))));
    }
  };
})();
