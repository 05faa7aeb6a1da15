// What is behind the avatar: black, nothing, or a colour. The canvas is transparent for the last two, so
// that a colour costs no frame.

import { $, press } from "./dom.js";

/** `onChange` hears whether frames are to be transparent. */
export function backgrounds(onChange) {
  const stage = $("stage");
  const colour = $("colour");
  let value = "black";

  function choose(next) {
    const transparent = next !== "black";
    if (transparent !== (value !== "black")) {
      onChange(transparent);
    }
    value = next;
    stage.dataset.background = next;
    stage.style.setProperty("--colour", colour.value);
    press($("backgrounds"), next);
  }

  for (const button of $("backgrounds").querySelectorAll("button")) {
    button.addEventListener("click", () => choose(button.dataset.value));
  }
  for (const type of ["click", "input"]) {
    colour.addEventListener(type, () => choose("colour"));
  }

  return {
    /** `black`, `none`, or a colour of CSS. */
    get value() {
      return value === "colour" ? colour.value : value;
    },
  };
}
