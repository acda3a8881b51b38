// The log pane: keeps its last lines, draws only those in view, follows the end until one scrolls up.
(() => {
  "use strict";
  const { t, h, fill, copy } = window.KG;
  const LINE = 19;
  const SPARE = 20;

  /** Return {update({first, from, lines, note})} for a pane in `holder`. */
  window.KG.logPane = (holder, { wholeLog }) => {
    let first = 0;
    let lines = [];
    let follow = true;
    let frame = 0;
    const view = h("div.kg-log-lines", { role: "presentation" });
    const space = h("div.kg-log-space", {}, view);
    const pane = h("div.kg-log", { tabindex: "0", role: "log", "aria-live": "off", "aria-label": t("log.title") }, space);
    const note = h("span.kg-quiet.kg-small");
    const followBox = h("input", { type: "checkbox", checked: true, onchange: () => setFollow(followBox.checked) });
    const copyButton = h("button.kg-button.kg-slim", { type: "button", onclick: () => copy(lines.join("\n"), copyButton) }, t("log.copy"));
    fill(holder,
      h("div.kg-row.kg-between", {},
        h("div.kg-row", {}, h("label.kg-check", {}, followBox, t("log.follow")), note),
        h("div.kg-row", {}, copyButton, wholeLog ? h("a.kg-button.kg-slim", { href: wholeLog, target: "_blank", rel: "noopener" }, t("log.whole")) : null)),
      pane);

    function setFollow(on) {
      follow = on;
      followBox.checked = on;
      if (on) pane.scrollTop = pane.scrollHeight;
    }

    function draw() {
      frame = 0;
      space.style.height = `${lines.length * LINE}px`;
      if (follow) pane.scrollTop = lines.length * LINE;
      const from = Math.max(0, Math.floor(pane.scrollTop / LINE) - SPARE);
      const to = Math.min(lines.length, Math.ceil((pane.scrollTop + pane.clientHeight) / LINE) + SPARE);
      view.style.transform = `translateY(${from * LINE}px)`;
      view.textContent = lines.slice(from, to).join("\n");
    }
    function redraw() {
      if (!frame) frame = requestAnimationFrame(draw);
    }
    // Only a person's scrolling stops following; drawing and resizing scroll too.
    let touched = 0;
    for (const name of ["wheel", "touchmove", "pointerdown", "keydown"]) {
      pane.addEventListener(name, () => { touched = Date.now(); }, { passive: true });
    }
    pane.addEventListener("scroll", () => {
      if (Date.now() - touched < 1000) {
        const atEnd = pane.scrollTop + pane.clientHeight >= lines.length * LINE - LINE;
        if (atEnd !== follow) {
          follow = atEnd;
          followBox.checked = atEnd;
        }
      }
      redraw();
    });
    new ResizeObserver(redraw).observe(pane);

    return {
      /** The number of the line to ask for next: the last one may still change. */
      next: () => first + Math.max(0, lines.length - 1),
      update(part) {
        if (part.from < first || part.from > first + lines.length || !lines.length) {
          lines = part.lines;
          first = part.from;
        } else {
          lines.length = part.from - first;
          for (const line of part.lines) lines.push(line);
        }
        // The server keeps so many lines; with more of them here, memory would grow for ever.
        if (part.first > first) {
          lines.splice(0, Math.min(lines.length, part.first - first));
          first = part.first;
        }
        note.textContent = part.note;
        redraw();
      },
    };
  };
})();
