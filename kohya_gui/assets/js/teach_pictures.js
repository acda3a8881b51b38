// Guided step “Pictures”: where they are, and at once what the doctor says of each.
(() => {
  "use strict";
  const { t, h, fill, every, file } = window.KG;
  const SHOWN = 120;
  /** Findings that belong to the words, or to folders: they are told where they are asked about. */
  const OTHERS = ["no_caption", "empty_caption", "same_caption", "no_trigger", "too_long", "lonely", "unequal"];
  const OF_WORDS = [...OTHERS, "bad_caption"];

  window.KG.teach.steps.pictures = (card, tools) => {
    const { server, take, ask } = tools;
    const { problems, row } = window.KG.teach;
    const folder = () => tools.project.folder;
    const place = h("div");
    const said = h("div", { "aria-live": "polite" });
    const verdict = h("div");
    const remedies = h("div");
    const tiles = h("ul.kg-teach-tiles");
    const more = h("p.kg-quiet.kg-small");
    const next = h("button.kg-button.kg-primary", { type: "button", id: "kg-teach-next", disabled: true, onclick: () => tools.go("words") }, t("teach.next"));
    let looking = null;
    let following = null;
    let report = null;
    let rows = [];
    let count = 0;
    let examining = false;
    let stopped = false;

    fill(card, h("h2.kg-teach-question", {}, t("teach.pictures_question")), h("p.kg-quiet.kg-why", {}, t("teach.pictures_why")),
      place, said, verdict, remedies, tiles, more,
      h("div.kg-teach-foot", {}, h("button.kg-button", { type: "button", onclick: () => tools.go("goal") }, t("teach.back")), next));

    function drawPlace() {
      const browse = h("button.kg-button", { type: "button", id: "kg-teach-browse", onclick: async () => {
        const path = await window.KG.choose({ kind: "folder", title: t("teach.choose_folder"), start: folder(), list: server.list_folder, back: browse });
        if (path) open(path);
      } }, folder() ? t("teach.other_folder") : t("teach.choose_folder"));
      const pick = window.KG.uploads.picker(t("teach.upload"), send);
      pick.classList.add("kg-primary");
      const zone = h("div.kg-drop-zone", {}, h("p", {}, t("teach.drop")), row(pick, browse),
        h("p.kg-quiet.kg-small", {}, t("teach.drop_why")));
      window.KG.uploads.into(zone, send);
      if (!folder()) fill(place, zone);
      else fill(place, row(h("span.kg-code.kg-clip", { title: folder() }, folder()), browse, tools.project.own && !tools.project.starter ? window.KG.uploads.picker(t("teach.upload_more"), send) : null));
    }

    async function open(path) {
      if (!take(await ask("teach_folder", { folder: path }))) return;
      begin(true);
    }

    /** Copy pictures into the project's own folder. */
    async function send(given) {
      if (!given.files.length && !given.refused.length) return;
      const ask = (piece) => server.teach_upload({ project: tools.project.id, ...piece });
      await window.KG.uploads.send(given, ask, (answer) => answer.project && take(answer), said);
      if (folder()) begin(true);
    }

    // ---- what is in the folder ----
    function begin(again) {
      drawPlace();
      if (looking) looking.stop();
      if (!folder()) return;
      let first = again;
      looking = every(600, async () => {
        const answer = await server.look({ folder: folder(), offset: 0, limit: SHOWN, again: first });
        first = false;
        if (stopped) return "stop";
        if (answer.problem) {
          rows = [];
          fill(tiles);
          fill(verdict, problems(answer));
          next.disabled = true;
          return "stop";
        }
        if (answer.working) {
          fill(verdict, h("p.kg-quiet", { role: "status" }, t("dataset.reading_n", { done: answer.done, total: answer.total })));
          return undefined;
        }
        rows = answer.rows;
        count = answer.count;
        more.textContent = answer.count > rows.length ? t("teach.more_pictures", { n: answer.count - rows.length }) : "";
        draw();
        readReport(again);
        return "stop";
      });
    }

    async function readReport(examine) {
      const answer = await server.doctor_report({ folder: folder() });
      if (stopped) return;
      if (answer.mark) report = answer;
      draw();
      if (answer.mark) drawReport();
      if (!answer.mark || examine) examineNow();
    }

    async function examineNow() {
      if (examining) return;
      examining = true;
      const raw = tools.project.starter ? { resolution: "128", enable_bucket: false } : {};
      const begun = await server.doctor_start({ folder: folder(), raw });
      if (stopped) return;
      const done = async (state) => {
        examining = false;
        // What went wrong stays to be read: begun anew at once, it would go wrong again.
        if (stopped || state.state !== "finished") return;
        fill(said);
        await readAgain();
      };
      if (begun.problems) examining = false;
      following = window.KG.jobs.follow(said, begun, server.doctor_state, server.doctor_stop, done);
    }

    async function readAgain() {
      const answer = await server.look({ folder: folder(), offset: 0, limit: SHOWN });
      if (answer.rows) {
        rows = answer.rows;
        count = answer.count;
      }
      await readReport(false);
    }

    const weightOf = (code) => {
      const found = report && (report.findings || []).find((one) => one.code === code);
      return code === "unreadable" ? "bad" : found ? found.weight : "note";
    };
    const troublesOf = (one) => one.problems.filter(([code]) => !OF_WORDS.includes(code) && weightOf(code) !== "note");
    const toneOf = (one) => {
      const weights = troublesOf(one).map(([code]) => weightOf(code));
      return one.excluded ? "out" : weights.includes("bad") ? "bad" : weights.length ? "warn" : "good";
    };

    function draw() {
      const tones = rows.map(toneOf);
      const number = (tone) => tones.filter((one) => one === tone).length;
      const usable = rows.length - number("out");
      const few = usable < tools.facts.few;
      const unfit = few || 2 * number("bad") > usable;
      fill(verdict, h(`div.kg-note.${unfit ? "kg-warn" : "kg-good"}`, { role: "status", id: "kg-teach-verdict" },
        h("strong", {}, t("teach.usable", { n: usable + Math.max(0, count - rows.length) })), " ",
        ["bad", "warn", "out"].map((tone) => (number(tone) ? `${t(`teach.n_${tone}`, { n: number(tone) })} ` : "")),
        few ? h("p", {}, t("teach.few", { n: tools.facts.few })) : h("p", {}, t(`teach.variety_${tools.project.goal}`))));
      next.disabled = usable < 1;
      fill(tiles, rows.map((one, index) => tile(one, tones[index])));
      pictures(rows.map((one) => one.id));
    }

    const told = (troubles) => troubles.map(([code, detail]) => window.KG.dataset.problemText(code, detail)).join(" · ");

    function tile(one, tone) {
      const troubles = troublesOf(one);
      const mark = { good: "✓", warn: "!", bad: "✕", out: "–" }[tone];
      return h("li", { "data-id": one.id, "data-tone": tone },
        h("div.kg-teach-image"),
        h("div.kg-teach-mark", {}, h("span", { "aria-hidden": "true" }, mark), h("span.kg-small", {}, ` ${t(`teach.tone_${tone}`)}`)),
        troubles.length && tone !== "out" ? h("div.kg-small.kg-quiet.kg-teach-told", { title: told(troubles) }, told(troubles)) : null,
        h("button.kg-linkish.kg-small", { type: "button", "aria-label": `${t(one.excluded ? "dataset.take_in" : "teach.leave_out")}: ${one.name}`, onclick: () => exclude(one) }, one.excluded ? t("dataset.take_in") : t("teach.leave_out")));
    }

    async function pictures(ids) {
      let wanted = ids;
      for (let round = 0; wanted.length && round < 60 && !stopped; round += 1) {
        const answer = await server.small({ folder: folder(), ids: wanted });
        const files = answer.files || {};
        for (const [id, path] of Object.entries(files)) {
          const holder = tiles.querySelector(`[data-id="${id}"] .kg-teach-image`);
          const one = rows.find((other) => other.id === id);
          if (holder && one) fill(holder, path ? h("img", { src: file(path), alt: one.name, loading: "lazy" }) : h("span.kg-faint.kg-small", {}, t("dataset.no_picture")));
        }
        wanted = wanted.filter((id) => !(id in files));
        if (answer.problem) return;
      }
    }

    async function exclude(one) {
      const answer = await server.exclude({ folder: folder(), ids: [one.id], exclude: !one.excluded });
      if (answer.problem) fill(said, problems(answer));
      await readAgain();
    }

    // ---- remedies ----
    function drawReport() {
      const found = (report.findings || []).map((one, number) => [one, number]).filter(([one]) => one.weight !== "note" && !OTHERS.includes(one.code));
      const undo = report.undo ? h("button.kg-button.kg-slim", { type: "button", id: "kg-teach-undo", title: report.undo, onclick: () => turn(false) }, t("dataset.undo")) : null;
      const redo = report.redo ? h("button.kg-button.kg-slim", { type: "button", title: report.redo, onclick: () => turn(true) }, t("dataset.redo")) : null;
      fill(remedies, found.map(([one, number]) => h("div.kg-teach-finding", { "data-finding": one.code, "data-weight": one.weight },
        h("span.kg-doctor-weight", {}, t(`doctor.${one.weight}`)), h("span", {}, ` ${one.verdict} `),
        one.remedies.map((what, index) => (what.kind === "caption" ? null : h("button.kg-button.kg-slim", { type: "button", disabled: what.done, "data-remedy": what.kind, onclick: () => remedy(number, index) }, what.done ? `✓ ${what.label}` : what.label))))),
      row(undo, redo, h("button.kg-button.kg-slim", { type: "button", onclick: examineNow }, t("teach.examine"))),
      h("p.kg-quiet.kg-small", {}, t("teach.remedies_why")));
    }

    async function remedy(finding, index) {
      const answer = await server.doctor_remedy({ folder: folder(), mark: report.mark, finding, remedy: index });
      if (answer.problems) fill(said, problems(answer));
      await readAgain();
    }

    async function turn(again) {
      const answer = await server.doctor_turn({ folder: folder(), redo: again });
      if (answer.problems) fill(said, problems(answer));
      await readAgain();
    }

    begin(false);
    return {
      stop() {
        stopped = true;
        if (looking) looking.stop();
        if (following) following.stop();
      },
    };
  };
})();
