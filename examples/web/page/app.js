// The page: controls in, messages to the engine out.

import { backgrounds } from "./background.js";
import { faceCamera, hasNets } from "./camera.js";
import { DRAWN, ERRORS, MOTIONS, NETS, NO_NETS, PRESETS } from "./content.js";
import { $, element, paint, press } from "./dom.js";
import { ARKIT_CHANNELS, parseMessage } from "./gpavatar/drivers.js";
import { orbit } from "./orbit.js";
import { expressionSliders } from "./sliders.js";
import { showStages } from "./stages.js";

/** Where the network has seen heads from. */
const ORBIT = { azimuth: 45, elevation: 20, nearest: 7.5, farthest: 15 };
const STRAIGHT = { distance: 10.6, elevation: 0, azimuth: 0 };

const parameters = new URLSearchParams(location.search);

const state = {
  ready: false,
  /** Values by ARKit name. */
  values: Object.fromEntries(ARKIT_CHANNELS.map((name) => [name, 0])),
  head: [0, 0, 0],
  camera: { ...STRAIGHT },
  channels: [],
  samples: [],
  /** Whether the tracker's files are there. */
  nets: false,
  /** Sources of the avatar that is asked for, and of the one that is shown, needed again when the device was lost. */
  person: undefined,
  shown: undefined,
  motion: undefined,
};

// The engine, in a worker if the canvas can go there.

const worker = parameters.get("worker") === "0" ? undefined : await startWorker();
const post = worker
  ? (message, transfer = []) => worker.postMessage(message, transfer)
  : (await import("./engine.js")).engine((message) => receive(message));

/** What the avatar is rendered anew for. */
const REDRAWS = ["expression", "head", "camera", "motion", "background"];

function send(message, transfer) {
  if (REDRAWS.includes(message.type) && document.body.dataset.state === "ready") {
    busy(true);
  }
  post(message, transfer);
}

/** Shows that a frame is on its way. */
function busy(value) {
  $("stage").setAttribute("aria-busy", String(value));
}

/** A worker that can render, if this browser has such. */
async function startWorker() {
  if (!("transferControlToOffscreen" in HTMLCanvasElement.prototype)) {
    return undefined;
  }
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  const capable = await new Promise((resolve) => {
    worker.addEventListener("error", () => resolve(false), { once: true });
    worker.addEventListener("message", ({ data }) => resolve(data.capable), { once: true });
  });
  if (!capable) {
    worker.terminate();
    return undefined;
  }
  worker.addEventListener("message", ({ data }) => receive(data));
  worker.addEventListener("error", (event) => {
    receive({ type: "error", kind: "internal", message: event.message, fatal: true });
  });
  return worker;
}

function start() {
  $("error").hidden = true;
  enableControls();
  loading("Starting");
  const weights = new URL(parameters.get("model") ?? "weights/demo.safetensors", document.baseURI);
  // A canvas that showed pictures of a device stays with it, even when it is lost.
  const canvas = element("canvas", { id: "canvas" });
  $("avatar").replaceChildren(canvas);
  const target = worker ? canvas.transferControlToOffscreen() : canvas;
  const precision = parameters.get("precision") ?? undefined;
  const files = Object.entries(NETS).map(([name, url]) => [name, new URL(url, document.baseURI).href]);
  const tracking = {
    files: Object.fromEntries(files),
    mirror: $("mirror").checked,
    calibration: parameters.get("calibration") ?? undefined,
  };
  send({ type: "start", weights: weights.href, precision, tracking, canvas: target }, [target]);
}

