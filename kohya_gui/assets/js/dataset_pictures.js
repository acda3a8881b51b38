// The tab “Pictures and captions”.
(() => {
  "use strict";
  const { h, fill } = window.KG;
  window.KG.widgets.dataset_pictures = ({ element }) => {
    const holder = element.firstElementChild;
    window.KG.dataset.onFolder((folder) => fill(holder, h("p.kg-quiet", {}, folder)));
  };
})();
