// The easel a mask is painted on, with the mouse, a finger, or the keyboard alone.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;
  const MOST_STEPS = 20;
  const WIDEST = 50;
  const THINNEST = 2;
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const EDGES = { Home: ["x", 0], End: ["x", 1], PageUp: ["y", 0], PageDown: ["y", 1] };

  /**
   * Return { tools, board, help, spoken, data, strokes }: the nodes, the painted PNG (base64), and how often it was changed.
   * `mask` is an image of grey values, `source` the address of the picture below (or null); `onChange` is called after each change.
   */
  window.KG.maskEasel = ({ name, mask, source, onChange }) => {
    const width = mask.naturalWidth;
    const height = mask.naturalHeight;
    const longest = Math.max(width, height);
    // The mask as it will be saved: grey values in a canvas of its own.
    const plate = h("canvas", { width, height });
    const ink = plate.getContext("2d", { willReadFrequently: true });
    ink.drawImage(mask, 0, 0);
    // What one sees: the picture under a shade that the mask thins out.
    const shade = h("canvas.kg-mask-shade", { width, height, role: "application", tabindex: "0", "aria-label": t("masks.canvas", { name }), "aria-describedby": "kg-mask-keys" });
    const view = shade.getContext("2d");
    const ring = h("div.kg-mask-ring", { hidden: true, "aria-hidden": "true" });
    const frame = h("div.kg-mask-frame", { hidden: true, "aria-hidden": "true" });
    const spoken = h("p.kg-small.kg-quiet", { role: "status", "data-mask-spoken": "" });
    const size = h("input", { type: "range", min: String(THINNEST), max: String(WIDEST), value: "12", "aria-label": t("masks.size"), oninput: place });
    const steps = [];
    const at = { x: width / 2, y: height / 2 };
    let strokes = 0;
    let learns = false;
    let last = null;
    let down = false;
    let corner = null;

    function draw() {
      const values = ink.getImageData(0, 0, width, height);
      const shown = view.createImageData(width, height);
      for (let i = 0; i < values.data.length; i += 4) {
        shown.data[i] = 120;
        shown.data[i + 2] = 60;
        shown.data[i + 3] = 0.75 * (255 - values.data[i]);
      }
      view.putImageData(shown, 0, 0);
    }
    function changed() {
      strokes += 1;
      onChange();
    }
    function keep() {
      steps.push(ink.getImageData(0, 0, width, height));
      if (steps.length > MOST_STEPS) steps.shift();
      changed();
    }
    const colour = () => (learns ? "#fff" : "#000");
    const brushWidth = () => (Number(size.value) / 100) * longest;
    function stroke(x, y) {
      ink.strokeStyle = colour();
      ink.lineWidth = brushWidth();
      ink.lineCap = "round";
      ink.beginPath();
      ink.moveTo(...(last || [x, y]));
      ink.lineTo(x, y + 0.01);
      ink.stroke();
      last = [x, y];
      draw();
    }
    function paintBox(left, top, right, bottom, filling) {
      ink.fillStyle = filling;
      ink.fillRect(left, top, right - left, bottom - top);
      draw();
    }
    function fillAll(filling) {
      lift();
      keep();
      paintBox(0, 0, width, height, filling);
    }
    function invert() {
      lift();
      keep();
      ink.globalCompositeOperation = "difference";
      paintBox(0, 0, width, height, "#fff");
      ink.globalCompositeOperation = "source-over";
    }
    function back() {
      lift();
      if (!steps.length) return false;
      ink.putImageData(steps.pop(), 0, 0);
      changed();
      draw();
      return true;
    }
    function choose(value) {
      learns = value;
      for (const one of tools.querySelectorAll("[data-brush]")) one.setAttribute("aria-pressed", String((one.dataset.brush === "learn") === learns));
    }

    // ---- the mouse or a finger ----
    function pointed(event) {
      const box = shade.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
    }
    shade.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      shade.setPointerCapture(event.pointerId);
      lift();
      ring.hidden = true;
      keep();
      stroke(...pointed(event));
    });
    shade.addEventListener("pointermove", (event) => { if (last && event.buttons && !down) stroke(...pointed(event)); });
    shade.addEventListener("pointerup", () => { if (!down) last = null; });

    // ---- the keyboard ----
    const percent = (part, whole) => Math.round((100 * part) / whole);
    const brushName = () => t(learns ? "masks.learn" : "masks.leave");
    function say(...words) {
      fill(spoken, words.join(" "));
    }
    function sayPlace(...words) {
      const value = ink.getImageData(Math.min(width - 1, Math.floor(at.x)), Math.min(height - 1, Math.floor(at.y)), 1, 1).data[0];
      say(t("masks.at", { x: percent(at.x, width), y: percent(at.y, height), n: percent(value, 255) }), ...words);
    }
    /** Put ring and frame where the brush is. */
    function place() {
      ring.style.left = `${(100 * at.x) / width}%`;
      ring.style.top = `${(100 * at.y) / height}%`;
      ring.style.width = `${(100 * brushWidth()) / width}%`;
      ring.classList.toggle("kg-down", down);
      frame.hidden = !corner;
      if (!corner) return;
      frame.style.left = `${(100 * Math.min(at.x, corner.x)) / width}%`;
      frame.style.top = `${(100 * Math.min(at.y, corner.y)) / height}%`;
      frame.style.width = `${(100 * Math.abs(at.x - corner.x)) / width}%`;
      frame.style.height = `${(100 * Math.abs(at.y - corner.y)) / height}%`;
    }
    function lift() {
      down = false;
      last = null;
      corner = null;
      place();
    }
    function go(x, y) {
      at.x = Math.min(width, Math.max(0, x));
      at.y = Math.min(height, Math.max(0, y));
      if (down) {
        stroke(at.x, at.y);
        changed();
      }
      sayPlace();
    }
    function dot() {
      if (!down) {
        keep();
        last = null;
      }
      stroke(at.x, at.y);
      if (!down) last = null;
      sayPlace();
    }
    function hold() {
      const begins = !down;
      lift();
      if (begins) {
        down = true;
        keep();
        stroke(at.x, at.y);
      }
      sayPlace(begins ? t("masks.brush_down", { brush: brushName() }) : t("masks.brush_up"));
    }
    function box() {
      if (!corner) {
        lift();
        corner = { ...at };
        sayPlace(t("masks.box_begun"));
        return;
      }
      const [left, right] = [Math.min(at.x, corner.x), Math.max(at.x, corner.x)];
      const [top, bottom] = [Math.min(at.y, corner.y), Math.max(at.y, corner.y)];
      corner = null;
      keep();
      paintBox(left, top, right, bottom, colour());
      sayPlace(t("masks.box_filled", { brush: brushName() }));
    }
    function resize(change) {
      size.value = String(Number(size.value) + change);
      sayBrush();
    }
    const sayBrush = () => say(t("masks.brush_is", { brush: brushName(), n: size.value }));
    const KEYS = {
      " ": dot,
      Enter: hold,
      r: box,
      x: () => {
        choose(!learns);
        sayBrush();
      },
      "+": () => resize(2),
      "=": () => resize(2),
      "-": () => resize(-2),
      Escape: () => {
        lift();
        sayPlace(t("masks.brush_up"));
      },
    };
    function typed(event) {
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (event.altKey) return;
      if (event.ctrlKey || event.metaKey) {
        if (key !== "z") return;
        sayPlace(back() ? t("masks.went_back") : t("masks.no_step_back"));
      } else if (MOVES[key]) {
        const by = longest * (event.shiftKey ? 0.002 : 0.02);
        go(at.x + MOVES[key][0] * by, at.y + MOVES[key][1] * by);
      } else if (EDGES[key]) {
        const [axis, end] = EDGES[key];
        go(axis === "x" ? end * width : at.x, axis === "y" ? end * height : at.y);
      } else if (KEYS[key]) KEYS[key]();
      else return;
      event.preventDefault();
      ring.hidden = false;
      place();
    }
    shade.addEventListener("keydown", typed);
    shade.addEventListener("focus", () => {
      if (!shade.matches(":focus-visible")) return;
      ring.hidden = false;
      place();
      sayPlace();
    });
    shade.addEventListener("blur", () => {
      lift();
      ring.hidden = true;
    });

    const brush = (value, words) => h("button.kg-button.kg-slim", { type: "button", "data-brush": words, "aria-pressed": String(value === learns), onclick: () => choose(value) }, t(`masks.${words}`));
    const act = (words, work) => h("button.kg-button.kg-slim", { type: "button", "data-mask-act": words, onclick: work }, t(`masks.${words}`));
    const tools = h("div.kg-row", {}, h("span.kg-tiers", { role: "group" }, brush(true, "learn"), brush(false, "leave")), h("label.kg-row.kg-small", {}, t("masks.size"), size),
      act("all_in", () => fillAll("#fff")), act("all_out", () => fillAll("#000")), act("invert", invert), act("back", back));
    const board = h("div.kg-easel", { style: `aspect-ratio:${width}/${height};max-width:calc(75vh * ${width} / ${height})` }, source ? h("img", { src: source, alt: name }) : null, shade, frame, ring);
    const help = h("details.kg-mask-help", {}, h("summary", {}, t("masks.keys")),
      h("ul#kg-mask-keys.kg-small", {}, ["move", "dot", "hold", "switch", "size", "box", "back"].map((one) => h("li", {}, t(`masks.keys_${one}`)))));
    draw();
    return { tools, board, help, spoken, data: () => plate.toDataURL("image/png").split(",")[1], strokes: () => strokes };
  };
})();
