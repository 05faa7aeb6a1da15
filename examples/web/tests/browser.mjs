// Debian's Chromium without a window, on its software adapter, and how pictures are compared in it.

import { chromium } from "playwright-core";

/** Where the browser is: CHROMIUM, else where Debian puts it. */
const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** With a `camera`, the file of a video that the browser takes for one. */
export function launch({ camera } = {}) {
  const fake = camera && [
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-video-capture=${camera}`,
  ];
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      ...(fake ?? []),
      "--no-sandbox",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      // Without these a WebGPU canvas has no memory that the compositor can show.
      "--ignore-gpu-blocklist",
      "--use-angle=swiftshader",
      "--use-vulkan=swiftshader",
      "--enable-features=Vulkan",
      // On a busy machine a frame takes longer than a graphics driver may.
      "--disable-gpu-watchdog",
    ],
  });
}

/** A page whose console is copied to the terminal, and whose errors are failures. */
export async function open(browser, url, { context = {}, init } = {}) {
  const page = await (await browser.newContext(context)).newPage();
  page.failures = [];
  page.on("pageerror", (error) => page.failures.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      console.log(`  console ${message.type()}: ${message.text()}`);
    }
  });
  await page.addInitScript(tools);
  if (init) {
    await page.addInitScript(init);
  }
  await page.goto(url);
  return page;
}

/** For the `init` of a page: counts the calls to devices, and keeps the wasm's memory at hand. */
export function count() {
  globalThis.created = {};
  for (const name of Object.getOwnPropertyNames(GPUDevice.prototype)) {
    const original = Object.getOwnPropertyDescriptor(GPUDevice.prototype, name).value;
    if (/^create(?!CommandEncoder)/.test(name)) {
      GPUDevice.prototype[name] = function (...args) {
        created[name] = (created[name] ?? 0) + 1;
        return original.apply(this, args);
      };
    }
  }
  for (const name of ["instantiate", "instantiateStreaming"]) {
    const original = WebAssembly[name];
    WebAssembly[name] = async (...args) => {
      const result = await original.apply(WebAssembly, args);
      globalThis.memory = (result.instance ?? result).exports.memory;
      return result;
    };
  }
}

/** Runs in every page: `tools.*` for the expressions that tests evaluate there. */
function tools() {
  const draw = (source, width, height) => {
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(source, 0, 0);
    return context.getImageData(0, 0, width, height);
  };
  globalThis.tools = {
    /** Pixels of a canvas, whichever context draws on it. */
    canvas(selector) {
      const canvas = document.querySelector(selector);
      return draw(canvas, canvas.width, canvas.height);
    },
    /** Pixels of a picture file. */
    async file(url) {
      const response = await fetch(url);
      if (!response.ok) {
        throw new Error(`${url}: ${response.status}`);
      }
      const exact = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
      const bitmap = await createImageBitmap(await response.blob(), exact);
      return draw(bitmap, bitmap.width, bitmap.height);
    },
    /** Peak signal-to-noise ratio of red, green and blue in dB. */
    psnr(a, b) {
      if (a.width !== b.width || a.height !== b.height) {
        throw new Error(`${a.width} x ${a.height} and ${b.width} x ${b.height}`);
      }
      let squares = 0;
      for (let i = 0; i < a.data.length; i++) {
        squares += i % 4 === 3 ? 0 : (a.data[i] - b.data[i]) ** 2;
      }
      return 10 * Math.log10(255 ** 2 / Math.max(squares / (0.75 * a.data.length), 1e-9));
    },
    /** Largest and mean difference in a rectangle, given in shares of the picture. */
    difference(a, b, [left, top, right, bottom]) {
      let [largest, sum, count] = [0, 0, 0];
      for (let y = Math.floor(top * a.height); y < bottom * a.height; y++) {
        for (let x = Math.floor(left * a.width); x < right * a.width; x++) {
          for (let c = 0; c < 3; c++) {
            const i = 4 * (y * a.width + x) + c;
            const difference = Math.abs(a.data[i] - b.data[i]);
            largest = Math.max(largest, difference);
            sum += difference;
            count++;
          }
        }
      }
      return { largest, mean: sum / count };
    },
    /** Standard deviation of a picture's brightness. */
    contrast({ data }) {
      let [sum, squares] = [0, 0];
      for (let i = 0; i < data.length; i += 4) {
        const v = (data[i] + data[i + 1] + data[i + 2]) / 3;
        sum += v;
        squares += v * v;
      }
      const n = data.length / 4;
      return Math.sqrt(squares / n - (sum / n) ** 2);
    },
  };
}
