// The engine in a worker: the page stays responsive whatever the device does.

import { engine } from "./engine.js";

const handle = engine((message, transfer) => postMessage(message, transfer));
addEventListener("message", ({ data }) => handle(data));

/** Whether WebGPU and its canvases also exist in workers, which some browsers lack. */
const capable =
  Boolean(navigator.gpu) && new OffscreenCanvas(1, 1).getContext("webgpu") !== null;
postMessage({ type: "hello", capable });
