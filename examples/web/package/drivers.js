// Live drivers: results of a face tracker as input of an avatar. Needs no WebGPU and no wasm.

import { GpavatarError } from "./errors.js";

/** ARKit's 52 blend shapes in the order of `setBlendshapes`: alphabetical, the tongue last. */
export const ARKIT_CHANNELS = Object.freeze([
  "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
  "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
  "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft",
  "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
  "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
  "jawForward", "jawLeft", "jawOpen", "jawRight",
  "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
  "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
  "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
  "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
  "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
  "noseSneerLeft", "noseSneerRight", "tongueOut",
]);

export const MESSAGE_VERSION = 1;

const INDEX = new Map(ARKIT_CHANNELS.map((name, index) => [name, index]));

/** Index of the channel on the other side of the face. */
const MIRRORED = ARKIT_CHANNELS.map((name) => {
  const other = name.replace(/Left$|Right$/, (side) => (side === "Left" ? "Right" : "Left"));
  return INDEX.get(other);
});

/**
 * Reads a message of a live driver (its JSON, or the object): README.md has the format.
 * Returns `{ blendshapes, head, time }`.
 */
export function parseMessage(message, { mirror = false } = {}) {
  const data = typeof message === "string" ? parseJson(message) : message;
  if (data === null || typeof data !== "object") {
    throw invalid("an object", data);
  }
  if (data.version !== MESSAGE_VERSION) {
    throw invalid(`version ${MESSAGE_VERSION}`, data.version);
  }
  if (data.time !== undefined && !Number.isFinite(data.time)) {
    throw invalid("time in milliseconds", data.time);
  }
  const drive = {
    blendshapes: readBlendshapes(data.blendshapes),
    head: data.transform === undefined ? new Float32Array(3) : headRotation(data.transform),
    time: data.time,
  };
  return mirror ? mirrored(drive) : drive;
}

/**
 * Turns a result of MediaPipe's FaceLandmarker (with `outputFaceBlendshapes` and
 * `outputFacialTransformationMatrixes`) into a message, or `null` if it has no such face.
 */
export function fromFaceLandmarker(result, { face = 0, time } = {}) {
  const categories = result?.faceBlendshapes?.[face]?.categories;
  if (!categories) {
    return null;
  }
  const blendshapes = {};
  for (const { categoryName, score } of categories) {
    // "_neutral" is the complement of all others.
    if (INDEX.has(categoryName)) {
      blendshapes[categoryName] = score;
    }
  }
  const message = { version: MESSAGE_VERSION, blendshapes };
  const matrix = result.facialTransformationMatrixes?.[face];
  if (matrix) {
    message.transform = Array.from(matrix.data);
  }
  if (time !== undefined) {
    message.time = time;
  }
  return message;
}

/** The rotation of a column-major 4 x 4 transform, as axis times angle in radians. */
export function headRotation(transform) {
  const m = Array.from(transform ?? []);
  if (m.length !== 16 || !m.every(Number.isFinite)) {
    throw invalid("a transform of 16 numbers, column by column", transform);
  }
  // A tracker's matrix may hold a scale.
  const lengths = [0, 4, 8].map((i) => Math.hypot(m[i], m[i + 1], m[i + 2]));
  if (lengths.some((length) => !(length > 1e-6))) {
    throw invalid("a transform with a rotation", transform);
  }
  const at = (row, column) => m[4 * column + row] / lengths[column];
  // By way of the quaternion, largest component first: exact for all angles.
  const [xx, yy, zz] = [at(0, 0), at(1, 1), at(2, 2)];
  const squares = [1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz];
  const largest = squares.indexOf(Math.max(...squares));
  const q = [
    [squares[0], at(2, 1) - at(1, 2), at(0, 2) - at(2, 0), at(1, 0) - at(0, 1)],
    [at(2, 1) - at(1, 2), squares[1], at(0, 1) + at(1, 0), at(0, 2) + at(2, 0)],
    [at(0, 2) - at(2, 0), at(0, 1) + at(1, 0), squares[2], at(1, 2) + at(2, 1)],
    [at(1, 0) - at(0, 1), at(0, 2) + at(2, 0), at(1, 2) + at(2, 1), squares[3]],
  ][largest];
  const [w, ...axis] = q[0] < 0 ? q.map((v) => -v) : q;
  const length = Math.hypot(...axis);
  const scale = length < 1e-9 ? 0 : (2 * Math.atan2(length, w)) / length;
  return Float32Array.from(axis, (v) => v * scale);
}

/** The same drive as a mirror shows it. */
export function mirrored({ blendshapes, head, ...rest }) {
  return {
    ...rest,
    blendshapes: blendshapes.map((_, index) => blendshapes[MIRRORED[index]]),
    head: Float32Array.of(head[0], -head[1], -head[2]),
  };
}

function readBlendshapes(blendshapes) {
  const values = new Float32Array(ARKIT_CHANNELS.length);
  if (Array.isArray(blendshapes) || ArrayBuffer.isView(blendshapes)) {
    if (blendshapes.length !== values.length || !blendshapes.every(Number.isFinite)) {
      throw invalid(`${values.length} blend shapes`, blendshapes);
    }
    values.set(blendshapes);
    return values;
  }
  if (blendshapes === null || typeof blendshapes !== "object") {
    throw invalid("blend shapes by name, or a list of them", blendshapes);
  }
  for (const [name, value] of Object.entries(blendshapes)) {
    if (!INDEX.has(name)) {
      throw invalid("the name of an ARKit blend shape", name);
    }
    if (!Number.isFinite(value)) {
      throw invalid(`a number for ${name}`, value);
    }
    values[INDEX.get(name)] = value;
  }
  return values;
}

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new GpavatarError("format", `driver message: not JSON: ${error.message}`);
  }
}

function invalid(expected, found) {
  const text = typeof found === "string" ? found : (JSON.stringify(found) ?? "nothing");
  const short = text.length > 80 ? `${text.slice(0, 77)}…` : text;
  return new GpavatarError("format", `driver message: expected ${expected}, found ${short}`);
}
