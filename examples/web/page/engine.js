// Model, avatar and render loop beside the page. It communicates by messages, so that it runs in a
// worker if a canvas can be handed over, otherwise in the page itself.

import { Avatar, Gpu, Model, Motion, Tracker } from "./gpavatar/index.js";

/**
 * A frame whose stages are timed is slower than others, so one is timed in this many milliseconds
 * and frames.
 */
const STAGES_EVERY = { milliseconds: 1000, frames: 5 };
/** Milliseconds between two pictures of the intermediates. */
const INSIDE_EVERY = 400;
/** Milliseconds between two checks of the device. */
const WATCH_EVERY = 500;
/** Errors that say nothing about the device or the model. */
const HARMLESS = ["argument", "format", "network"];

/** Starts an engine that posts its messages by `post(message, transferables)`. */
export function engine(post) {
  let canvas;
  let model;
  let avatar;
  /** Avatars that a frame in flight may still use. */
  let retired = [];
  /** The tracker's files and options, and what loads it when it is first needed. */
  let tracking = {};
  let tracker;
  /** Whether the visitor's face drives, and the drive of its last frame. */
  let live = false;
  let followed;
  let motion;
  let motionStart = 0;
  let followsCamera = true;
  let visible = true;
  let inside = false;
  let transparent = false;
  let dirty = false;
  let running = false;
  let failed = false;
  let lastStages = 0;
  /** The first frame is to be seen soon, and the second is timed. */
  let untimed = STAGES_EVERY.frames - 2;
  let lastInside = 0;
  let times = [];
  const drive = {
    expression: new Float32Array(),
    head: new Float32Array(3),
    camera: { distance: 10.6, elevation: 0, azimuth: 0 },
  };

  function fail(error) {
    const kind = error.kind ?? "internal";
    const fatal = !avatar || !HARMLESS.includes(kind);
    failed ||= fatal;
    post({ type: "error", kind, message: error.message, fatal });
  }

  /** Notices a device that is lost while nothing is rendered. */
  setInterval(() => {
    if (model?.gpu.lost && !failed) {
      fail({ kind: "device-lost", message: "the device was lost" });
    }
  }, WATCH_EVERY);

  function release() {
    retired.forEach((old) => old.free());
    retired = [];
  }

  /** The state that the next frame shows. */
  function next(now) {
    if (live && followed) {
      return followsCamera ? followed : { ...followed, camera: drive.camera };
    }
    if (!motion) {
      return drive;
    }
    const seconds = ((now - motionStart) / 1000) % Math.max(motion.duration, 1 / 60);
    const sample = motion.sample(model, seconds);
    const camera = followsCamera ? sample.camera : drive.camera;
    return { expression: sample.expression, pose: sample.pose, camera };
  }

  async function frame(now) {
    const shown = next(now);
    const start = performance.now();
    const timed =
      model.gpu.timestamps &&
      untimed + 1 >= STAGES_EVERY.frames &&
      start - lastStages > STAGES_EVERY.milliseconds;
    if (timed) {
      post({ type: "stages", stages: await avatar.profile(shown, canvas, { transparent }) });
    } else {
      await avatar.render(shown, canvas, { transparent });
    }
    const end = performance.now();
    untimed = timed ? 0 : untimed + 1;
    lastStages = timed ? end : lastStages;
    // Over two seconds, and at least two frames.
    times = times.filter((time, i) => i === times.length - 1 || end - time.end < 2000);
    times.push({ start, end, timed });
    // Without the frames that are slower for being timed, unless there are no others.
    const plain = times.filter((time) => !time.timed);
    const counted = plain.length ? plain : times;
    const milliseconds =
      counted.reduce((sum, time) => sum + time.end - time.start, 0) / counted.length;
    const span = times.length > 1 ? end - times[0].end : 0;
    post({
      type: "frame",
      milliseconds,
      fps: span > 0 ? (1000 * (times.length - 1)) / span : undefined,
    });
    // The last one before the avatar stands still is not missed.
    const last = !dirty && !motion && !live;
    if (inside && (last || now - lastInside > INSIDE_EVERY)) {
      lastInside = performance.now();
      post({ type: "inside", pictures: await avatar.inspect(shown) });
    }
  }

  /** Renders while there is something new to see. */
  async function loop() {
    if (running) {
      return;
    }
    running = true;
    while (avatar && canvas && visible && !failed && (dirty || motion)) {
      dirty = false;
      const now = await new Promise((resolve) => requestAnimationFrame(resolve));
      try {
        await frame(now);
      } catch (error) {
        fail(error);
      }
      release();
    }
    running = false;
    if (times.length) {
      times = [];
      post({ type: "rest" });
    }
  }

  function redraw() {
    dirty = true;
    loop();
  }

  /** Runs one after the other, so that no avatar is built on a model that is being replaced. */
  let queue = Promise.resolve();
  function enqueue(task) {
    queue = queue.then(task).catch(fail);
  }

  function track() {
    const loading = (tracker ??= Tracker.load(model, tracking.files, {
      mirror: tracking.mirror,
      calibration: tracking.calibration,
      onProgress: (progress) => post({ type: "networks", ...progress }),
    }));
    loading.catch(() => {
      if (tracker === loading) {
        tracker = undefined;
      }
    });
    return loading;
  }

  /** Cuts the faces out of photos, each with its camera. */
  async function cutOut(pictures) {
    const looking = await track();
    const faces = [];
    for (const [i, picture] of pictures.entries()) {
      post({ type: "looking", index: i, count: pictures.length });
      const face = await looking.still(picture);
      if (face) {
        faces.push(face);
      }
    }
    post({ type: "cut", pictures: faces.map(({ image }) => image), of: pictures.length });
    return {
      pictures: faces.map(({ image }) => image),
      cameras: faces.map(({ camera }) => camera),
    };
  }

  const handlers = {
    start({ canvas: given, weights, precision, tracking: asked }) {
      enqueue(async () => {
        // Left by a device that was lost.
        while (running) {
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        for (const old of [avatar, model]) {
          try {
            old?.free();
          } catch {
            // A call that never returned still holds it.
          }
        }
        // On the same device.
        tracker?.then((old) => old.free()).catch(() => undefined);
        avatar = model = tracker = undefined;
        tracking = asked;
        live = false;
        failed = false;
        canvas = given;
        const began = performance.now();
        const gpu = await Gpu.request();
        model = await Model.load(
          weights,
          (progress) => post({ type: "progress", ...progress }),
          { gpu, precision },
        );
        drive.expression = new Float32Array(model.channels.length);
        post({
          type: "ready",
          description: gpu.description,
          software: gpu.software,
          timestamps: gpu.timestamps,
          channels: [...model.channels],
          config: model.config,
          milliseconds: performance.now() - began,
        });
      });
    },
    avatar({ pictures, cameras, shape, photos }) {
      enqueue(async () => {
        const began = performance.now();
        if (photos) {
          ({ pictures, cameras } = await cutOut(pictures));
          if (!pictures.length) {
            return;
          }
        }
        const built = await Avatar.fromImages(model, pictures, { cameras, shape });
        if (avatar) {
          retired.push(avatar);
        }
        avatar = built;
        if (!running) {
          release();
        }
        post({ type: "avatar", milliseconds: performance.now() - began });
        if (inside) {
          post({ type: "planes", planes: await avatar.planes() });
        }
        lastInside = 0;
        redraw();
      });
    },
    expression({ values }) {
      drive.expression.set(values);
      redraw();
    },
    head({ rotation }) {
      drive.head.set(rotation);
      redraw();
    },
    camera({ camera, follow = false }) {
      Object.assign(drive.camera, camera);
      followsCamera = follow;
      redraw();
    },
    live({ value }) {
      live = value;
      followed = undefined;
      followsCamera = true;
      tracker?.then((tracker) => tracker.restart()).catch(() => undefined);
      redraw();
    },
    /** A frame of the visitor's camera. The page sends the next one after the answer. */
    async frame({ id, picture, time }) {
      try {
        const found = await (await track()).frame(picture, { time });
        const { drive, ...face } = found ?? { dropped: true };
        if (live && drive) {
          followed = drive;
          redraw();
        }
        post({ type: "face", id, ...face, expression: drive?.expression });
      } catch (error) {
        post({ type: "face", id, error: error.message });
      } finally {
        picture.close();
      }
    },
    async calibrate() {
      (await tracker)?.calibrate();
    },
    async mirror({ value }) {
      tracking.mirror = value;
      const loaded = await tracker?.catch(() => undefined);
      if (loaded) {
        loaded.mirror = value;
      }
    },
    motion({ json }) {
      try {
        motion?.free();
        motion = json ? new Motion(json) : undefined;
      } catch (error) {
        motion = undefined;
        fail(error);
      }
      motionStart = performance.now();
      followsCamera = true;
      redraw();
    },
    visible({ value }) {
      visible = value;
      if (visible) {
        redraw();
      }
    },
    inside({ value }) {
      inside = value;
      lastInside = 0;
      if (inside && avatar) {
        enqueue(async () => post({ type: "planes", planes: await avatar.planes() }));
        redraw();
      }
    },
    background({ transparent: value }) {
      transparent = value;
      redraw();
    },
    /** On black, on nothing (`none`), or on a colour. */
    snapshot({ background }) {
      enqueue(async () => {
        const drive = next(performance.now());
        const picture = await avatar.picture(drive, { transparent: background !== "black" });
        const file = new OffscreenCanvas(picture.width, picture.height);
        const context = file.getContext("2d");
        context.putImageData(picture, 0, 0);
        if (background !== "none") {
          context.globalCompositeOperation = "destination-over";
          context.fillStyle = background;
          context.fillRect(0, 0, picture.width, picture.height);
        }
        post({ type: "snapshot", blob: await file.convertToBlob() });
      });
    },
  };

  return (message) => handlers[message.type](message);
}
