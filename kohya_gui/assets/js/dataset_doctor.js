// The doctor: findings in sentences with their pictures, and remedies that can be taken back.
(() => {
  "use strict";
  const { t, h, fill, file } = window.KG;
  const SHOWN = 12;

  window.KG.widgets.dataset_doctor = ({ element, props, server }) => {
    const holder = element.firstElementChild;
    const form = window.KG.jobs.fields(JSON.parse(props.facts).fields, "kg-doctor");
    const note = h("div", { "aria-live": "polite" });
    const findings = h("div", { id: "kg-doctor-findings" });
    const undo = h("button.kg-button", { type: "button", id: "kg-doctor-undo", disabled: true, onclick: () => turn(false) }, t("dataset.undo"));
    const redo = h("button.kg-button", { type: "button", disabled: true, onclick: () => turn(true) }, t("dataset.redo"));
    const go = h("button.kg-button.kg-primary", { type: "button", id: "kg-doctor-start", onclick: start }, t("doctor.start"));
    const whole = new Set();
    let following = null;
    let reading = 0;
    let mark = "";
    let alike = [];
    fill(holder, h("section.kg-card", {}, h("p.kg-quiet", {}, t("doctor.lead")), form.node, h("div.kg-row", {}, go, undo, redo), note), findings);

    const folder = () => window.KG.dataset.folder;

    async function start() {
      const mine = await window.KG.dataset.wanted(note, go);
      if (!mine) return;
      go.disabled = true;
      if (following) following.stop();
      const begun = await server.doctor_start({ folder: mine, raw: form.values() });
      if (mine !== folder()) return;
      // Until it has ended, waiting or at work, a second one would do the same again.
      go.disabled = !begun.problems;
      following = window.KG.jobs.follow(note, begun, server.doctor_state, server.doctor_stop, () => {
        go.disabled = false;
        read();
      });
    }

    async function turn(again) {
      const mine = folder();
      tell(mine, await server.doctor_turn({ folder: mine, redo: again }));
    }

    async function remedy(request) {
      const mine = folder();
      tell(mine, await server.doctor_remedy({ folder: mine, mark, ...request }));
    }

    function tell(mine, answer) {
      if (mine !== folder()) return;
      if (answer.problems) fill(note, window.KG.jobs.problems(answer.problems));
      read();
    }

    async function read() {
      const mine = folder();
      const turn = (reading += 1);
      if (!mine) {
        fill(findings);
        return;
      }
      const answer = await server.doctor_report({ folder: mine });
      if (turn !== reading || mine !== folder()) return;
      mark = answer.mark || "";
      alike = answer.findings || [];
      undo.disabled = !answer.undo;
      undo.title = answer.undo || "";
      redo.disabled = !answer.redo;
      redo.title = answer.redo || "";
      if (answer.problems) fill(findings, window.KG.jobs.problems(answer.problems));
      else if (!answer.verdict) fill(findings, h("p.kg-quiet", {}, t("doctor.none")));
      else fill(findings, h("p.kg-doctor-verdict", {}, h("strong", {}, answer.verdict), answer.complete ? null : ` ${t("doctor.incomplete")}`), answer.findings.map(card));
    }

    function card(one, number) {
      const order = one.groups.length ? one.groups.flat() : one.pictures.map((_, index) => index);
      const shown = whole.has(one.code) ? order : order.slice(0, SHOWN);
      const pictures = h("ul.kg-doctor-pictures", {}, shown.map((index) => tile(one, number, index)));
      small(number, shown, pictures);
      return h("section.kg-card.kg-doctor-finding", { "data-finding": one.code, "data-weight": one.weight },
        h("h3.kg-h", {}, h("span.kg-doctor-weight", {}, t(`doctor.${one.weight}`)), " ", one.verdict),
        one.details.length ? h("ul.kg-small", {}, one.details.map((line) => h("li", {}, line))) : null,
        h("div.kg-row", {}, one.remedies.map((what, index) => button(one, what, number, index))),
        pictures,
        shown.length < order.length ? h("button.kg-linkish", { type: "button", onclick: () => { whole.add(one.code); read(); } }, t("doctor.all", { n: order.length })) : null);
    }

    function button(one, what, number, index) {
      if (what.kind === "caption") return h("button.kg-button", { type: "button", onclick: () => toCaptions(one, what), "data-remedy": what.kind }, what.label);
      return h("button.kg-button", { type: "button", disabled: what.done, "data-remedy": what.kind, onclick: () => remedy({ finding: number, remedy: index }) }, what.done ? `✓ ${what.label}` : what.label);
    }

    /** Show a finding's captions; words to be put in front stand in the change, which is previewed. */
    function toCaptions(one, what) {
      const tab = document.querySelector("#kg-dataset-tabs button[role=tab]");
      if (tab) tab.click();
      const folders = new Set(one.pictures.map((picture) => picture.name.split("/").slice(0, -1).join("/")));
      const several = alike.filter((other) => other.code === one.code).length > 1;
      const [inside] = folders.size === 1 ? folders : [null];
      // Two findings of one kind want different words, so these words must not meet the other's pictures.
      const prefix = several && inside === null ? "" : what.prefix;
      // What is only good to know is about all pictures and no problem one can choose.
      window.KG.dataset.showCaptions({ problem: one.weight === "note" ? "" : one.code, folder_in: several ? inside : null }, prefix);
    }

    function tile(one, number, index) {
      const picture = one.pictures[index];
      const single = one.remedies.findIndex((what) => (what.kind === "exclude" || what.kind === "crop") && what.pictures.includes(index));
      const exclude = one.remedies.findIndex((what) => what.kind === "exclude");
      const state = picture.excluded ? t("doctor.excluded") : picture.cropped ? t("doctor.cropped") : "";
      return h("li", { "data-picture": String(index), class: picture.excluded ? "kg-doctor-out" : "" },
        h("div.kg-doctor-image"),
        h("div.kg-small.kg-clip", { title: picture.name }, picture.name),
        h("div.kg-small.kg-faint", {}, picture.detail, state ? ` ${state}` : ""),
        exclude >= 0 && !picture.excluded ? h("button.kg-linkish.kg-small", { type: "button", onclick: () => remedy({ finding: number, remedy: exclude, picture: index }) }, t("doctor.exclude_one"))
          : single >= 0 && !picture.excluded && !picture.cropped ? h("button.kg-linkish.kg-small", { type: "button", onclick: () => remedy({ finding: number, remedy: single, picture: index }) }, one.remedies[single].label) : null);
    }

    async function small(number, wanted, list) {
      const answer = await server.doctor_small({ folder: folder(), mark, finding: number, pictures: wanted });
      for (const [index, path] of Object.entries(answer.files || {})) {
        const place = list.querySelector(`[data-picture="${index}"] .kg-doctor-image`);
        if (place) fill(place, h("img", { src: file(path), alt: "", loading: "lazy" }));
      }
      if (answer.later && answer.later.length && list.isConnected) small(number, answer.later, list);
    }

    window.KG.dataset.onFolder(() => {
      if (following) following.stop();
      go.disabled = false;
      whole.clear();
      form.suggest("caption_extension", window.KG.dataset.ending);
      fill(note);
      fill(findings);
      read();
    });
  };
})();
