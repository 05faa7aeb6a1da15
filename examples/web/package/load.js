// Weights: downloaded with progress, and kept in the browser's cache.

import { GpavatarError } from "./errors.js";

const CACHE = "gpavatar-weights";

/** The bytes of a URL, a response, a Blob or a buffer. */
export async function load(source, { onProgress, cache, signal }) {
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) {
    const bytes = ArrayBuffer.isView(source)
      ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
      : new Uint8Array(source);
    onProgress?.({ loaded: bytes.length, total: bytes.length, cached: false });
    return bytes;
  }
  if (typeof Blob !== "undefined" && source instanceof Blob) {
    return load(await source.arrayBuffer(), { onProgress });
  }
  const url = String(source);
  const store = cache ? await open() : undefined;
  const kept = await store?.match(url);
  if (kept && (await isCurrent(url, kept, signal))) {
    return read(kept, { onProgress, cached: true });
  }
  let response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    throw failed(url, error.message, error);
  }
  if (!response.ok) {
    throw failed(url, `${response.status} ${response.statusText}`.trim());
  }
  const bytes = await read(response, { onProgress, cached: false });
  // A full or forbidden cache must not prevent loading.
  await store
    ?.put(url, new Response(bytes, { headers: identity(response) }))
    .catch(() => undefined);
  return bytes;
}

/** Removes a URL from the cache. */
export async function forget(source) {
  if (typeof source === "string" || source instanceof URL) {
    await (await open())?.delete(String(source));
  }
}

async function open() {
  try {
    return await globalThis.caches?.open(CACHE);
  } catch {
    return undefined;
  }
}

/** Whether the kept version is still the server's; true if the server does not answer. */
async function isCurrent(url, kept, signal) {
  try {
    const response = await fetch(url, { method: "HEAD", cache: "no-cache", signal });
    if (!response.ok) {
      return true;
    }
    const [before, now] = [kept.headers, new Headers(identity(response))];
    return ["etag", "last-modified", "content-length"].every(
      (name) => before.get(name) === now.get(name),
    );
  } catch (error) {
    if (signal?.aborted) {
      throw failed(url, error.message, error);
    }
    return true;
  }
}

/** Headers that tell one version of a file from another. */
function identity(response) {
  const names = ["etag", "last-modified", "content-length"];
  return names.flatMap((name) => {
    const value = response.headers.get(name);
    return value === null ? [] : [[name, value]];
  });
}

async function read(response, { onProgress, cached }) {
  // The length of a compressed response is not that of its content.
  const plain = !response.headers.get("content-encoding");
  const total = plain ? Number(response.headers.get("content-length")) || undefined : undefined;
  const chunks = [];
  let loaded = 0;
  try {
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) {
        break;
      }
      chunks.push(value);
      loaded += value.length;
      onProgress?.({ loaded, total, cached });
    }
  } catch (error) {
    throw failed(response.url, error.message, error);
  }
  const bytes = new Uint8Array(loaded);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

function failed(url, reason, cause) {
  return new GpavatarError("network", `cannot download ${url}: ${reason}`, { cause });
}
