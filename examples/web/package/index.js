// gpavatar for the web: avatars from photos, rendered by WebGPU straight onto a canvas.

import * as bindings from "./bindings.js";
import { alphaOf, canvasOf } from "./canvas.js";
import { Gpu, on, typed } from "./device.js";
import { ARKIT_CHANNELS } from "./drivers.js";
import { GpavatarError } from "./errors.js";
import { forget, load } from "./load.js";
import { planePictures, rgbPicture, grayPicture } from "./pictures.js";
import { pixels } from "./pixels.js";

export { Atlas } from "./atlas.js";
export { Gpu } from "./device.js";
export { ARKIT_CHANNELS, fromFaceLandmarker, mirrored, parseMessage } from "./drivers.js";
export { GpavatarError } from "./errors.js";
export { Tracker } from "./track.js";

const FOCAL = 12;

/** A network on a device. */
export class Model {
  /** @internal */ handle;

  constructor(gpu, handle) {
    this.gpu = gpu;
    this.handle = handle;
    this.channels = Object.freeze(handle.channels);
    this.config = Object.freeze(JSON.parse(handle.config));
    this.shapeCount = handle.shapeCount;
    this.jointCount = handle.jointCount;
    const index = new Map(this.channels.map((name, i) => [name, i]));
    /** @internal Where each channel is among the head model's. */
    this.index = index;
    /** @internal Where each of ARKit's channels is, or undefined. */
    this.arkit = ARKIT_CHANNELS.map((name) => index.get(name));
  }

  static async load(
    source,
    onProgress,
    { gpu, precision = "f32", cache = true, signal } = {},
  ) {
    gpu ??= await Gpu.request();
    const stored = await on(gpu, () => new bindings.Precision(String(precision)));
    const bytes = await load(source, { onProgress, cache, signal });
    try {
      return await on(gpu, async () => {
        const handle = new bindings.Model(gpu.handle, bytes, stored);
        await gpu.handle.idle("setting the model up");
        return new Model(gpu, handle);
      });
    } catch (error) {
      if (cache) {
        // A download that does not work is not kept.
        await forget(source);
      }
      throw error;
    }
  }

  get report() {
    return this.handle.report;
  }

  free() {
    this.handle.free();
  }
}

/** A person. */
export class Avatar {
  #handle;
  #expression;
  #pose;
  #camera = { distance: 10.6, elevation: 0, azimuth: 0 };

  constructor(model, handle) {
    this.model = model;
    this.#handle = handle;
    this.#expression = new Float32Array(model.channels.length);
    this.#pose = new Float32Array(3 * model.jointCount);
  }

  static async fromImages(model, images, { cameras, shape } = {}) {
    if (cameras && cameras.length !== images.length) {
      throw new GpavatarError(
        "argument",
        `cameras: expected ${images.length}, one per picture, found ${cameras.length}`,
      );
    }
    const sources = new bindings.Sources();
    return on(model.gpu, async () => {
      for (const [i, image] of images.entries()) {
        const { width, height, data } = await pixels(image);
        const camera = cameras?.[i];
        sources.add(width, height, data, camera && Float32Array.from(camera.flat()));
      }
      const handle = new bindings.Avatar(model.handle, sources, Float32Array.from(shape ?? []));
      await model.gpu.handle.idle("building an avatar");
      return new Avatar(model, handle);
    }).finally(() => sources.free());
  }

  static fromBytes(model, bytes) {
    return on(model.gpu, () => {
      return new Avatar(model, bindings.Avatar.fromBytes(model.handle, new Uint8Array(bytes)));
    });
  }

  toBytes() {
    return this.#guard(() => this.#handle.toBytes());
  }

  setExpression(values) {
    for (const [name, value] of Object.entries(values)) {
      this.#expression[this.#channel(name)] = value;
    }
    return this;
  }

  setBlendshapes(values) {
    if (values.length !== ARKIT_CHANNELS.length) {
      throw new GpavatarError(
        "argument",
        `blendshapes: expected ${ARKIT_CHANNELS.length} numbers, found ${values.length}`,
      );
    }
    const { arkit } = this.model;
    for (let i = 0; i < values.length; i++) {
      if (arkit[i] !== undefined) {
        this.#expression[arkit[i]] = values[i];
      }
    }
    return this;
  }

  setHead(rotation) {
    this.#pose.set(rotation);
    return this;
  }

  orbit(camera) {
    this.#camera = { ...this.#camera, ...camera };
    return this;
  }

  reset() {
    this.#expression.fill(0);
    this.#pose.fill(0);
    return this;
  }

