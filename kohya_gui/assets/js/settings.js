// Settings of this browser: language and notifications; values that forms begin with; how a login is set.
(() => {
  "use strict";
  const { t, h, fill } = window.KG;

  const choice = (name, value, chosen, label, choose) =>
    h("button.kg-button.kg-slim", { type: "button", [`data-${name}-choice`]: value, "aria-pressed": String(chosen), onclick: choose }, label);

  window.KG.widgets.language = ({ element }) => {
    const names = Object.entries(window.KG_LANGUAGES || {});
    fill(element.firstElementChild,
      h("strong", {}, t("language.title")),
      h("div.kg-tiers", { role: "group", "aria-label": t("language.title") }, names.map(([code, name]) => {
        const button = choice("language", code, code === window.KG_LANGUAGE, name, () => window.KG.setLanguage(code));
        button.lang = code;
        return button;
      })),
      h("p.kg-quiet.kg-small", {}, t("language.note")));
  };

  function browserNotes(redraw) {
    const { possible, allowed, wanted, set } = window.KG.notifications;
    if (!possible()) return h("p.kg-quiet", {}, t("notify.not_here"));
    const ask = async (on) => {
      await set(on);
      redraw();
    };
    return h("div", {},
      h("label.kg-row", {}, h("input", { type: "checkbox", checked: wanted() && allowed(), "data-notify": true, onchange: (event) => ask(event.target.checked) }), t("notify.browser")),
      h("p.kg-quiet.kg-small", {}, wanted() && !allowed() ? t("notify.refused") : t("notify.browser_why")));
  }

  window.KG.widgets.notify = ({ element, server }) => {
    const said = h("div", { role: "status" });
    const test = async () => {
      fill(said, h("p.kg-quiet", {}, t("notify.testing")));
      const answer = await server.try_webhook();
      fill(said, h(`p.kg-note.${answer.good ? "kg-good" : "kg-bad"}`, {}, answer.text));
    };
    const browser = h("div");
    const redraw = () => fill(browser, browserNotes(redraw));
    redraw();
    const trouble = h("div");
    fill(element.firstElementChild, browser, h("p", {}, h("button.kg-button.kg-slim", { type: "button", "data-webhook-test": true, onclick: test }, t("notify.test"))), said, trouble);
    server.webhook_state().then((state) => fill(trouble, state.problem ? h("p.kg-note.kg-warn", {}, state.problem) : null));
  };

  /** The options of a row, each with its value; the names stay as they are in files. */
  const kept = (row) => h("ul.kg-list.kg-small", {}, row.values.map((one) =>
    h("li", {}, one.label, " ", h("code.kg-code", {}, one.option), `: ${one.value}`)));

  window.KG.widgets.defaults = ({ element, server }) => {
    const list = h("div");
    const said = h("div", { role: "status" });
    async function draw() {
      const rows = await server.kept_defaults();
      fill(list, rows.length ? rows.map((row) => h("div.kg-default", { "data-job": row.job },
        h("div.kg-row", {}, h("strong", {}, row.page ? h("a", { href: window.KG.page(row.page) }, row.name) : row.name),
          h("span.kg-quiet", {}, t("defaults.values", { n: row.values.length })),
          h("button.kg-button.kg-slim", { type: "button", "aria-label": t("defaults.remove_of", { name: row.name }), onclick: () => remove(row) }, t("defaults.remove"))),
        h("details", {}, h("summary.kg-small", {}, t("defaults.show")), kept(row)))) : h("p.kg-empty", {}, t("defaults.none")));
    }
    async function remove(row) {
      const text = [h("p", {}, t("defaults.lost", { name: row.name })), kept(row), h("p.kg-quiet.kg-small", {}, t("defaults.stays"))];
      if (!(await window.KG.confirm({ title: t("defaults.title", { name: row.name }), text, yes: t("defaults.remove"), danger: true }))) return;
      const answer = await server.forget({ job: row.job, values: row.values });
      fill(said, answer.problems ? window.KG.jobs.problems(answer.problems) : h("p.kg-note.kg-good", {}, answer.text));
      await draw();
    }
    fill(element.firstElementChild, list, said);
    draw();
  };

  window.KG.widgets.secrets = ({ element, server }) => {
    const list = h("ul.kg-list", {});
    const note = h("div", {});
    const said = h("div", { role: "status" });
    const look = h("button.kg-button.kg-slim", { type: "button", onclick: () => draw({ look: true }) }, t("secrets.look"));
    const tell = (answer) => fill(said, answer.problems ? window.KG.jobs.problems(answer.problems) : h("p.kg-note.kg-good", {}, answer.text));

    const typed = new Map(); // by name: what is typed in another row stays
    let waits = false;
    /** Ask the server, which may wait for the keyring's owner; null while it waits already. */
    async function asked(question) {
      if (waits) return null;
      waits = true;
      fill(said, h("p.kg-quiet", {}, t("secrets.looking")));
      try {
        return await question();
      } catch {
        return { problems: [{ message: t("common.no_answer") }] };
      } finally {
        waits = false;
      }
    }
    async function draw(ask = {}) {
      const answer = await asked(() => server.list_secrets(ask));
      if (!answer) return;
      if (answer.problems) {
        tell(answer);
        return;
      }
      fill(said);
      fill(list, answer.rows.map(row));
      fill(note, answer.note ? h("p.kg-quiet.kg-small", {}, answer.note) : null, answer.can_look ? h("p", {}, look) : null);
    }
    function row(one) {
      // "off" would let browsers fill in the login of this page.
      const value = typed.get(one.name) || h("input.kg-input", { type: "password", autocomplete: "new-password", maxlength: "10000", "aria-label": t("secrets.value", { what: one.what }) });
      typed.set(one.name, value);
      const keep = async (event) => {
        event.preventDefault();
        const answer = await asked(() => server.keep_secret({ name: one.name, value: value.value }));
        if (!answer) return;
        if (!answer.problems) {
          value.value = "";
          await draw();
        }
        tell(answer);
      };
      return h("li.kg-secret", { "data-secret": one.name, "data-where": one.where },
        h("strong", {}, one.what), ": ", one.words,
        one.can_keep ? h("form.kg-row", { onsubmit: keep }, value,
          h("button.kg-button.kg-slim", { type: "submit" }, t("secrets.keep")),
          one.can_forget ? h("button.kg-button.kg-slim", { type: "button", onclick: () => forget(one) }, t("secrets.forget")) : null) : null);
    }
    async function forget(one) {
      const wish = { title: t("secrets.title", one), text: t("secrets.lost", one), yes: t("secrets.forget"), danger: true };
      if (!(await window.KG.confirm(wish))) return;
      const answer = await asked(() => server.forget_secret({ name: one.name }));
      if (!answer) return;
      if (!answer.problems) await draw();
      tell(answer);
    }
    fill(element.firstElementChild, list, note, said);
    draw();
  };

  /** Words nobody guesses: 16 letters and digits without those that look alike. */
  function password() {
    const letters = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    const numbers = crypto.getRandomValues(new Uint32Array(16));
    return Array.from(numbers, (number) => letters[number % letters.length]).join("");
  }

  window.KG.widgets.login = ({ element }) => {
    const user = window.gradio_config?.username;
    const command = h("pre.kg-pre", {});
    const fresh = () => { command.textContent = t("login.command", { password: password() }); };
    fresh();
    const copy = h("button.kg-button.kg-slim", { type: "button", onclick: (event) => window.KG.copy(command.textContent, event.target) }, t("common.copy"));
    fill(element.firstElementChild,
      h("p", {}, user ? t("login.is_on", { name: user }) : t("login.is_off")),
      user ? h("p", {}, h("a.kg-button.kg-slim", { href: "./logout" }, t("login.out"))) : null,
      h("p.kg-quiet", {}, t("login.how")), command,
      h("div.kg-row", {}, copy, h("button.kg-button.kg-slim", { type: "button", onclick: fresh }, t("login.another"))),
      h("p.kg-quiet.kg-small", {}, t("login.why")));
  };
})();
