// Photos and a camera on the page: the astronaut's picture is both.

import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { serve } from "../serve.mjs";
import { launch, open } from "./browser.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

/** A software adapter on a busy machine takes its time. */
const PATIENCE = { timeout: 300_000 };
const VIDEO = path("../out/astronaut.y4m");
const [WIDTH, HEIGHT] = [640, 480];

let servers;
let browser;
let page;

const base = (server) => `http://127.0.0.1:${server.address().port}/`;

before(async () => {
  await mkdir(path("../out"), { recursive: true });
  const mounts = { "/out/": path("../out/"), "/golden/": path("../../../tests/golden/track/") };
  servers = [
    await serve(path("../dist"), 0, mounts),
    await serve(path("../dist"), 0, { "/weights/track/": path("../out/none/") }),
  ];
  await film();
  browser = await launch({ camera: VIDEO });
  const context = { viewport: { width: 1280, height: 1000 }, permissions: ["camera"] };
  page = await open(browser, `${base(servers[0])}?calibration=manual`, { context });
  await page.waitForSelector('body[data-state="ready"]', PATIENCE);
  await rest(0);
  await page.evaluate(() => (globalThis.rest = tools.canvas("#canvas")));
});

after(async () => {
  await browser?.close();
  servers?.forEach((server) => server.close());
});

/** A film of the astronaut that stands still, in the format that the browser reads. */
async function film() {
  const browser = await launch();
  const page = await open(browser, `${base(servers[0])}golden/astronaut.png`);
  const base64 = await page.evaluate(
    async ([width, height]) => {
      const context = new OffscreenCanvas(width, height).getContext("2d");
      const picture = document.querySelector("img");
      const side = (height / picture.naturalHeight) * picture.naturalWidth;
      context.drawImage(picture, (width - side) / 2, 0, side, height);
      const { data } = context.getImageData(0, 0, width, height);
      // Brightness, then the two colours of 2 x 2 pixels each.
      const at = (x, y) => data.subarray(4 * (y * width + x), 4 * (y * width + x) + 3);
      const bytes = [];
      const plane = (step, r, g, b, shift) => {
        for (let y = 0; y < height; y += step) {
          for (let x = 0; x < width; x += step) {
            const p = at(x, y);
            bytes.push(Math.max(0, Math.min(255, shift + r * p[0] + g * p[1] + b * p[2])));
          }
        }
      };
      plane(1, 0.257, 0.504, 0.098, 16);
      plane(2, -0.148, -0.291, 0.439, 128);
      plane(2, 0.439, -0.368, -0.071, 128);
      return Uint8Array.from(bytes).toBase64();
    },
    [WIDTH, HEIGHT],
  );
  await browser.close();
  const header = Buffer.from(`YUV4MPEG2 W${WIDTH} H${HEIGHT} F10:1 Ip A1:1 C420jpeg\n`);
  const frame = [Buffer.from("FRAME\n"), Buffer.from(base64, "base64")];
  await writeFile(VIDEO, Buffer.concat([header, ...frame, ...frame]));
}

/** Waits until the avatar has stood still more often than `before`. */
async function rest(before) {
  await page.waitForFunction((n) => Number(document.body.dataset.rests ?? 0) > n, before, PATIENCE);
}

const rests = () => page.evaluate(() => Number(document.body.dataset.rests ?? 0));

/** Stops the camera, and waits for the avatar's neutral face. A frame that is under way may end first. */
async function stop() {
  await page.click("#camera");
  const neutral = () =>
    Number(document.querySelector("#slider-mouthSmileLeft, #slider-mouthSmile").value) === 0 &&
    document.getElementById("stage").getAttribute("aria-busy") === "false";
  await page.waitForFunction(neutral, undefined, PATIENCE);
}

const smile = () => page.inputValue("#slider-mouthSmileLeft, #slider-mouthSmile").then(Number);
const note = () => page.textContent("#camera-note");
const disabled = (selector) => page.isDisabled(selector);

/** Waits for so many more frames of the avatar. */
async function frames(count) {
  const before = await page.evaluate(() => Number(document.body.dataset.frames));
  await page.waitForFunction((n) => Number(document.body.dataset.frames) >= n, before + count, PATIENCE);
}

test("the camera drives the avatar", async () => {
  assert.match(await note(), /stays on this device/);
  assert.ok(await disabled("#calibrate"));
  await page.click("#camera");
  // At once, whatever comes.
  assert.match(await note(), /Asking for the camera|Loading|Looking/);
  await page.waitForFunction(
    () => Number(document.getElementById("preview").dataset.presence) > 0.9,
    undefined,
    PATIENCE,
  );
  await frames(3);
  console.log(`  presence ${await page.getAttribute("#preview", "data-presence")}`);
  console.log(`  smile ${await smile()}, ${await page.textContent("#speed")}`);
  assert.ok((await smile()) > 0.4, `${await smile()}`);
  const found = await page.evaluate(() => {
    const now = tools.canvas("#canvas");
    const marks = document.getElementById("marks");
    const drawn = marks.getContext("2d").getImageData(0, 0, marks.width, marks.height).data;
    return {
      mouth: tools.difference(rest, now, [0.35, 0.55, 0.65, 0.85]).mean,
      marks: drawn.filter((alpha, i) => i % 4 === 3 && alpha > 128).length,
    };
  });
  console.log(`  ${JSON.stringify(found)}`);
  assert.ok(found.mouth > 2 && found.marks > 478, JSON.stringify(found));
  for (const control of ["#motions button", "#presets button", "#sliders input", "#sides"]) {
    assert.ok(await disabled(`${control} >> nth=0`), control);
  }
  await page.screenshot({ path: path("../out/camera.png") });
});

