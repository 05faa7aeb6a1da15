// The tracker in a browser: its numbers against golden data, and what it takes.

import assert from "node:assert/strict";
import { access } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { serve } from "../serve.mjs";
import { count, launch, open } from "./browser.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

/** Runs of what is timed; the median counts. */
const RUNS = 5;
/** Frames of the test for leaks. */
const FRAMES = 30;

let server;
let browser;
let page;

before(async () => {
  const nets = path("../dist/weights/track/face_landmarker.task");
  await access(nets).catch(() => {
    throw new Error("the networks are missing: bash weights/track/get.sh, then build.sh");
  });
  server = await serve(path(".."), 0, { "/golden/": path("../../../tests/golden/track/") });
  browser = await launch();
  const harness = `http://127.0.0.1:${server.address().port}/tests/harness.html`;
  page = await open(browser, harness, { init: count });
  page.setDefaultTimeout(0);
  await page.waitForSelector('body[data-state="ready"]', { timeout: 60_000 });
  await page.evaluate(async () => {
    globalThis.bytes = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
    globalThis.nets = [
      await bytes("../dist/weights/track/face_landmarker.task"),
      await bytes("../dist/weights/track/selfie_segmentation.tflite"),
    ];
    // The head of the released network, and one that takes no time to compile.
    const weights = "../dist/weights/demo.safetensors";
    globalThis.model = await gpavatar.Model.load(new URL(weights, location.href));
  });
});

after(async () => {
  await browser?.close();
  server?.close();
});

function report({ table, failures }) {
  console.log(table);
  assert.equal(failures, 0, table);
  return table;
}

for (const net of ["detector", "landmarks", "segmentation", "blendshapes"]) {
  test(`${net}: twin and kernels compute what the interpreter does`, async () => {
    for (const twin of net === "blendshapes" ? [true] : [true, false]) {
      const result = await page.evaluate(
        async ([net, twin]) => {
          const began = performance.now();
          const case_ = await bytes(`/golden/${net}.safetensors`);
          const result = await bindings.compareNet(model.handle, ...nets, case_, twin);
          return { ...result, seconds: (performance.now() - began) / 1000 };
        },
        [net, twin],
      );
      console.log(`  ${twin ? "twin" : "kernels"}, ${result.seconds.toFixed(1)} s`);
      assert.match(report(result), /^case0\./m);
    }
  });
}

test("faces, landmarks, scores and mattes of the golden pictures", async () => {
  const result = await page.evaluate(async () => {
    const began = performance.now();
    const names = ["astronaut", "none", "rot20", "two"];
    const pictures = {};
    for (const name of names) {
      pictures[name] = await bytes(`/golden/${name}.png`);
    }
    const case_ = await bytes("/golden/pictures.safetensors");
    const result = await bindings.comparePictures(model.handle, ...nets, case_, pictures);
    return { ...result, seconds: (performance.now() - began) / 1000 };
  });
  console.log(`  ${result.seconds.toFixed(1)} s`);
  assert.match(report(result), /^astronaut\.0\.xyz /m);
});

test("the head model is fitted as natively", async () => {
  const result = await page.evaluate(async () => {
    const began = performance.now();
    const result = bindings.compareFits(model.handle, await bytes("/golden/fit.safetensors"));
    return { ...result, seconds: (performance.now() - began) / 1000 };
  });
  console.log(`  ${result.seconds.toFixed(1)} s`);
  assert.match(report(result), /^single, exact /m);
});

test("a photo becomes a source, and is the same every time", async () => {
  const found = await page.evaluate(async () => {
    const [task, segmentation] = nets;
    const options = { calibration: "manual" };
    globalThis.tracker = await gpavatar.Tracker.load(model, { task, segmentation }, options);
    globalThis.photo = await (await fetch("/golden/astronaut.png")).blob();
    globalThis.bitmap = await createImageBitmap(photo);
    const still = await tracker.still(photo);
    const again = await tracker.still(bitmap);
    const { data, width, height } = still.image;
    const at = (x, y) => [...data.subarray(4 * (y * width + x), 4 * (y * width + x) + 4)];
    return {
      size: [width, height],
      corner: at(2, 2),
      face: at(width / 2, height / 2),
      rows: still.camera.map((row) => row.length),
      presence: still.presence,
      smile: still.scores[gpavatar.ARKIT_CHANNELS.indexOf("mouthSmileLeft")],
      nose: [...still.landmarks.subarray(3, 5)],
      same: data.every((byte, i) => byte === again.image.data[i]),
      nobody: await tracker.still(await (await fetch("/golden/none.png")).blob()),
    };
  });
  console.log(`  presence ${found.presence.toFixed(5)}, smile ${found.smile.toFixed(3)}`);
  assert.deepEqual([found.size, found.rows], [[512, 512], [4, 4, 4]]);
  assert.deepEqual(found.corner, [0, 0, 0, 255]);
  assert.ok(found.face[0] > 60, `${found.face}`);
  assert.ok(found.presence >= 0.9999 && found.smile > 0.7, JSON.stringify(found));
  assert.ok(Math.hypot(found.nose[0] - 226, found.nose[1] - 113) < 25, `${found.nose}`);
  assert.ok(found.same);
  assert.equal(found.nobody, null);
});

