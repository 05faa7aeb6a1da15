// How long each stage of a frame takes.

import { $, element } from "./dom.js";

export function showStages(stages) {
  const most = Math.max(...stages.map(({ milliseconds }) => milliseconds), 1e-6);
  const sum = stages.reduce((all, { milliseconds }) => all + milliseconds, 0);
  const time = (milliseconds) => `${milliseconds.toFixed(milliseconds < 100 ? 2 : 0)} ms`;
  const tile = (stage, milliseconds, share) => {
    const tile = element("div");
    const bar = element("div", { className: "bar" });
    const fill = element("i");
    fill.style.width = `${100 * share}%`;
    bar.append(fill);
    bar.hidden = share === undefined;
    const value = element("span", { className: "value", textContent: time(milliseconds) });
    tile.append(element("span", { textContent: stage }), value, bar);
    return tile;
  };
  $("stages").replaceChildren(
    ...stages.map(({ stage, milliseconds }) => tile(stage, milliseconds, milliseconds / most)),
    tile("all", sum),
  );
}