test("calibrated, the face is neutral; a mirror turns the preview", async () => {
  await page.click("#calibrate");
  const still = () => Number(document.querySelector("#slider-mouthSmileLeft").value) < 0.1;
  await page.waitForFunction(still, undefined, PATIENCE);
  assert.match(await note(), /at rest is known/);
  assert.ok(await page.isVisible(".preview.mirrored"));
  await page.uncheck("#mirror");
  assert.ok(!(await page.isVisible(".preview.mirrored")));
});

test("the camera stops, and the avatar comes to rest", async () => {
  await stop();
  assert.ok(await page.isHidden("#preview"));
  assert.ok(await disabled("#calibrate"));
  assert.ok(!(await disabled("#presets button >> nth=0")));
  assert.match(await page.textContent("#camera"), /Use my camera/);
  assert.ok((await page.evaluate(() => tools.psnr(rest, tools.canvas("#canvas")))) > 40);
});

test("the camera is stopped and used again at once", async () => {
  for (let i = 0; i < 3; i++) {
    await page.click("#camera");
  }
  const found = () => document.getElementById("preview").dataset.found === "true";
  await page.waitForFunction(found, undefined, PATIENCE);
  await stop();
});

test("cameras that are missing, taken or forbidden are told", async () => {
  for (const [name, said] of [
    ["NotFoundError", /No camera was found/],
    ["NotReadableError", /another program/],
  ]) {
    await page.evaluate((name) => {
      const media = navigator.mediaDevices;
      media.getUserMedia = () => Promise.reject(new DOMException("", name));
    }, name);
    await page.click("#camera");
    await page.waitForFunction((n) => !document.getElementById("camera").disabled, undefined);
    assert.match(await note(), said);
  }
  await page.evaluate(() => delete navigator.mediaDevices.getUserMedia);
  await page.context().clearPermissions();
  await page.click("#camera");
  await page.waitForFunction(() => !document.getElementById("camera").disabled);
  assert.match(await note(), /not allowed/);
});

const drop = (name) =>
  page.evaluate(async (name) => {
    const response = await fetch(`golden/${name}`);
    const files = new DataTransfer();
    files.items.add(new File([await response.blob()], name, { type: "image/png" }));
    const event = { dataTransfer: files, bubbles: true, cancelable: true };
    document.body.dispatchEvent(new DragEvent("drop", event));
  }, name);

test("a photo is cut out and becomes an avatar", async () => {
  const before = await rests();
  await drop("astronaut.png");
  assert.match(await page.textContent("#loading-text"), /Looking for a face/);
  await rest(before);
  assert.match(await page.textContent("#notice"), /cut out on this device/);
  const found = await page.evaluate(() => {
    const now = tools.canvas("#canvas");
    const source = document.querySelector("#inside-sources canvas");
    const { data } = source.getContext("2d").getImageData(2, 2, 1, 1);
    return {
      size: [source.width, source.height],
      corner: [...data],
      change: tools.difference(rest, now, [0, 0, 1, 1]).mean,
      contrast: tools.contrast(now),
    };
  });
  assert.deepEqual([found.size, found.corner], [[512, 512], [0, 0, 0, 255]]);
  assert.ok(found.change > 5 && found.contrast > 10, JSON.stringify(found));
  await page.click("#inside summary");
  const painted = () =>
    document.getElementById("final").width === document.getElementById("canvas").width;
  await page.waitForFunction(painted, undefined, PATIENCE);
  await page.screenshot({ path: path("../out/photo.png"), fullPage: true });
  await page.click("#inside summary");
});

test("a photo without a face is told, and the avatar stays", async () => {
  await page.evaluate(() => (globalThis.before = tools.canvas("#canvas")));
  await drop("none.png");
  await page.waitForFunction(
    () => /No face was found/.test(document.getElementById("notice").textContent),
    undefined,
    PATIENCE,
  );
  assert.ok(await page.isHidden("#loading"));
  assert.ok((await page.evaluate(() => tools.psnr(before, tools.canvas("#canvas")))) > 40);
  assert.deepEqual(page.failures, []);
});

test("without its networks the page says how to bring them", async () => {
  const without = await open(browser, base(servers[1]));
  const said = () => document.getElementById("camera-note").textContent !== "";
  await without.waitForFunction(said, undefined, PATIENCE);
  assert.match(await without.textContent("#camera-note"), /weights\/track\/get\.sh/);
  assert.ok(await without.isDisabled("#camera"));
  await without.context().close();
});
