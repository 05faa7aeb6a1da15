// The package as others install it: under the newest TypeScript, strict, and with Vite.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { build, createServer } from "vite";

import { serve } from "../serve.mjs";
import { launch, open } from "./browser.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const run = promisify(execFile);

/** A copy of consumer/, with the package in its node_modules. */
const APP = path("../out/consumer");

let browser;

before(async () => {
  await rm(APP, { recursive: true, force: true });
  await cp(path("consumer"), APP, { recursive: true });
  const packed = await run("npm", ["pack", "--silent", "--pack-destination", APP, path("../pkg")]);
  const quiet = ["--offline", "--no-audit", "--no-fund", "--silent"];
  await run("npm", ["install", ...quiet, `./${packed.stdout.trim()}`], { cwd: APP });
  browser = await launch();
});

after(() => browser?.close());

/** What main.ts finds in a browser. */
async function found(url) {
  const page = await open(browser, url);
  await page.waitForFunction(() => globalThis.found !== undefined, undefined, { timeout: 60_000 });
  const result = await page.evaluate(() => found);
  assert.deepEqual(page.failures, []);
  await page.context().close();
  return result;
}

const EXPECTED = {
  same: true,
  restored: true,
  worker: "a device",
  kind: "format",
  channels: 52,
};

test("the types and the snippets of README.md hold under TypeScript", async () => {
  const readme = await readFile(`${APP}/node_modules/gpavatar/README.md`, "utf8");
  const snippets = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.ok(snippets.length > 2, `${snippets.length} snippets`);
  for (const [i, code] of snippets.entries()) {
    await writeFile(`${APP}/src/readme-${i}.ts`, code);
  }
  const tsc = path("../node_modules/typescript/bin/tsc");
  const result = await run(process.execPath, [tsc, "--noEmit", "-p", APP]).catch((error) => error);
  assert.equal(result.stdout, "");
  assert.equal(result.code ?? 0, 0, result.stderr);
});

test("a build by Vite runs", async () => {
  await build({ root: APP, logLevel: "warn" });
  const assets = await readdir(`${APP}/dist/assets`);
  assert.ok(assets.some((name) => name.endsWith(".wasm")), `${assets}`);
  const server = await serve(`${APP}/dist`);
  try {
    assert.deepEqual(await found(`http://127.0.0.1:${server.address().port}/`), EXPECTED);
  } finally {
    server.close();
  }
});

test("Vite's server for development runs it, too", async () => {
  const options = { host: "127.0.0.1", port: 0 };
  const server = await createServer({ root: APP, logLevel: "warn", server: options });
  await server.listen();
  try {
    const { port } = server.httpServer.address();
    assert.deepEqual(await found(`http://127.0.0.1:${port}/`), EXPECTED);
  } finally {
    await server.close();
  }
});
