// Pictures given to the browser: dropped or chosen in the system's dialog, then sent in pieces.
(() => {
  "use strict";
  const { t, h, fill, progressBar, setProgress } = window.KG;
  const PIECE = 512 * 1024;
  const PICTURE = /\.(png|jpe?g|webp|bmp|gif|tiff?|avif|jxl)$/i;
  /** What the name of a picture tells of a face in it: where it begins, and its size, which is not 0. */
  const FACE = /(?<=.)(_\d{1,5}){2}(_(?!0+(?:_|$))\d{1,5}){2}$/;
  const CAPTION = /\.(txt|caption)$/i;
  /** What systems put into folders by themselves. */
  const OF_SYSTEM = /^(\..*|thumbs\.db|desktop\.ini)$/i;

  window.KG.uploads = {
    /** Let files and folders be dropped on an element: `take({ name, files, refused })`. */
    into(zone, take) {
      for (const kind of ["dragover", "dragleave", "drop"]) {
        zone.addEventListener(kind, (event) => {
          if (!event.dataTransfer.types.includes("Files")) return;
          event.preventDefault();
          zone.classList.toggle("kg-over", kind === "dragover");
          if (kind === "drop") dropped(event.dataTransfer).catch(() => ({ name: "", files: [], refused: [t("uploads.unreadable")] })).then(take);
        });
      }
    },
    /** A button for the system's own dialog; `take` as above. */
    picker(text, take) {
      const field = h("input.kg-upload-file", { type: "file", multiple: true, accept: "image/*,.txt,.caption", "aria-label": text, onchange: () => {
        take({ name: "", files: [...field.files].map((file) => ({ file, place: 0 })), refused: [] });
        field.value = "";
      } });
      return h("label.kg-button.kg-upload", {}, text, field);
    },
    /**
     * Send files one after the other, so that a slow line shows how far it is. `ask` hands a piece
     * to the server, `answered` hears what it says; `said` tells how far it is and what was refused.
     */
    async send(given, ask, answered, said) {
      const refused = [...given.refused];
      const bar = progressBar(t("teach.uploading", { n: given.files.length }), 0);
      const drop = Array.from({ length: 16 }, () => Math.floor(16 * Math.random()).toString(16)).join("");
      let done = 0;
      fill(said, h("p.kg-quiet", { role: "status" }, t("teach.uploading", { n: given.files.length })), bar);
      const one = async (file, more) => {
        try {
          return await sendOne(file, { drop, ...more }, ask, answered);
        } catch (error) {
          refused.push(error.message.includes(file.name) ? error.message : `${file.name}: ${error.message}`);
          return null;
        } finally {
          done += 1;
          setProgress(bar, Math.min(1, done / given.files.length)); // a caption may go beside two pictures
        }
      };
      for (const { pictures, captions, astray } of together(given.files)) {
        const stems = new Set(); // that the server chose: more than one if names were taken
        for (const { file, captioned } of pictures) {
          const stem = await one(file, { beside: [...stems][0] || "", captioned });
          if (stem) stems.add(captioned === "shared" ? stem.replace(FACE, "") : stem);
        }
        const lost = astray || (!stems.size && pictures.some(({ file }) => PICTURE.test(file.name)));
        for (const file of captions) {
          // By its own name it might lie beside another picture.
          if (lost) refused.push(`${file.name}: ${astray ? t("uploads.astray") : t("uploads.without_picture")}`);
          else for (const beside of stems.size ? stems : [""]) await one(file, { beside });
        }
      }
      fill(said, refused.length ? h("div.kg-note.kg-warn", { role: "alert" }, refused.map((told) => h("p", {}, told))) : null);
    },
  };

  /**
   * Files of one folder and one name but for the ending: a picture comes before its caption.
   * Pictures cut out around faces, `name_<x>_<y>_<width>_<height>`, may share the caption of `name`.
   * `captioned` tells what captions of a picture's name there are; captions are `astray` that lie
   * beside no picture, where one of another folder has their name.
   */
  function together(files) {
    const groups = new Map();
    const stemOf = (file) => file.name.replace(/\.[^.]*$/, "");
    const captions = files.filter(({ file }) => CAPTION.test(file.name));
    const here = new Set(captions.map(({ file, place }) => `${place}/${stemOf(file)}`));
    const anywhere = new Set(captions.map(({ file }) => stemOf(file)));
    const places = new Map();
    const group = (place, stem) => {
      const key = `${place}/${stem}`;
      if (!groups.has(key)) groups.set(key, { place, stem, pictures: [], captions: [], astray: false });
      return groups.get(key);
    };
    for (const { file, place } of files) {
      const stem = stemOf(file);
      if (CAPTION.test(file.name)) {
        group(place, stem).captions.push(file);
        continue;
      }
      const name = stem.replace(FACE, "");
      const own = here.has(`${place}/${stem}`);
      const shares = !own && name !== stem && anywhere.has(name);
      const captioned = shares ? "shared" : anywhere.has(stem) ? "own" : "";
      group(place, shares && here.has(`${place}/${name}`) ? name : stem).pictures.push({ file, captioned });
      for (const one of [stem, name]) places.set(one, [...(places.get(one) || []), place]);
    }
    for (const one of groups.values()) one.astray = !one.pictures.length && (places.get(one.stem) || []).some((place) => place !== one.place);
    return groups.values();
  }

  /** The files of what was dropped: those of a dropped folder too, but not of folders inside it. */
  async function dropped(transfer) {
    // What was dropped is forgotten once the event has ended, so it is asked for before any waiting.
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    if (!entries.length) return { name: "", files: [...transfer.files].map((file) => ({ file, place: 0 })), refused: [] };
    const found = [];
    const inside = [];
    const refused = [];
    const unread = (entry) => refused.push(`${entry.name}: ${t("uploads.unreadable")}`);
    for (const [place, entry] of entries.entries()) {
      if (entry.isFile) found.push({ entry, place: "" });
      else for (const one of await content(entry).catch(() => { unread(entry); return []; })) {
        if (OF_SYSTEM.test(one.name)) continue;
        if (one.isFile) found.push({ entry: one, place });
        else inside.push(one.name);
      }
    }
    if (inside.length) refused.unshift(t("uploads.inside", { names: inside.join(", ") }));
    const files = [];
    const asked = await Promise.allSettled(found.map(({ entry }) => called(entry, "file")));
    for (const [index, { value }] of asked.entries()) {
      if (value) files.push({ file: value, place: found[index].place });
      else unread(found[index].entry);
    }
    return { name: (entries.find((entry) => entry.isDirectory) || { name: "" }).name, files, refused };
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

  /** Send a file; return the stem that it got. What it throws is told beside the file's name. */
  async function sendOne(file, more, ask, answered) {
    let offset = 0;
    let stem = null;
    do {
      const data = await base64(file.slice(offset, offset + PIECE)).catch(() => { throw new Error(t("uploads.unreadable")); });
      const answer = await ask({ name: file.name, offset, total: file.size, data, ...more }).catch(() => { throw new Error(t("common.no_answer")); });
      if (answer.problems) throw new Error(answer.problems.map((p) => `${p.message} ${p.hint}`).join(" "));
      answered(answer);
      stem = answer.stem;
      offset += PIECE;
    } while (offset < file.size);
    return stem;
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
