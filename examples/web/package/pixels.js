// Pictures of all kinds as bytes.

import { GpavatarError } from "./errors.js";

/** Longest side at which a picture is worth its memory: the network sees far less. */
const LONGEST_SIDE = 2048;

/**
 * RGBA pixels with straight alpha, reduced to a longest side. `scale` is what they were reduced by.
 * A canvas that is given is drawn on in place of a new one.
 */
export async function pixels(image, { longest = LONGEST_SIDE, canvas } = {}) {
  const isData = typeof ImageData !== "undefined" && image instanceof ImageData;
  if (isData && Math.max(image.width, image.height) <= longest) {
    const { width, height, data } = image;
    return { width, height, data: new Uint8Array(data.buffer), scale: 1 };
  }
  let bitmap = image;
  if (isData || image instanceof Blob) {
    try {
      // The colours are those of the file.
      const exact = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
      bitmap = await createImageBitmap(image, exact);
    } catch (error) {
      throw new GpavatarError("format", "picture: not an image this browser reads", {
        cause: error,
      });
    }
  }
  try {
    const [fullWidth, fullHeight] = size(bitmap);
    if (!(fullWidth > 0 && fullHeight > 0)) {
      const expected = "expected a picture with pixels, or a video that has begun";
      throw new GpavatarError("argument", `picture: ${expected}`);
    }
    const scale = Math.min(1, longest / Math.max(fullWidth, fullHeight));
    const [width, height] = [fullWidth, fullHeight].map((side) =>
      Math.max(1, Math.round(side * scale)),
    );
    canvas ??= new OffscreenCanvas(width, height);
    // Setting a size clears and allocates.
    if (canvas.width !== width || canvas.height !== height) {
      [canvas.width, canvas.height] = [width, height];
    }
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.globalCompositeOperation = "copy";
    context.drawImage(bitmap, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    return { width, height, data: new Uint8Array(data.buffer), scale };
  } finally {
    if (bitmap !== image) {
      bitmap.close();
    }
  }
}

/** Width and height of what can be drawn: of a video, a frame of one, an image, a bitmap or a canvas. */
function size(image) {
  return [
    image.videoWidth ?? image.displayWidth ?? image.naturalWidth ?? image.width,
    image.videoHeight ?? image.displayHeight ?? image.naturalHeight ?? image.height,
  ];
}
