// Size of a visitor's download before the weights.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const PAGE = new URL("../dist/", import.meta.url);
// The tracker and its fit of a head model are about 115 kB of it.
const MOST = 540_000;

test("wasm and JavaScript, the page's included, stay small", async () => {
  const names = (await readdir(PAGE, { recursive: true })).filter((n) => /\.(js|wasm)$/.test(n));
  assert.ok(names.includes("app.js") && names.includes("gpavatar/bindings_bg.wasm"));
  let sum = 0;
  for (const name of names) {
    const bytes = await readFile(new URL(name, PAGE));
    const compressed = gzipSync(bytes, { level: 9 }).length;
    sum += compressed;
    console.log(`  ${name}: ${bytes.length} bytes, ${compressed} with gzip`);
  }
  console.log(`  together: ${sum} bytes with gzip`);
  assert.ok(sum < MOST, `${sum}`);
});
