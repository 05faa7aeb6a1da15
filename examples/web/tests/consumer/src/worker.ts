import { Gpu } from "gpavatar";

Gpu.request().then(
  (gpu) => postMessage(gpu.lost ? "lost" : "a device"),
  (error: unknown) => postMessage(String(error)),
);
