// Faces in pictures and videos: what an avatar is built from, and what drives it.

import * as bindings from "./bindings.js";
import { on } from "./device.js";
import { load } from "./load.js";
import { pixels } from "./pixels.js";

/** Longest side of a video's frames: the networks see 256 pixels of a face. */
const FRAME_SIDE = 640;

/** Finds faces in pictures, and follows one in a video. */
export class Tracker {
  #handle;
  #driver;
  #calibration;
  #mirror;
  /** The frame or picture that is being looked at. */
  #busy;
  /** When the last frame was, in milliseconds. */
  #last;
  #seen = false;
  /** Frames are drawn here to be read. */
  #canvas;

  constructor(model, handle, driver, { calibration, mirror }) {
    this.model = model;
    this.#handle = handle;
    this.#driver = driver;
    this.#calibration = calibration;
    this.#mirror = mirror;
  }

  static async load(
    model,
    { task, segmentation },
    { mirror = false, calibration = "first-second", onProgress, cache = true, signal } = {},
  ) {
    const bytes = (source) => load(source, { onProgress, cache, signal });
    const files = [await bytes(task), segmentation && (await bytes(segmentation))];
    return on(model.gpu, async () => {
      const driver = new bindings.Driver(model.handle, calibration, mirror);
      try {
        const handle = new bindings.Tracker(model.handle, ...files);
        await model.gpu.handle.idle("setting the tracker up");
        return new Tracker(model, handle, driver, { calibration, mirror });
      } catch (error) {
        driver.free();
        throw error;
      }
    });
  }

  async still(picture) {
    await this.#idle();
    return this.#alone(async () => {
      const { width, height, data, scale } = await pixels(picture);
      const still = await this.#handle.still(width, height, data);
      if (!still) {
        return null;
      }
      const { face, size } = still;
      try {
        const crop = new Uint8ClampedArray(still.pixels.buffer);
        const rows = [0, 4, 8].map((start) => [...still.transform.subarray(start, start + 4)]);
        return {
          image: new ImageData(crop, size, size),
          camera: rows,
          ...measured(face, scale),
        };
      } finally {
        face.free();
        still.free();
      }
    });
  }

  frame(picture, { time = performance.now() } = {}) {
    if (this.#busy) {
      return Promise.resolve(undefined);
    }
    return this.#alone(async () => {
      this.#canvas ??= new OffscreenCanvas(1, 1);
      const options = { longest: FRAME_SIDE, canvas: this.#canvas };
      const { width, height, data, scale } = await pixels(picture, options);
      const seconds = this.#last === undefined ? 0 : Math.max(0, time - this.#last) / 1000;
      const face = await this.#handle.frame(width, height, data, seconds);
      this.#last = time;
      this.#seen ||= face !== undefined;
      if (!this.#seen) {
        return { found: false };
      }
      const found = face !== undefined && !face.lost;
      const about = found ? measured(face, scale) : {};
      // Takes the face.
      const { transform, focal, ...rest } = this.#driver.drive(face, seconds);
      return { found, ...about, drive: { ...rest, camera: { transform, focal } } };
    });
  }

  calibrate() {
    this.#driver.calibrate();
  }

  get mirror() {
    return this.#mirror;
  }

  set mirror(mirror) {
    this.#mirror = Boolean(mirror);
    this.#driver.mirror = this.#mirror;
  }

  async restart() {
    await this.#idle();
    return this.#alone(async () => {
      const model = this.model.handle;
      const driver = new bindings.Driver(model, this.#calibration, this.#mirror);
      this.#driver.free();
      this.#driver = driver;
      this.#handle.restart();
      this.#seen = false;
      this.#last = undefined;
    });
  }

  async free() {
    await this.#idle();
    this.#handle.free();
    this.#driver.free();
  }

  /** Waits for what is being looked at. */
  async #idle() {
    while (this.#busy) {
      await this.#busy.catch(() => undefined);
    }
  }

  /** Runs what nothing else may run beside. */
  #alone(run) {
    const running = on(this.model.gpu, run).finally(() => {
      if (this.#busy === running) {
        this.#busy = undefined;
      }
    });
    this.#busy = running;
    return running;
  }
}

/** What was measured of a face, in pixels of the picture that was given. */
function measured(face, scale) {
  const { landmarks, presence, scores } = face;
  for (let i = 0; i < landmarks.length; i++) {
    landmarks[i] /= scale;
  }
  return { landmarks, presence, scores };
}
