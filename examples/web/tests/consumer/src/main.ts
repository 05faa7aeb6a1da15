// Uses the package in a page and in a worker, and writes down what it found.

import { ARKIT_CHANNELS, Gpu, GpavatarError, type ErrorKind } from "gpavatar";
import { MESSAGE_VERSION, parseMessage } from "gpavatar/drivers.js";

export interface Found {
  /** Whether the package computes on the page's own device. */
  same: boolean;
  /** Whether `navigator.gpu` is the browser's again. */
  restored: boolean;
  worker: string;
  kind: ErrorKind | undefined;
  channels: number;
}

async function find(): Promise<Found> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const answer = new Promise<string>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<string>) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
  const before = navigator.gpu;
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter!.requestDevice();
  const gpu = await Gpu.fromDevice(device);
  const { blendshapes } = parseMessage({ version: MESSAGE_VERSION, blendshapes: { jawOpen: 1 } });
  let kind: ErrorKind | undefined;
  try {
    parseMessage("{}");
  } catch (error) {
    kind = error instanceof GpavatarError ? error.kind : undefined;
  }
  return {
    same: gpu.device === device,
    restored: navigator.gpu === before,
    worker: await answer,
    kind,
    channels: blendshapes.length === ARKIT_CHANNELS.length ? blendshapes.length : 0,
  };
}

Object.assign(globalThis, { found: find() });