test("a video drives: calibrated, mirrored, lost, and never queued", async () => {
  const found = await page.evaluate(async () => {
    const smile = (frame, side) => {
      return frame.drive.expression[model.channels.indexOf(`mouthSmile${side}`)];
    };
    const black = new ImageData(512, 512);
    const before = await tracker.frame(black);
    const first = await tracker.frame(bitmap);
    // Its region settles.
    for (let i = 0; i < 3; i++) {
      await tracker.frame(bitmap);
    }
    const [next, dropped] = await Promise.all([tracker.frame(bitmap), tracker.frame(bitmap)]);
    const plain = smile(next, "Left");
    tracker.mirror = true;
    const mirrored = await tracker.frame(bitmap);
    // How far channels are from those of the other side, and from those of their own.
    const sides = model.channels.flatMap((name, i) => {
      const other = model.channels.indexOf(name.replace(/Left$/, "Right"));
      const values = [next, mirrored].map((frame) => frame.drive.expression);
      return other === i ? [] : [[i, other].map((j) => Math.abs(values[1][i] - values[0][j]))];
    });
    tracker.calibrate();
    const calibrated = await tracker.frame(bitmap, { time: performance.now() + 1e6 });
    const lost = await tracker.frame(black);
    await tracker.restart();
    const restarted = await tracker.frame(bitmap);
    return {
      before,
      dropped: dropped === undefined,
      presence: first.presence,
      landmarks: first.landmarks.length,
      plain,
      own: Math.max(...sides.map(([own]) => own)),
      other: Math.max(...sides.map(([, other]) => other)),
      camera: next.drive.camera,
      calibrated: smile(calibrated, "Left"),
      lost: { ...lost, drive: lost.drive !== undefined },
      restarted: smile(restarted, "Right"),
    };
  });
  console.log(`  smile ${found.plain.toFixed(3)}, calibrated ${found.calibrated.toFixed(3)}`);
  assert.deepEqual(found.before, { found: false });
  assert.ok(found.dropped);
  assert.ok(found.presence > 0.99 && found.landmarks === 3 * 478, `${found.presence}`);
  assert.ok(found.plain > 0.5, `${found.plain}`);
  assert.ok(found.other < 0.03 && found.own > 0.1, `${found.other} and ${found.own}`);
  assert.ok(found.calibrated < 0.05, `${found.calibrated}`);
  assert.deepEqual(found.lost, { found: false, drive: true });
  // Still a mirror, and no longer calibrated.
  assert.ok(Math.abs(found.restarted - found.plain) < 0.2, `${found.restarted}`);
  assert.equal(found.camera.focal, 12);
});

test(`memory stays where it is over ${FRAMES} frames`, async () => {
  const track = (frames) =>
    page.evaluate(async (frames) => {
      for (let i = 0; i < frames; i++) {
        await tracker.frame(bitmap);
      }
      return { wasm: memory.buffer.byteLength, created: { ...created } };
    }, frames);
  const before = await track(5);
  assert.deepEqual(await track(FRAMES), before);
});

test("files that are not the networks are refused", async () => {
  const kinds = await page.evaluate(async () => {
    const kind = (files, options) =>
      gpavatar.Tracker.load(model, files, options).then(
        () => "none",
        (error) => (error instanceof gpavatar.GpavatarError ? error.kind : `${error}`),
      );
    const [task, segmentation] = nets;
    return [
      await kind({ task: task.slice(0, 1000) }),
      await kind({ task: segmentation }),
      await kind({ task, segmentation: task }),
      await kind({ task: "none.task" }),
      await kind({ task }, { calibration: "never" }),
    ];
  });
  assert.deepEqual(kinds, ["format", "format", "format", "network", "argument"]);
});

test("what it takes", async () => {
  const took = await page.evaluate(async (runs) => {
    const median = async (run) => {
      await run();
      const times = [];
      for (let i = 0; i < runs; i++) {
        const began = performance.now();
        await run();
        times.push(performance.now() - began);
      }
      return times.sort((a, b) => a - b)[runs >> 1];
    };
    const handle = new bindings.Tracker(model.handle, ...nets);
    return {
      detector: await median(() => bindings.runNet(handle, "detector")),
      landmarks: await median(() => bindings.runNet(handle, "landmarks")),
      segmentation: await median(() => bindings.runNet(handle, "segmentation")),
      "a tracked frame": await median(() => tracker.frame(bitmap)),
      "a still": await median(() => tracker.still(bitmap)),
    };
  }, RUNS);
  for (const [what, milliseconds] of Object.entries(took)) {
    console.log(`  ${what}: ${milliseconds.toFixed(1)} ms`);
  }
  assert.ok(Object.values(took).every((milliseconds) => milliseconds > 0));
});
