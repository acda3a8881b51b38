// The grid of pictures: it draws only what is in sight, so ten thousand pictures stay fluid.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;
  const CHUNK = 60;
  const TILE = { width: 148, height: 206, gap: 10 };

  /** The grid of pictures: asks `fetchRows(offset, limit)` for what comes into sight. */
  window.KG.dataset.makeGrid = ({ fetchRows, fetchSmall, onChoose }) => {
    const inner = h("div.kg-tiles-inner");
    const box = h("div.kg-tiles", { tabindex: "0", role: "listbox", "aria-label": t("dataset.grid") }, inner);
    const rows = new Map();
    const asked = new Set();
    const tiles = new Map();
    const small = new Map();
    let count = 0;
    let current = -1;
    let columns = 1;
    let age = 0;
    let smallAge = 0;
    let fetching = false;
    let frame = 0;

    function inSight() {
      const high = TILE.height + TILE.gap;
      const first = Math.max(0, Math.floor(box.scrollTop / high) - 1) * columns;
      const last = Math.min(count, (Math.ceil((box.scrollTop + box.clientHeight) / high) + 1) * columns);
      return [first, last];
    }

    function badge(row) {
      if (row.excluded) return h("span.kg-tag", {}, t("dataset.out"));
      const bad = row.problems.find(([code]) => code !== "no_caption");
      if (bad) return h("span.kg-tag.kg-warn", { title: row.problems.map(([code, text]) => window.KG.dataset.problemText(code, text)).join("\n") }, `⚠ ${row.problems.length}`);
      return row.captions ? null : h("span.kg-tag", {}, t("dataset.no_caption"));
    }

    function fillTile(tile, index) {
      const row = rows.get(index);
      tile.classList.toggle("kg-current", index === current);
      tile.setAttribute("aria-selected", String(index === current));
      const file = row && small.get(row.id);
      const mark = JSON.stringify([row, file === undefined ? "awaited" : file]);
      if (tile.dataset.mark === mark) return;
      tile.dataset.mark = mark;
      if (!row) {
        fill(tile, h("span.kg-tile-picture"));
        return;
      }
      tile.dataset.id = row.id;
      tile.classList.toggle("kg-out", row.excluded);
      tile.title = row.name;
      const name = row.name.split("/").pop();
      fill(tile,
        h("span.kg-tile-picture", {}, file ? h("img", { src: window.KG.file(file), alt: "", draggable: false, decoding: "async" }) : file === null ? h("span.kg-faint", {}, t("dataset.no_picture")) : null, badge(row)),
        h("span.kg-tile-name", {}, name),
        h("span.kg-tile-caption", {}, row.caption || "–"));
    }

    function draw() {
      columns = Math.max(2, Math.floor((box.clientWidth + TILE.gap) / (TILE.width + TILE.gap)));
      const wide = (box.clientWidth - (columns - 1) * TILE.gap - 2) / columns;
      inner.style.height = `${Math.ceil(count / columns) * (TILE.height + TILE.gap)}px`;
      const [first, last] = inSight();
      for (const [index, tile] of tiles) {
        if (index < first || index >= last) {
          tile.remove();
          tiles.delete(index);
        }
      }
      for (let index = first; index < last; index += 1) {
        let tile = tiles.get(index);
        if (!tile) {
          const at = index;
          tile = h("div.kg-tile", { role: "option", id: `kg-tile-${index}`, onclick: () => choose(at) });
          tiles.set(index, tile);
          inner.append(tile);
        }
        tile.style.width = `${wide}px`;
        tile.style.transform = `translate(${(index % columns) * (wide + TILE.gap)}px, ${Math.floor(index / columns) * (TILE.height + TILE.gap)}px)`;
        fillTile(tile, index);
      }
      need(first, last);
    }

    const later = () => {
      if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); });
    };

    async function need(first, last) {
      for (let start = Math.floor(first / CHUNK) * CHUNK; start < last; start += CHUNK) {
        if (asked.has(start)) continue;
        asked.add(start);
        const mine = age;
        fetchRows(start, CHUNK).then((answer) => {
          if (mine !== age || !answer) return;
          take(answer);
        }, () => asked.delete(start));
      }
      if (fetching) return;
      const ids = [];
      for (let index = first; index < last; index += 1) {
        const row = rows.get(index);
        if (row && !small.has(row.id)) ids.push(row.id);
      }
      if (!ids.length) return;
      fetching = true;
      const mine = smallAge;
      try {
        const files = await fetchSmall(ids);
        // Ids are made of names: another folder may have the same ones.
        if (mine === smallAge) for (const [id, file] of Object.entries(files)) small.set(id, file);
      } catch (error) {
        console.warn("small copies", error);
        await new Promise((go) => setTimeout(go, 2000));
      }
      fetching = false;
      later();
    }

    function take(answer) {
      if (answer.count !== count) count = answer.count;
      answer.rows.forEach((row, place) => rows.set(answer.offset + place, row));
      later();
    }

    function choose(index, silent) {
      if (!count) return;
      current = Math.max(0, Math.min(count - 1, index));
      box.setAttribute("aria-activedescendant", `kg-tile-${current}`);
      const high = TILE.height + TILE.gap;
      const top = Math.floor(current / columns) * high;
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top + high > box.scrollTop + box.clientHeight) box.scrollTop = top + high - box.clientHeight;
      later();
      if (silent) return;
      const row = rows.get(current);
      if (row) onChoose(row, current);
      else fetchRows(Math.floor(current / CHUNK) * CHUNK, CHUNK).then((answer) => {
        if (!answer) return;
        take(answer);
        if (rows.get(current)) onChoose(rows.get(current), current);
      });
    }

    box.addEventListener("scroll", later, { passive: true });
    box.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: columns * 3, PageUp: -columns * 3 }[event.key];
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (step) choose(current < 0 ? 0 : current + step);
      else if (event.key === "Home") choose(0);
      else if (event.key === "End") choose(count - 1);
      else return;
      event.preventDefault();
    });
    new ResizeObserver(later).observe(box);

    return {
      box,
      choose,
      chunk: CHUNK,
      move: (step) => choose(current < 0 ? 0 : current + step),
      get current() { return current; },
      get count() { return count; },
      inSight,
      take,
      /** Begin anew: other pictures are wanted, or all is to be read again. */
      reset(answer, keepPlace) {
        age += 1;
        rows.clear();
        asked.clear();
        if (!keepPlace) {
          current = -1;
          box.scrollTop = 0;
        }
        asked.add(answer.offset);
        count = answer.count;
        take(answer);
      },
      forgetSmall() {
        smallAge += 1;
        small.clear();
      },
    };
  };
})();
