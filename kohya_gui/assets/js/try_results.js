// Pictures that were tried: orders newest first, tables with their axes, a large view with settings.
(() => {
  "use strict";
  const { t, h, fill, every, file, duration } = window.KG;
  const PAGE = 5;
  const name = (path) => path.split(/[\\/]/).pop().replace(/\.(safetensors|ckpt|pt|bin)$/, "");
  const tags = { waiting: "", painting: ".kg-live", done: ".kg-good", failed: ".kg-bad", cancelled: "", unfinished: ".kg-warn" };

  /** Show the orders of the workspace in `holder`; returns { now } to look again at once. */
  window.KG.tryResults = ({ holder, server, base, onPace, use, again }) => {
    let shown = PAGE;
    const marks = new Map();
    const cards = new Map();
    const model = h("div.kg-row.kg-between.kg-try-model", { "data-worker": "" });
    const list = h("div.kg-try-orders");
    const more = h("button.kg-button", { type: "button", hidden: true, onclick: () => { shown += PAGE; lookNow(); } }, t("try.older"));
    fill(holder, model, list, more);

    // Where nothing goes on, only every fourth look asks; another tab may have ordered something.
    let resting = 0;
    let paced = "";
    const looking = every(1000, look);
    const lookNow = () => { resting = 0; looking.now(); };
    async function look() {
      if (resting > 0) { resting -= 1; return undefined; }
      const from = base();
      const now = await server.try_look({ shown, base: from === paced ? "" : from });
      if (from !== paced) onPace(now.pace);
      paced = now.active ? "" : from;
      resting = now.active || now.more_small ? 0 : 3;
      drawModel(now.worker);
      const known = now.orders.map((one) => one.order);
      for (const id of [...cards.keys()].filter((one) => !known.includes(one))) { cards.get(id).remove(); cards.delete(id); marks.delete(id); }
      if (!now.orders.length) fill(list, h("div.kg-empty", { "data-empty": "" }, h("p", {}, t("try.empty")), h("p.kg-small", {}, t("try.empty_why"))));
      else list.querySelector("[data-empty]")?.remove();
      now.orders.forEach((one, place) => {
        const mark = JSON.stringify(one);
        if (marks.get(one.order) !== mark) {
          marks.set(one.order, mark);
          const card = drawOrder(one);
          if (cards.has(one.order)) replace(cards.get(one.order), card);
          cards.set(one.order, card);
        }
        if (list.children[place] !== cards.get(one.order)) list.insertBefore(cards.get(one.order), list.children[place] || null);
      });
      more.hidden = !now.more;
      return now.more_small && now.active ? "again" : undefined;
    }

    /** Put a new card in the place of an old one; the button that has the focus keeps it. */
    function replace(old, card) {
      const at = [...old.querySelectorAll("button")].indexOf(document.activeElement);
      old.replaceWith(card);
      if (at >= 0) card.querySelectorAll("button")[at]?.focus();
    }

    let modelMark = "";
    function drawModel(worker) {
      const mark = JSON.stringify(worker);
      if (mark === modelMark) return;
      modelMark = mark;
      fill(model, h("span.kg-quiet.kg-small", { role: "status" }, !worker ? t("try.model_none") : worker.starting ? t("try.model_starting") : !worker.base ? t("try.model_starting") : worker.busy ? t("try.model_busy", { name: worker.base }) : t("try.model_idle", { name: worker.base })),
        worker ? h("button#try-unload.kg-button.kg-slim", { type: "button", title: t("try.unload_why"), onclick: unload }, t("try.unload")) : null);
      async function unload() {
        const sure = !worker.busy || (await window.KG.confirm({ title: t("try.unload"), text: t("try.unload_busy"), yes: t("try.unload"), danger: true }));
        if (!sure) return;
        await server.try_unload();
        lookNow();
      }
    }

    function drawOrder(asked) {
      const placed = { run: asked.run, order: asked.order };
      const over = !["waiting", "painting"].includes(asked.state);
      const done = asked.pictures.filter((one) => one.painted).length;
      const total = asked.pictures.length;
      const bar = window.KG.progressBar(t("try.progress"), asked.fraction);
      const doing = asked.state === "waiting" ? (asked.before ? t("try.before", { n: asked.before }) : t("try.soon")) : asked.loading ? t("try.loading") : t("try.done_of", { done, total });
      return h("article.kg-card", { "data-order": asked.order, "data-state": asked.state },
        h("div.kg-row.kg-between", {}, h("h2.kg-h.kg-clip", { title: asked.title }, asked.title || t("try.no_title")), h(`span.kg-tag${tags[asked.state]}`, {}, t(`try.state_${asked.state}`))),
        h("p.kg-quiet.kg-small", {}, `${window.KG.moment(asked.created)} · ${asked.base_name} · ${over ? t("try.done_of", { done, total }) : doing}`),
        over ? null : h("div.kg-row", {}, h("div.kg-grow-1", {}, bar), h("button.kg-button.kg-slim", { type: "button", "data-cancel": "", onclick: (e) => { e.currentTarget.disabled = true; server.try_cancel(placed).then(lookNow); } }, t("common.cancel"))),
        asked.problems.length ? h("div.kg-note.kg-bad", { role: "alert" }, h("ul", {}, asked.problems.map((one) => h("li", {}, one.text, one.hint ? ` → ${one.hint}` : "")))) : null,
        over && done < total && asked.state !== "failed" ? h("div.kg-note.kg-warn", {}, h("p", {}, t("try.some_missing", { n: total - done })), h("button.kg-button.kg-slim", { type: "button", "data-rest": "", onclick: () => again(placed, false) }, t("try.paint_rest"))) : null,
        tables(asked));
    }

    function tables(asked) {
      if (!asked.pictures.some((one) => one.painted) && asked.state !== "painting") return null;
      const cell = (one) => tile(asked, one);
      if (!asked.pictures.some((one) => one.row || one.column)) return h("div.kg-try-pictures", {}, asked.pictures.map(cell));
      const groups = [...new Set(asked.pictures.map((one) => one.group))];
      return groups.map((group) => {
        const own = asked.pictures.filter((one) => one.group === group);
        const rows = [...new Set(own.map((one) => one.row))];
        const columns = [...new Set(own.map((one) => one.column))];
        return h("div.kg-scroll-x", {}, h("table.kg-try-table", {}, h("caption", {}, group),
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("try.axes")), columns.map((one) => h("th", { scope: "col" }, one)))),
          h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row), columns.map((column) => {
            const found = own.find((one) => one.row === row && one.column === column);
            return h("td", {}, found ? cell(found) : null);
          }))))));
      });
    }

    const label = (one) => [one.prompt, one.row, one.column && t("try.at_strength", { n: one.column }), t("try.seed_n", { n: one.seed })].filter(Boolean).join(", ");

    function tile(asked, one) {
      if (!one.painted) return h("div.kg-try-tile.kg-try-wait", { style: `aspect-ratio:${one.width}/${one.height}`, role: "img", "aria-label": t("try.not_yet") });
      return h("button.kg-try-tile", { type: "button", "aria-label": label(one), onclick: (event) => enlarge(asked, one, event.currentTarget) },
        h("img", { src: file(one.painted.small || one.painted.file), alt: "", loading: "lazy", style: `aspect-ratio:${one.width}/${one.height}` }));
    }

    function enlarge(asked, first, back) {
      const all = asked.pictures.filter((one) => one.painted);
      let at = all.indexOf(first);
      const body = h("div.kg-dialog-body");
      const foot = h("div.kg-dialog-foot");
      const dialog = h("dialog.kg-dialog.kg-try-large", { "aria-label": t("try.picture") },
        h("div.kg-dialog-head", {}, h("h2", {}, t("try.picture")), h("button.kg-button.kg-slim", { type: "button", onclick: end }, t("try.close"))), body, foot);
      function end() { dialog.close(); dialog.remove(); back.focus(); }
      function turn(by) { at = (at + by + all.length) % all.length; draw(); }
      function draw() {
        const one = all[at];
        const facts = [
          [t("try.prompt"), one.prompt], [t("try.negative"), one.negative_prompt], [t("try.base_label"), asked.base_name],
          [t("try.acting"), one.networks.map((net) => `${name(net.path)}: ${net.strength}`).join(", ")],
          [t("try.words_used"), one.words.map((word) => word.word || name(word.path)).join(", ")],
          [t("try.size"), `${one.width} × ${one.height}`], [t("try.seed"), one.seed], [t("try.steps"), one.sample_steps], [t("try.scale"), one.scale], [t("try.sampler"), one.sample_sampler],
          [t("try.took"), one.painted.seconds ? duration(Math.max(1, one.painted.seconds)) : ""],
        ];
        fill(body, h("div.kg-try-view", {}, h("img", { src: file(one.painted.file), alt: label(one) }),
          h("dl.kg-try-facts", {}, facts.filter(([, value]) => value !== "").map(([key, value]) => [h("dt", {}, key), h("dd", {}, String(value))]))));
        fill(foot,
          all.length > 1 ? [h("button.kg-button", { type: "button", onclick: () => turn(-1) }, t("try.previous")), h("button.kg-button", { type: "button", onclick: () => turn(1) }, t("try.next"))] : null,
          h("a.kg-button", { href: file(one.painted.file), download: one.painted.file.split(/[\\/]/).pop() }, t("try.download")),
          h("button.kg-button.kg-primary", { type: "button", "data-use": "", onclick: () => { end(); use(asked, one); } }, t("try.use")));
      }
      dialog.addEventListener("cancel", (event) => { event.preventDefault(); end(); });
      dialog.addEventListener("keydown", (event) => {
        if (event.key === "ArrowLeft") turn(-1);
        if (event.key === "ArrowRight") turn(1);
      });
      draw();
      document.body.append(dialog);
      dialog.showModal();
    }

    return { now: lookNow };
  };
})();
