// The server: folders, mounts, and nothing outside of them.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { serve } from "../serve.mjs";

let folder;
let servers;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "gpavatar-serve-"));
  for (const name of ["root/inner", "mounted", "mounted-secret"]) {
    await mkdir(join(folder, name), { recursive: true });
  }
  for (const name of [
    "root/index.html", "root/inner/index.html", "root/inner/a.js", "mounted/b.json", "secret.txt",
    "mounted-secret/c.txt",
  ]) {
    await writeFile(join(folder, name), name);
  }
  const mounted = join(folder, "mounted");
  const root = join(folder, "root");
  servers = [
    await serve(root, 0, { "/out/": mounted }),
    await serve(root, 0, { "/out": mounted }),
  ];
});

after(async () => {
  servers.forEach((server) => server.close());
  await rm(folder, { recursive: true });
});

/** Asks with the path as it is, which `fetch` would tidy up. */
function ask(server, path) {
  return new Promise((resolve, reject) => {
    const { port } = server.address();
    const request = get({ host: "127.0.0.1", port, path }, async (response) => {
      let body = "";
      for await (const chunk of response) {
        body += chunk;
      }
      const { statusCode: status, headers } = response;
      resolve({ status, headers, body });
    });
    request.on("error", reject);
  });
}

test("files, folders and mounts are served", async () => {
  for (const server of servers) {
    for (const [path, file] of [
      ["/", "root/index.html"],
      ["/inner/", "root/inner/index.html"],
      ["/inner/a.js?x=1", "root/inner/a.js"],
      ["/out/b.json", "mounted/b.json"],
    ]) {
      const { status, body, headers } = await ask(server, path);
      assert.deepEqual([status, body], [200, file], path);
      assert.equal(headers["x-content-type-options"], "nosniff");
    }
  }
});

test("a folder without a slash is redirected", async () => {
  const { status, headers } = await ask(servers[0], "/inner?x=1");
  assert.deepEqual([status, headers.location], [301, "/inner/?x=1"]);
});

test("nothing outside of the folders is served", async () => {
  for (const server of servers) {
    for (const path of [
      "/none.html", "/out/", "/out../secret.txt", "/out/../../secret.txt", "/out-secret/c.txt",
      "/..%2fsecret.txt", "/out/..%2f..%2fsecret.txt", "/%2e%2e/secret.txt", "/%ff",
    ]) {
      const { status, body } = await ask(server, path);
      assert.deepEqual([status, body], [404, "not found"], path);
    }
  }
});

test("the pages have a content security policy without exceptions for scripts", async () => {
  for (const name of ["index.html", "docs.html"]) {
    const file = fileURLToPath(new URL(`../page/${name}`, import.meta.url));
    const page = await readFile(file, "utf8");
    const [, policy] = page.match(/content-security-policy"\s+content="([^"]+)"/);
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe-inline|'unsafe-eval'|\*/);
    // Before anything that it is to hold for.
    assert.ok(page.indexOf(policy) < page.indexOf("<link"));
    assert.doesNotMatch(page, /<script(?![^>]* src=)|<style| style=| on[a-z]+=/);
  }
});