const receivers = {
  progress({ loaded, total, cached }) {
    if (loaded === total) {
      loading("Preparing the network");
    } else {
      const verb = cached ? "Reading" : "Downloading";
      loading(`${verb} the network, ${share(loaded, total)}`, total && loaded / total);
    }
  },
  ready({ description, software, channels, timestamps, config }) {
    state.ready = true;
    state.channels = channels;
    $("stage").style.setProperty("--size", config.output_size);
    const name = description.split(" (")[0].trim();
    $("adapter").textContent = software
      ? "Software adapter: expect seconds per frame"
      : name || "WebGPU";
    if (!timestamps) {
      const text = "This device does not tell";
      $("stages").replaceChildren(element("p", { className: "quiet", textContent: text }));
    }
    sliders.build();
    if (state.person) {
      buildPerson(state.person);
    } else if (state.samples.length) {
      choose(state.samples[0]);
    } else {
      loading("Add a photo to begin", 0);
    }
  },
  avatar() {
    $("loading").hidden = true;
    $("snapshot").disabled = false;
    document.body.dataset.state = "ready";
    state.shown = state.person;
    face.enable(state.nets);
    sendAll();
  },
  networks({ loaded, total }) {
    const text = `Loading the networks for faces, ${share(loaded, total)}`;
    face.say(text);
    if (state.person?.photos && state.person !== state.shown) {
      loading(text, total && loaded / total);
    }
  },
  looking({ index, count }) {
    loading(count > 1 ? `Looking for a face in photo ${index + 1} of ${count}` : "Looking for a face");
  },
  cut({ pictures, of }) {
    if (!pictures.length) {
      keepPerson();
      notice(
        of > 1
          ? "No face was found in these photos. Is it large enough, and seen from the front?"
          : "No face was found in this photo. Is it large enough, and seen from the front?",
      );
      return;
    }
    loading("Building the avatar");
    showSources(
      pictures.map((picture) => {
        const canvas = element("canvas");
        paint(canvas, picture);
        return canvas;
      }),
    );
    const missing = of - pictures.length;
    const without = missing ? ` In ${missing} of the photos there is no face.` : "";
    notice(`The face was cut out on this device.${without} ${DRAWN}`);
  },
  face(message) {
    face.see(message);
  },
  frame({ fps, milliseconds }) {
    const rate = fps === undefined ? "" : `${fps < 10 ? fps.toFixed(1) : Math.round(fps)} fps, `;
    $("speed").textContent = `${rate}${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms`;
    document.body.dataset.frames = Number(document.body.dataset.frames ?? 0) + 1;
    if (state.motion || face.running) {
      busy(false);
    }
  },
  rest() {
    busy(false);
    document.body.dataset.rests = Number(document.body.dataset.rests ?? 0) + 1;
  },
  stages: ({ stages }) => showStages(stages),
  planes({ planes }) {
    planes.forEach((plane, i) => paint($(`plane-${i}`), plane));
  },
  inside({ pictures }) {
    paint($("low-res"), pictures.lowRes);
    paint($("depth"), pictures.depth);
    paint($("final"), pictures.picture);
  },
  snapshot({ blob }) {
    const link = element("a", { href: URL.createObjectURL(blob), download: "avatar.png" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  },
  error({ kind, message, fatal }) {
    if (!fatal) {
      notice(message);
      keepPerson();
      return;
    }
    face.stop();
    face.enable(false);
    busy(false);
    enableControls(false);
    const [title, hint] = ERRORS[kind] ?? ["Something went wrong", "This is likely a bug here."];
    $("error-title").textContent = title;
    $("error-hint").textContent = hint;
    $("error-message").textContent = message;
    $("retry").hidden = kind === "no-webgpu";
    $("loading").hidden = true;
    $("error").hidden = false;
    document.body.dataset.state = "failed";
  },
};

/** "1.2 of 3.4 MB". */
function share(loaded, total) {
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  return total ? `${megabytes(loaded)} of ${megabytes(total)} MB` : `${megabytes(loaded)} MB`;
}

function receive(message) {
  receivers[message.type](message);
}

// People.

function choose(sample) {
  const load = async () => {
    const pictures = await Promise.all(
      sample.sources.map(async ({ picture }) => {
        const response = await fetch(`weights/samples/${picture}`);
        if (!response.ok) {
          throw new Error(`${picture}: ${response.status}`);
        }
        return response.blob();
      }),
    );
    return {
      pictures,
      cameras: sample.sources.map(({ transform }) => transform ?? null),
      shape: sample.shape,
    };
  };
  buildPerson({ name: sample.name, load });
}

function take(files) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/"));
  if (!pictures.length) {
    notice("That holds no picture.");
    return;
  }
  if (!state.nets) {
    notice(`${NO_NETS} Photos are taken as they are: frontal, upright and before black. ${DRAWN}`);
  }
  buildPerson({ name: "", photos: state.nets, load: async () => ({ pictures, photos: state.nets }) });
}

/** Builds an avatar of a person: its button's name, what loads its pictures, and whether they are photos to be cut out. */
async function buildPerson(person) {
  state.person = person;
  press($("people"), person.name);
  if (!state.ready) {
    return;
  }
  loading(person.photos ? "Looking for a face" : "Building the avatar");
  try {
    const loaded = await person.load();
    if (!person.photos) {
      showSources(
        loaded.pictures.map((picture) => {
          const image = element("img", { alt: "", src: URL.createObjectURL(picture) });
          image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
          return image;
        }),
      );
    }
    send({ type: "avatar", ...loaded });
  } catch (error) {
    receive({ type: "error", kind: "network", message: error.message, fatal: false });
  }
}

/** Stays with the person that is shown, if there is one. */
function keepPerson() {
  state.person = state.shown;
  press($("people"), state.shown?.name ?? "");
  if (state.shown) {
    $("loading").hidden = true;
  } else {
    loading("Add a photo to begin", 0);
  }
}

function showSources(pictures) {
  $("inside-sources").replaceChildren(...pictures.slice(0, 3));
}

async function listPeople() {
  const add = element("button", { type: "button", className: "add", textContent: "Your photos" });
  add.addEventListener("click", () => $("files").click());
  $("people").append(add);
  try {
    const { samples } = await (await fetch("weights/samples/samples.json")).json();
    state.samples = samples;
  } catch {
    notice("The sample people could not be loaded.");
  }
  for (const sample of state.samples) {
    const button = element("button", { type: "button", title: sample.name });
    button.dataset.value = sample.name;
    const image = element("img", {
      alt: sample.name,
      src: `weights/samples/${sample.sources[0].picture}`,
    });
    button.append(image);
    button.addEventListener("click", () => choose(sample));
    $("people").append(button);
  }
}

// Expression.

const sliders = expressionSliders({
  state,
  /** A hand takes over from motions and presets. */
  onTouch() {
    stopMotion();
    press($("presets"), "");
  },
  onExpression: sendExpression,
  onHead: sendHead,
});

let tween;

/** Goes over to an expression in a fifth of a second. */
function apply(target) {
  stopMotion();
  cancelAnimationFrame(tween);
  const from = { ...state.values };
  const head = [...state.head];
  const began = performance.now();
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const step = (now) => {
    const t = still ? 1 : Math.min(1, Math.max(0, now - began) / 200);
    const eased = t * t * (3 - 2 * t);
    for (const channel of ARKIT_CHANNELS) {
      const to = target[channel] ?? 0;
      state.values[channel] = t === 1 ? to : from[channel] + eased * (to - from[channel]);
    }
    state.head = head.map((angle) => (t === 1 ? 0 : angle * (1 - eased)));
    sendExpression();
    sendHead();
    sliders.refresh();
    if (t < 1) {
      tween = requestAnimationFrame(step);
    }
  };
  tween = requestAnimationFrame(step);
}

function sendExpression() {
  const values = Float32Array.from(state.channels, (channel) => state.values[channel] ?? 0);
  send({ type: "expression", values });
}

function sendHead() {
  send({ type: "head", rotation: state.head });
}

function sendAll() {
  sendExpression();
  sendHead();
  if (!state.motion) {
    send({ type: "camera", camera: state.camera, follow: face.running });
  }
}

// Motions and live drivers.

async function play(name) {
  cancelAnimationFrame(tween);
  const response = await fetch(`weights/motions/${name}.json`);
  if (!response.ok) {
    notice(`The motion could not be loaded: ${response.status}`);
    return;
  }
  state.motion = name;
  press($("motions"), name);
  press($("presets"), "");
  send({ type: "motion", json: await response.text() });
}

function stopMotion() {
  if (state.motion) {
    state.motion = undefined;
    press($("motions"), "");
    send({ type: "motion", json: null });
    sendAll();
  }
}

/** A face tracker in another window or frame of this origin can drive the avatar. */
if (typeof BroadcastChannel !== "undefined") {
  const channel = new BroadcastChannel("gpavatar");
  channel.addEventListener("message", ({ data }) => {
    if (face.running) {
      return;
    }
    try {
      const { blendshapes, head } = parseMessage(data);
      stopMotion();
      ARKIT_CHANNELS.forEach((name, i) => (state.values[name] = blendshapes[i]));
      state.head = [...head];
      sendExpression();
      sendHead();
      sliders.refresh();
    } catch (error) {
      notice(error.message);
    }
  });
}

// The visitor's face.

const face = faceCamera({
  send,
  /** The face takes the controls, or gives them back. */
  onRun(running) {
    if (running) {
      stopMotion();
      cancelAnimationFrame(tween);
      press($("presets"), "");
    }
    enableControls();
    if (!running) {
      apply({});
    }
  },
  onExpression(values) {
    state.channels.forEach((channel, i) => (state.values[channel] = values[i]));
    sliders.refresh();
  },
});

/** What the face drives cannot be set by hand meanwhile, and without a device nothing can be. */
function enableControls(alive = true) {
  const enable = (selector, value) =>
    document.querySelectorAll(selector).forEach((control) => (control.disabled = !value));
  enable("#motions button, #presets button, #sliders input, #sides", alive && !face.running);
  enable("#people button, #face, #backgrounds > *", alive);
  enable("#snapshot", alive && state.shown !== undefined);
}

// The camera.

/** Moves the camera. A motion or a face that moves it, too, does so again if it may `follow`. */
function look(change, follow = false) {
  const clamp = (value, most) => Math.min(most, Math.max(-most, value));
  const camera = { ...state.camera, ...change };
  camera.azimuth = clamp(camera.azimuth, ORBIT.azimuth);
  camera.elevation = clamp(camera.elevation, ORBIT.elevation);
  camera.distance = Math.min(ORBIT.farthest, Math.max(ORBIT.nearest, camera.distance));
  state.camera = camera;
  send({ type: "camera", camera, follow });
}

orbit($("avatar"), {
  camera: () => state.camera,
  look,
  straight: () => look(STRAIGHT, true),
});

// Everything else on the page.

const background = backgrounds((transparent) => send({ type: "background", transparent }));

function loading(text, share) {
  $("loading").hidden = false;
  $("loading-text").textContent = text;
  $("progress").hidden = share === 0;
  if (share) {
    $("progress").value = share;
  } else {
    $("progress").removeAttribute("value");
  }
}

let noticeTimer;
function notice(text) {
  $("notice").textContent = text;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => ($("notice").textContent = ""), 12_000);
}

for (const [name, label] of MOTIONS) {
  const button = element("button", { type: "button", textContent: label });
  button.dataset.value = name;
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => (state.motion === name ? stopMotion() : play(name)));
  $("motions").append(button);
}
for (const [name, values] of PRESETS) {
  const button = element("button", { type: "button", textContent: name });
  button.dataset.value = name;
  button.addEventListener("click", () => {
    apply(values);
    press($("presets"), name);
  });
  $("presets").append(button);
}

$("face").addEventListener("click", () => look(STRAIGHT, true));
$("snapshot").addEventListener("click", () => {
  send({ type: "snapshot", background: background.value });
});
$("retry").addEventListener("click", start);
$("inside").addEventListener("toggle", () => {
  send({ type: "inside", value: $("inside").open });
});
$("files").addEventListener("change", () => {
  take($("files").files);
  $("files").value = "";
});

addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").hidden = false;
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) {
    $("drop").hidden = true;
  }
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").hidden = true;
  take(event.dataTransfer.files);
});
document.addEventListener("visibilitychange", () => {
  send({ type: "visible", value: !document.hidden });
});

[state.nets] = await Promise.all([hasNets(), listPeople()]);
if (!state.nets) {
  face.say(NO_NETS);
}
start();
