// The jobs that wait: put in order by dragging or by buttons, changed, paused, tried again, taken off.
(() => {
  "use strict";
  const { t, h, page } = window.KG;

  /**
   * Return the card of a queue as the server tells it ({jobs, paused}), or null when it is empty.
   * `act(what, more)` asks the server for a change and looks again.
   */
  window.KG.queueCard = (queue, act) => {
    if (!queue || (!queue.jobs.length && !queue.paused)) return null;
    const { jobs, paused } = queue;
    let dragged = null;
    const button = (key, text, label, onclick, more = {}) => h("button.kg-button.kg-slim", { type: "button", "data-key": key, "aria-label": label, onclick, ...more }, text);

    /** On a machine with several graphics cards: which one a job shall have. */
    function devices(job) {
      if (!queue.lanes.length && job.device === "default") return null;
      const known = [...new Set(["default", ...queue.lanes, job.device])].filter((one) => one === "default" || one.startsWith("cuda:"));
      if (!known.includes(job.device)) return null;
      return h("select.kg-input.kg-select", { "data-key": `device-${job.id}`, "aria-label": t("queue.device_of", { name: job.name }), onchange: (event) => act("give", { id: job.id, device: event.currentTarget.value }) },
        known.map((one) => h("option", { value: one, selected: one === job.device }, one === "default" ? t("queue.any_device") : one)));
    }

    function row(job, at) {
      const name = { name: job.name };
      const node = h("li", { "data-waiting": job.id, draggable: jobs.length > 1 ? "true" : null },
        jobs.length > 1 ? h("span.kg-grip", { "aria-hidden": "true", title: t("queue.drag") }, "⠿") : null,
        h("div.kg-grow", {},
          h("strong", {}, job.name), " ", h("span.kg-quiet.kg-small", {}, job.job),
          job.problem ? h("div.kg-note.kg-bad", {}, job.problem) : null),
        h("span.kg-row", {},
          devices(job),
          job.problem ? button(`retry-${job.id}`, t("queue.retry"), t("queue.retry_of", name), () => act("retry", { id: job.id })) : null,
          at ? button(`up-${job.id}`, t("queue.up"), t("queue.up_of", name), () => act("up", { id: job.id })) : null,
          at < jobs.length - 1 ? button(`down-${job.id}`, t("queue.down"), t("queue.down_of", name), () => act("down", { id: job.id })) : null,
          job.page ? h("a.kg-button.kg-slim", { href: page(job.page, { queued: job.id }), "aria-label": t("queue.edit_of", name) }, t("queue.edit")) : null,
          button(`remove-${job.id}`, t("queue.remove"), t("queue.remove_of", name), () => remove(job))));
      node.addEventListener("dragstart", (event) => {
        dragged = job.id;
        event.dataTransfer.effectAllowed = "move";
        event.dataTransfer.setData("text/plain", job.name);
        node.classList.add("kg-dragged");
      });
      node.addEventListener("dragend", () => node.classList.remove("kg-dragged"));
      node.addEventListener("dragover", (event) => {
        if (!dragged || dragged === job.id) return;
        event.preventDefault();
        node.classList.add("kg-drop");
      });
      node.addEventListener("dragleave", () => node.classList.remove("kg-drop"));
      node.addEventListener("drop", (event) => {
        if (!dragged) return;
        event.preventDefault();
        act("move", { id: dragged, position: at + 1 });
      });
      return node;
    }

    async function remove(job) {
      const sure = await window.KG.confirm({ title: t("queue.remove_title", { name: job.name }), text: t("queue.remove_text"), yes: t("queue.remove"), danger: true });
      if (sure) act("remove", { id: job.id });
    }

    return h("section.kg-card", { "data-queue": paused ? "paused" : "open" },
      h("div.kg-row.kg-between", {}, h("h2.kg-h", {}, t("queue.title", { n: jobs.length })),
        button("pause", paused ? t("queue.go_on") : t("queue.pause"), null, () => act(paused ? "go_on" : "pause"))),
      paused ? h("div.kg-note.kg-warn", { role: "status" }, t("queue.paused")) : h("p.kg-quiet.kg-small", {}, queue.lanes.length ? t("queue.lead_cards", { n: queue.lanes.length }) : t("queue.lead")),
      jobs.length ? h("ol.kg-queue", {}, jobs.map(row)) : null);
  };

  /** Fill `holder` anew and leave the keyboard where it was: on the button with the same key, or the next one there is. */
  window.KG.refill = (holder, ...children) => {
    const held = holder.contains(document.activeElement) ? document.activeElement : null;
    const key = held && held.dataset.key;
    const typed = held && "selectionStart" in held ? [held.selectionStart, held.selectionEnd] : null;
    window.KG.fill(holder, ...children);
    if (!key) return;
    const id = key.replace(/^(up|down|retry|remove)-/, "");
    const next = [key, `up-${id}`, `down-${id}`].map((name) => holder.querySelector(`[data-key="${CSS.escape(name)}"]`)).find(Boolean);
    if (!next) return;
    next.focus();
    if (typed && next.setSelectionRange && next.type !== "checkbox") next.setSelectionRange(...typed);
  };
})();
