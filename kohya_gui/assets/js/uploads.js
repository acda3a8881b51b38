// Pictures given to the browser: dropped or chosen in the system's dialog, then sent in pieces.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;
  const PIECE = 512 * 1024;

  window.KG.uploads = {
    /** Let files and folders be dropped on an element: `take({ name, files, inside })`. */
    into(zone, take) {
      for (const kind of ["dragover", "dragleave", "drop"]) {
        zone.addEventListener(kind, (event) => {
          if (!event.dataTransfer.types.includes("Files")) return;
          event.preventDefault();
          zone.classList.toggle("kg-over", kind === "dragover");
          if (kind === "drop") dropped(event.dataTransfer).then(take);
        });
      }
    },
    /** A button for the system's own dialog; `take` as above. */
    picker(text, take) {
      const field = h("input.kg-upload-file", { type: "file", multiple: true, accept: "image/*,.txt,.caption", "aria-label": text, onchange: () => {
        take({ name: "", files: [...field.files], inside: [] });
        field.value = "";
      } });
      return h("label.kg-button.kg-upload", {}, text, field);
    },
    /**
     * Send files one after the other, so that a slow line shows how far it is. `ask` hands a piece
     * to the server, `answered` hears what it says; `said` tells how far it is and what was refused.
     */
    async send({ files, inside }, ask, answered, said) {
      const refused = inside.length ? [t("uploads.inside", { names: inside.join(", ") })] : [];
      const bar = h("div");
      fill(said, h("p.kg-quiet", { role: "status" }, t("teach.uploading", { n: files.length })), h("div.kg-progress", {}, bar));
      for (const [index, one] of files.entries()) {
        const told = await sendOne(one, ask, answered);
        if (told) refused.push(told);
        bar.style.width = `${(100 * (index + 1)) / files.length}%`;
      }
      fill(said, refused.length ? h("div.kg-note.kg-warn", { role: "alert" }, refused.map((told) => h("p", {}, told))) : null);
    },
  };

  /** The files of what was dropped: those of a dropped folder too, but not of folders inside it. */
  async function dropped(transfer) {
    // What was dropped is forgotten once the event has ended, so it is asked for before any waiting.
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    if (!entries.length) return { name: "", files: [...transfer.files], inside: [] };
    const found = [];
    for (const entry of entries) found.push(...(entry.isDirectory ? await content(entry) : [entry]));
    const files = found.filter((entry) => entry.isFile).map((entry) => called(entry, "file"));
    return {
      name: (entries.find((entry) => entry.isDirectory) || { name: "" }).name,
      files: await Promise.all(files),
      inside: found.filter((entry) => entry.isDirectory).map((entry) => entry.name),
    };
  }

  /** All entries of a folder: browsers give a hundred at a time. */
  async function content(folder) {
    const reader = folder.createReader();
    const found = [];
    for (;;) {
      const some = await called(reader, "readEntries");
      if (!some.length) return found;
      found.push(...some);
    }
  }

  function called(object, method) {
    return new Promise((resolve, reject) => object[method](resolve, reject));
  }

  async function sendOne(one, ask, answered) {
    let offset = 0;
    const sending = Math.random().toString(36).slice(2, 12); // another tab may send the same name
    do {
      const data = await base64(one.slice(offset, offset + PIECE));
      const answer = await ask({ name: one.name, offset, total: one.size, data, sending });
      if (answer.problems) return `${one.name}: ${answer.problems.map((p) => `${p.message} ${p.hint}`).join(" ")}`;
      answered(answer);
      offset += PIECE;
    } while (offset < one.size);
    return null;
  }

  function base64(blob) {
    return new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(blob);
    });
  }
})();
