// What every part of the page does with elements.

export const $ = (id) => document.getElementById(id);

export function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

export function paint(target, picture) {
  [target.width, target.height] = [picture.width, picture.height];
  target.getContext("2d").putImageData(picture, 0, 0);
}

/** Marks the button of a group whose value is `value`. */
export function press(group, value) {
  for (const button of group.querySelectorAll("button[data-value]")) {
    button.setAttribute("aria-pressed", String(button.dataset.value === value));
  }
}
