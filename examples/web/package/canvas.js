// Canvases and textures that show pictures.

import * as bindings from "./bindings.js";

/** What shows pictures on each canvas, and of which device. */
const targets = new WeakMap();

/** What shows a device's pictures on a canvas. */
export function canvasOf(gpu, canvas) {
  let target = targets.get(canvas);
  if (target?.gpu !== gpu) {
    target = { gpu, handle: new bindings.Canvas(gpu.handle, canvas) };
    targets.set(canvas, target);
  }
  return target.handle;
}

/** The background of what is shown. */
export function alphaOf(transparent) {
  return transparent ? bindings.Alpha.Premultiplied : bindings.Alpha.None;
}