  /** Submits a frame onto the canvas; settles when it is done. */
  render(drive, canvas, { transparent = false } = {}) {
    return this.#guard(async () => {
      const target = canvasOf(this.model.gpu, canvas);
      const frame = this.#handle.render(...this.#arguments(drive), alphaOf(transparent));
      try {
        frame.present(target);
        await this.model.gpu.handle.idle("rendering");
      } finally {
        // Its memory serves the next frame.
        frame.free();
      }
    });
  }

  profile(drive, canvas, { transparent = false } = {}) {
    return this.#guard(async () => {
      const target = canvas && canvasOf(this.model.gpu, canvas);
      const profile = await this.#handle.profile(...this.#arguments(drive), alphaOf(transparent));
      const frame = profile.takeFrame();
      try {
        if (target) {
          frame.present(target);
          await this.model.gpu.handle.idle("rendering");
        }
        return profile.stages.map(([stage, milliseconds]) => ({ stage, milliseconds }));
      } finally {
        frame.free();
        profile.free();
      }
    });
  }

  picture(drive, { transparent = false } = {}) {
    return this.#frame(drive, transparent, async (frame) => {
      const data = new Uint8ClampedArray((await frame.pixels()).buffer);
      return new ImageData(data, frame.size, frame.size);
    });
  }

  async snapshot({ drive, transparent = false, type = "image/png" } = {}) {
    const picture = await this.picture(drive, { transparent });
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return canvas.convertToBlob({ type });
  }

  planes() {
    return this.#guard(async () => {
      const { plane_size, plane_channels } = this.model.config;
      return planePictures(await this.#handle.planes(), plane_size, plane_channels);
    });
  }

  inspect(drive) {
    const { low_res_size, low_res_channels } = this.model.config;
    return this.#frame(drive, false, async (frame) => {
      const lowRes = rgbPicture(await frame.lowRes(), low_res_size, low_res_channels);
      const depth = grayPicture(await frame.depth(), low_res_size);
      const data = new Uint8ClampedArray((await frame.pixels()).buffer);
      return { lowRes, depth, picture: new ImageData(data, frame.size, frame.size) };
    });
  }

  /** @internal Fills the next tile of an atlas. */
  fill(tiles, drive) {
    tiles.add(this.#handle, ...this.#arguments(drive));
  }

  free() {
    this.#handle.free();
  }

  #frame(drive, transparent, use) {
    return this.#guard(async () => {
      const alpha = transparent ? bindings.Alpha.Straight : bindings.Alpha.None;
      const frame = this.#handle.render(...this.#arguments(drive), alpha);
      try {
        return await use(frame);
      } finally {
        frame.free();
      }
    });
  }

  #channel(name) {
    const index = this.model.index.get(name);
    if (index === undefined) {
      throw new GpavatarError("argument", `expression: the model has no channel "${name}"`);
    }
    return index;
  }

  /** Expression, pose, transform and focal length: the drive's own, else those that were set. */
  #arguments(drive) {
    let expression = this.#expression;
    if (drive?.expression instanceof Float32Array) {
      expression = drive.expression;
    } else if (drive?.expression) {
      expression = new Float32Array(this.#expression.length);
      for (const [name, value] of Object.entries(drive.expression)) {
        expression[this.#channel(name)] = value;
      }
    }
    let pose = this.#pose;
    if (drive?.pose) {
      pose = Float32Array.from(drive.pose);
    } else if (drive?.head) {
      pose = new Float32Array(this.#pose.length);
      pose.set(drive.head);
    }
    const camera = drive?.camera ?? this.#camera;
    const transform =
      camera.transform === undefined
        ? bindings.orbit(camera.distance ?? 10.6, camera.elevation ?? 0, camera.azimuth ?? 0)
        : Float32Array.from(camera.transform.flat?.() ?? camera.transform);
    return [expression, pose, transform, camera.focal ?? FOCAL];
  }

  #guard(run) {
    return on(this.model.gpu, run);
  }
}

/** A sequence of drives. */
export class Motion {
  #handle;

  constructor(json) {
    try {
      this.#handle = new bindings.Motion(typeof json === "string" ? json : JSON.stringify(json));
    } catch (error) {
      throw typed(error);
    }
    this.name = this.#handle.name;
    this.duration = this.#handle.duration;
  }

  /** The drive for avatars of a model, at a time in seconds. */
  sample(model, seconds) {
    try {
      const { transform, focal, ...rest } = this.#handle.sample(model.handle, seconds);
      return { ...rest, camera: { transform, focal } };
    } catch (error) {
      throw typed(error, model.gpu);
    }
  }

  free() {
    this.#handle.free();
  }
}
