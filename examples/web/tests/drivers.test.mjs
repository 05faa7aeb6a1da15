// Live drivers, without a browser: node --test.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ARKIT_CHANNELS,
  fromFaceLandmarker,
  headRotation,
  mirrored,
  parseMessage,
} from "../package/drivers.js";
import { GpavatarError } from "../package/errors.js";

/** A column-major 4 x 4 rotation about an axis, by Rodrigues. */
function rotation([x, y, z], angle, scale = 1) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const rows = [
    [c + x * x * (1 - c), x * y * (1 - c) - z * s, x * z * (1 - c) + y * s],
    [y * x * (1 - c) + z * s, c + y * y * (1 - c), y * z * (1 - c) - x * s],
    [z * x * (1 - c) - y * s, z * y * (1 - c) + x * s, c + z * z * (1 - c)],
  ];
  const columns = [0, 1, 2].map((j) => [...rows.map((row) => scale * row[j]), 0]);
  return [...columns.flat(), 1, 2, -40, 1];
}

function near(found, expected) {
  assert.equal(found.length, expected.length);
  // Rounding to f32 of angles up to π.
  found.forEach((v, i) => assert.ok(Math.abs(v - expected[i]) < 1e-6, `${found} ${expected}`));
}

test("channels are ARKit's, without a repetition", () => {
  assert.equal(ARKIT_CHANNELS.length, 52);
  assert.equal(new Set(ARKIT_CHANNELS).size, 52);
  assert.deepEqual([...ARKIT_CHANNELS.slice(0, 51)].sort(), ARKIT_CHANNELS.slice(0, 51));
});

test("a rotation comes back from its matrix, whatever its angle and scale", () => {
  const axes = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
    [2 / 3, -1 / 3, 2 / 3],
    [-0.6, 0, 0.8],
  ];
  for (const axis of axes) {
    for (const angle of [0, 1e-4, 0.3, Math.PI / 2, 2.5, Math.PI - 1e-3]) {
      for (const scale of [1, 7.5]) {
        const expected = axis.map((v) => v * angle);
        near(headRotation(rotation(axis, angle, scale)), expected);
      }
    }
  }
});

test("looking down is +x, to the person's left +y, as the avatar's pose has it", () => {
  // Forward is +z: looking down takes it towards -y, looking left towards +x.
  const down = rotation([1, 0, 0], 0.2);
  assert.ok(down[9] < 0);
  near(headRotation(down), [0.2, 0, 0]);
  const left = rotation([0, 1, 0], 0.2);
  assert.ok(left[8] > 0);
  near(headRotation(left), [0, 0.2, 0]);
});

/** What FaceLandmarker gives: MediaPipe's list begins with "_neutral" and lacks the tongue. */
function landmarks() {
  const names = ["_neutral", ...ARKIT_CHANNELS.slice(0, 51)];
  const categories = names.map((categoryName, index) => ({
    index,
    score: index / 100,
    categoryName,
    displayName: "",
  }));
  return {
    faceLandmarks: [],
    faceBlendshapes: [{ categories, headIndex: -1, headName: "" }],
    facialTransformationMatrixes: [
      { rows: 4, columns: 4, data: rotation([0, 1, 0], 0.25) },
    ],
  };
}

test("a result of FaceLandmarker becomes a message, and that a drive", () => {
  const message = fromFaceLandmarker(landmarks(), { time: 40 });
  assert.equal(message.version, 1);
  const { blendshapes, head, time } = parseMessage(JSON.stringify(message));
  assert.equal(time, 40);
  ARKIT_CHANNELS.forEach((name, i) => {
    const expected = name === "tongueOut" ? 0 : (i + 1) / 100;
    assert.equal(blendshapes[i], Math.fround(expected), name);
  });
  near(head, [0, 0.25, 0]);
  assert.equal(fromFaceLandmarker({ faceBlendshapes: [] }), null);
  assert.equal(fromFaceLandmarker(landmarks(), { face: 1 }), null);
});

test("blend shapes may be a list, and the transform left out", () => {
  const blendshapes = Array.from({ length: 52 }, (_, i) => i / 52);
  const drive = parseMessage({ version: 1, blendshapes });
  near(drive.blendshapes, blendshapes);
  near(drive.head, [0, 0, 0]);
  near(parseMessage({ version: 1, blendshapes: { jawOpen: 0.5 } }).blendshapes, [
    ...Array(24).fill(0),
    0.5,
    ...Array(27).fill(0),
  ]);
});

test("a mirror swaps sides and turns", () => {
  const message = {
    version: 1,
    blendshapes: { eyeBlinkLeft: 1, jawRight: 0.5, jawOpen: 0.25 },
    transform: rotation([0, 1, 0], 0.4),
  };
  const { blendshapes, head } = parseMessage(message, { mirror: true });
  const value = (name) => blendshapes[ARKIT_CHANNELS.indexOf(name)];
  assert.deepEqual(
    ["eyeBlinkLeft", "eyeBlinkRight", "jawLeft", "jawRight", "jawOpen"].map(value),
    [0, 1, 0.5, 0, 0.25],
  );
  near(head, [0, -0.4, 0]);
  const twice = mirrored(mirrored(parseMessage(message)));
  assert.deepEqual(twice, parseMessage(message));
});

test("what is no message is an error that says why", () => {
  const good = { version: 1, blendshapes: {} };
  parseMessage(good);
  const bad = [
    ["{", /not JSON/],
    ["3", /an object/],
    [null, /an object/],
    [{ ...good, version: 2 }, /version 1, found 2/],
    [{ version: 1 }, /blend shapes by name/],
    [{ ...good, blendshapes: [1, 2] }, /52 blend shapes/],
    [{ ...good, blendshapes: Array(52).fill(Number.NaN) }, /52 blend shapes/],
    [{ ...good, blendshapes: { jawOpened: 1 } }, /found jawOpened/],
    [{ ...good, blendshapes: { jawOpen: "1" } }, /a number for jawOpen/],
    [{ ...good, transform: [1, 2, 3] }, /16 numbers/],
    [{ ...good, transform: Array(16).fill(0) }, /a rotation/],
    [{ ...good, time: "now" }, /time in milliseconds/],
  ];
  for (const [message, expected] of bad) {
    assert.throws(
      () => parseMessage(message),
      (error) => {
        assert.ok(error instanceof GpavatarError);
        assert.equal(error.kind, "format");
        assert.match(error.message, expected);
        return true;
      },
    );
  }
});
