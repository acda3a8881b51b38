// Options that nobody sees at first are drawn once the page can be used: in pieces, in its free time.
(() => {
  "use strict";
  const PIECE = 24;

  window.KG.formParts.later = (desk) => {
    const { facts, block } = desk;
    const left = [...facts.later];
    let begun = false;
    let hurried = false;
    let done;
    const whole = new Promise((resolve) => { done = resolve; });

    // Gradio asks for this with each `later` event: which of these options are to be drawn now.
    window.KG.nextFields = () => {
      const piece = new Set(left.splice(0, hurried ? left.length : PIECE));
      return facts.later.map((name) => (piece.has(name) ? { __type__: "update", visible: true } : undefined));
    };

    async function turn() {
      if (!left.length) {
        desk.drawAll();
        document.documentElement.dataset.kgWhole = "form";
        done();
        return;
      }
      const last = left[hurried ? left.length - 1 : Math.min(left.length, PIECE) - 1];
      desk.drawLater();
      while (!block(last)) await new Promise((go) => { setTimeout(go, 10); });
      soon();
    }
    function soon() {
      if (hurried || !window.requestIdleCallback) setTimeout(turn);
      else window.requestIdleCallback(turn, { timeout: 500 });
    }

    desk.beginLater = () => {
      if (begun) return;
      begun = true;
      soon();
    };
    /** Resolve when every option is drawn, without waiting for free time. */
    desk.all = () => {
      hurried = true;
      return whole;
    };
    return {};
  };
})();
