// A small line chart on a canvas: some thousand points stay fluid, values are shown under the pointer.
(() => {
  "use strict";
  const { h, fill, number } = window.KG;

  /** Round steps for axis marks: about `wanted` of them between `low` and `high`. */
  function marks(low, high, wanted) {
    const span = high - low || Math.abs(high) || 1;
    const rough = span / Math.max(1, wanted);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough) || rough;
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) {
      found.push(Math.abs(at) < step * 1e-6 ? 0 : at);
    }
    return found;
  }

  /** The range to show: all smooth values, and raw ones but for rare spikes that would flatten the rest. */
  function range(series) {
    let low = Infinity;
    let high = -Infinity;
    for (const line of series) {
      const values = line.y.filter((v) => v !== null && Number.isFinite(v));
      if (!values.length) continue;
      if (line.clip && values.length > 40) {
        values.sort((a, b) => a - b);
        low = Math.min(low, values[0]);
        high = Math.max(high, values[Math.floor(values.length * 0.985)]);
      } else {
        for (const v of values) {
          if (v < low) low = v;
          if (v > high) high = v;
        }
      }
    }
    if (low > high) return [0, 1];
    if (low > 0 && (low < high * 0.5 || series.some((line) => line.zero))) low = 0;
    const air = (high - low || Math.abs(high) || 1) * 0.06;
    return [low === 0 ? 0 : low - air, high + air];
  }

  function nearest(x, wanted) {
    let from = 0;
    let to = x.length - 1;
    while (to - from > 1) {
      const middle = (from + to) >> 1;
      if (x[middle] < wanted) from = middle;
      else to = middle;
    }
    return Math.abs(x[from] - wanted) <= Math.abs(x[to] - wanted) ? from : to;
  }

  /**
   * Put a chart into `holder`. `update({series, xLabel, xMax})` draws it;
   * each of `series` is {name, colour: CSS variable, x: [..], y: [..], width, clip}.
   */
  window.KG.chart = (holder, { title, height = 220 }) => {
    const canvas = h("canvas", { role: "img", "aria-label": title });
    const legend = h("div.kg-legend");
    const tip = h("div.kg-chart-tip", { hidden: true });
    const box = h("div.kg-chart-box", { style: `height:${height}px` }, canvas, tip);
    fill(holder, h("div.kg-chart-head", {}, h("h3", {}, title), legend), box);
    let data = { series: [], xLabel: "", xMax: 0 };
    let pointer = null;
    let frame = 0;

    function draw() {
      frame = 0;
      const width = box.clientWidth;
      if (!width) return;
      const ratio = window.devicePixelRatio || 1;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
      }
      const style = getComputedStyle(canvas);
      const colour = (name) => style.getPropertyValue(name).trim();
      const c = canvas.getContext("2d");
      c.setTransform(ratio, 0, 0, ratio, 0, 0);
      c.clearRect(0, 0, width, height);
      c.font = `12px ${style.fontFamily}`;
      const lines = data.series.filter((line) => line.x.length);
      if (!lines.length) return;
      const [yLow, yHigh] = range(lines);
      const yMarks = marks(yLow, yHigh, 4);
      const left = 12 + Math.max(...yMarks.map((v) => c.measureText(number(v, 3)).width));
      const right = width - 10;
      const top = 8;
      const bottom = height - 24;
      const xLow = Math.min(...lines.map((line) => line.x[0]));
      const xHigh = Math.max(data.xMax || 0, ...lines.map((line) => line.x[line.x.length - 1]), xLow + 1);
      const px = (x) => left + ((x - xLow) / (xHigh - xLow)) * (right - left);
      const py = (y) => bottom - ((y - yLow) / (yHigh - yLow)) * (bottom - top);

      c.strokeStyle = colour("--kg-line");
      c.fillStyle = colour("--kg-quiet");
      c.lineWidth = 1;
      c.textAlign = "right";
      c.textBaseline = "middle";
      for (const value of yMarks) {
        const y = Math.round(py(value)) + 0.5;
        c.beginPath();
        c.moveTo(left, y);
        c.lineTo(right, y);
        c.stroke();
        c.fillText(number(value, 3), left - 6, y);
      }
      c.textAlign = "center";
      c.textBaseline = "top";
      for (const value of marks(xLow, xHigh, Math.max(2, width / 110))) {
        if (Number.isInteger(value)) c.fillText(String(value), px(value), bottom + 7);
      }
      c.save();
      c.beginPath();
      c.rect(left, top - 4, right - left + 4, bottom - top + 8);
      c.clip();
      for (const line of lines) {
        c.strokeStyle = colour(line.colour);
        c.lineWidth = line.width || 1.5;
        c.lineJoin = "round";
        c.beginPath();
        let open = false;
        for (let i = 0; i < line.x.length; i += 1) {
          const value = line.y[i];
          if (value === null || !Number.isFinite(value)) {
            open = false;
            continue;
          }
          if (open) c.lineTo(px(line.x[i]), py(value));
          else c.moveTo(px(line.x[i]), py(value));
          open = true;
        }
        c.stroke();
        if (line.x.length === 1 && line.y[0] !== null) {
          c.fillStyle = c.strokeStyle;
          c.beginPath();
          c.arc(px(line.x[0]), py(line.y[0]), 3, 0, 7);
          c.fill();
        }
      }
      c.restore();
      if (pointer !== null) point(c, lines, { px, py, xLow, xHigh, left, right, top, bottom, colour, width });
    }

    function point(c, lines, at) {
      const wanted = at.xLow + ((pointer - at.left) / (at.right - at.left)) * (at.xHigh - at.xLow);
      const longest = lines.reduce((a, b) => (b.x.length > a.x.length ? b : a));
      const x = longest.x[nearest(longest.x, wanted)];
      c.strokeStyle = at.colour("--kg-faint");
      c.lineWidth = 1;
      c.beginPath();
      c.moveTo(at.px(x), at.top);
      c.lineTo(at.px(x), at.bottom);
      c.stroke();
      const rows = [h("strong", {}, `${data.xLabel} ${x}`)];
      for (const line of lines) {
        const i = nearest(line.x, x);
        if (line.y[i] === null) continue;
        c.fillStyle = at.colour(line.colour);
        c.beginPath();
        c.arc(at.px(line.x[i]), at.py(line.y[i]), 3.5, 0, 7);
        c.fill();
        rows.push(h("div", {}, h("i", { style: `background:var(${line.colour})` }), `${line.name} ${number(line.y[i])}`));
      }
      fill(tip, rows);
      tip.hidden = false;
      const x0 = at.px(x);
      tip.style.left = x0 > at.width / 2 ? "" : `${x0 + 12}px`;
      tip.style.right = x0 > at.width / 2 ? `${at.width - x0 + 12}px` : "";
    }

    function redraw() {
      if (!frame) frame = requestAnimationFrame(draw);
    }
    const move = (event) => {
      pointer = event.clientX - canvas.getBoundingClientRect().left;
      redraw();
    };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerdown", move);
    canvas.addEventListener("pointerleave", () => {
      pointer = null;
      tip.hidden = true;
      redraw();
    });
    new ResizeObserver(redraw).observe(box);
    new MutationObserver(redraw).observe(document.body, { attributeFilter: ["class"] });

    return {
      update(next) {
        data = next;
        const shown = data.series.filter((line) => line.x.length);
        fill(legend, shown.map((line) => {
          const last = line.y[line.y.length - 1];
          return h("span", {}, h("i", { style: `background:var(${line.colour})` }), `${line.name} ${number(last)}`);
        }));
        canvas.setAttribute("aria-label", `${title}: ${legend.textContent}`);
        redraw();
      },
    };
  };
})();
