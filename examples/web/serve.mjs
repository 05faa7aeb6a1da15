// Serves dist/: `node serve.mjs [PORT]`. Without a framework, and to this machine only.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".png": "image/png",
  ".wasm": "application/wasm",
};

/**
 * The file of a path of a request, or `null` if it lies outside of the folders. A mount `/a` or `/a/`
 * holds `/a` and what is below `/a/`, and nothing else that begins with these letters.
 */
function locate(path, root, mounts) {
  let [folder, rest] = [root, path];
  for (const [prefix, mounted] of Object.entries(mounts)) {
    const bare = prefix.replace(/\/+$/, "");
    if (path === bare || path.startsWith(`${bare}/`)) {
      [folder, rest] = [mounted, path.slice(bare.length)];
    }
  }
  const file = join(folder, rest);
  const inside = relative(folder, file);
  return inside === ".." || inside.startsWith(`..${sep}`) ? null : file;
}

/** Serves a folder; `mounts` puts other folders below paths. */
export function serve(root, port = 0, mounts = {}) {
  const server = createServer(async (request, response) => {
    try {
      const { pathname, search } = new URL(request.url, "http://host");
      const path = normalize(decodeURIComponent(pathname));
      const file = locate(path, root, mounts);
      if (file === null) {
        throw new Error("outside");
      }
      if (!path.endsWith("/") && (await stat(file)).isDirectory()) {
        // Relative links on the page are meant from inside of the folder.
        response.writeHead(301, { location: `${pathname}/${search}` }).end();
        return;
      }
      const found = file.endsWith("/") ? join(file, "index.html") : file;
      const { size, mtimeMs } = await stat(found);
      response.setHeader("x-content-type-options", "nosniff");
      const tag = `"${size}-${Math.round(mtimeMs)}"`;
      response.setHeader("etag", tag);
      response.setHeader("cache-control", "no-cache");
      response.setHeader("content-type", TYPES[extname(found)] ?? "application/octet-stream");
      if (request.headers["if-none-match"] === tag) {
        response.writeHead(304).end();
        return;
      }
      response.setHeader("content-length", size);
      if (request.method === "HEAD") {
        response.end();
        return;
      }
      createReadStream(found)
        .on("error", () => response.destroy())
        .pipe(response);
    } catch {
      response.writeHead(404).end("not found");
    }
  });
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL("dist", import.meta.url));
  const server = await serve(root, Number(process.argv[2] ?? 8080));
  console.log(`http://127.0.0.1:${server.address().port}/`);
}
