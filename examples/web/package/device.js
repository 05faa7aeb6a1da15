// A WebGPU device, and what becomes of errors on it.

import init, * as bindings from "./bindings.js";
import { GpavatarError } from "./errors.js";

let started;

/** Loads the wasm, once. */
function start() {
  const url = new URL("./bindings_bg.wasm", import.meta.url);
  started ??= init({ module_or_path: url }).catch((error) => {
    started = undefined;
    throw new GpavatarError("network", `the wasm did not load: ${error.message}`, { cause: error });
  });
  return started;
}

/** Turns errors of the bindings into a `GpavatarError`. */
export function typed(error, gpu) {
  if (error instanceof GpavatarError) {
    return error;
  }
  if (gpu?.lost) {
    return new GpavatarError("device-lost", "the device was lost", { cause: error });
  }
  return new GpavatarError(error?.kind ?? "internal", error?.message ?? String(error), {
    cause: error,
  });
}

/** Runs something on a device. */
export async function on(gpu, run) {
  if (gpu.lost) {
    throw typed(undefined, gpu);
  }
  try {
    return await run();
  } catch (error) {
    if (error?.kind === undefined || error.kind === "gpu") {
      // A lost device fails in many ways before the browser reports it.
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw typed(error, gpu);
  }
}

/** A WebGPU device, to be shared by models. */
export class Gpu {
  /** @internal */ handle;

  constructor(handle) {
    this.handle = handle;
  }

  static async request() {
    if (!globalThis.navigator?.gpu) {
      throw new GpavatarError("no-webgpu", "this browser has no WebGPU");
    }
    await start();
    // Asked first, so that the reason is the browser's and not a driver's on some other system.
    if (!(await navigator.gpu.requestAdapter())) {
      throw new GpavatarError("no-adapter", "this browser offers no WebGPU adapter");
    }
    try {
      return new Gpu(await bindings.Gpu.request());
    } catch (error) {
      throw typed(error);
    }
  }

  get description() {
    return this.handle.description;
  }

  get software() {
    return this.handle.software;
  }

  get timestamps() {
    return this.handle.timestamps;
  }

  get lost() {
    return this.handle.lost;
  }
}
