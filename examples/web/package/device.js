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
  /** Whether a device of somebody else's was lost. */
  #lost = false;

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

  static async fromDevice(device) {
    if (typeof device?.createComputePipeline !== "function") {
      throw new GpavatarError("argument", "device: expected a GPUDevice");
    }
    await start();
    try {
      const gpu = new Gpu(await instead(offering(device), () => bindings.Gpu.adopt()));
      device.lost.then(() => (gpu.#lost = true));
      return gpu;
    } catch (error) {
      throw typed(error);
    }
  }

  get device() {
    return this.handle.device;
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
    return this.#lost || this.handle.lost;
  }
}

/** What `navigator.gpu` would be if this device were the only one. */
function offering(device) {
  const { features, limits } = device;
  // Browsers tell it since 2025.
  const info = device.adapterInfo ?? { description: "" };
  const requestDevice = () => Promise.resolve(device);
  const adapter = { features, limits, info, requestDevice };
  return { requestAdapter: () => Promise.resolve(adapter) };
}

/**
 * Runs something with another `navigator.gpu`: wgpu has no way to wrap a device, but asks only this
 * object for one. Nothing else runs meanwhile.
 */
function instead(gpu, run) {
  const before = Object.getOwnPropertyDescriptor(navigator, "gpu");
  Object.defineProperty(navigator, "gpu", { configurable: true, value: gpu });
  try {
    return run();
  } finally {
    if (before) {
      Object.defineProperty(navigator, "gpu", before);
    } else {
      delete navigator.gpu;
    }
  }
}
