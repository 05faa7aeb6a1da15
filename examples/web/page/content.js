// What the page offers and says.

import { ARKIT_CHANNELS } from "./gpavatar/drivers.js";

export const MOTIONS = [
  ["talking", "Talk"],
  ["emotions", "Emotions"],
  ["blink", "Blink"],
  ["look_around", "Look around"],
];

export const GROUPS = [
  ["Brows", /^brow/],
  ["Eyes", /^eye/],
  ["Jaw", /^jaw/],
  ["Mouth", /^mouth|^tongue/],
  ["Cheeks and nose", /^cheek|^nose/],
];

const both = (values) =>
  Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) =>
      ARKIT_CHANNELS.includes(name)
        ? [[name, value]]
        : [
            [`${name}Left`, value],
            [`${name}Right`, value],
          ],
    ),
  );

export const PRESETS = [
  ["Neutral", {}],
  ["Smile", both({ mouthSmile: 0.9, cheekSquint: 0.5, eyeSquint: 0.3 })],
  ["Surprise", both({ jawOpen: 0.6, browInnerUp: 0.9, browOuterUp: 0.8, eyeWide: 0.9 })],
  ["Anger", both({ browDown: 1, noseSneer: 0.5, mouthPress: 0.6, eyeSquint: 0.4 })],
  ["Sorrow", both({ browInnerUp: 0.9, mouthFrown: 0.9, eyeSquint: 0.3, mouthShrugLower: 0.4 })],
  ["Kiss", both({ mouthPucker: 1, mouthFunnel: 0.2 })],
  ["Wink", { eyeBlinkLeft: 1, mouthSmileLeft: 0.6, mouthSmileRight: 0.3, browDownLeft: 0.3 }],
  ["Eyes closed", both({ eyeBlink: 1 })],
];

export const DRAWN =
  "The network that comes with this page has only ever seen drawn people, and makes everybody one of them.";
export const NO_NETS =
  "This server lacks the networks that find faces. Whoever runs it brings them by " +
  "“bash weights/track/get.sh” and builds the page again.";

/** Turns of the head in degrees, about the axes +x, +y, +z. */
export const HEAD = [
  ["Nod", 25],
  ["Turn", 35],
  ["Tilt", 25],
];

/** Files of the tracker, which are not part of this page's source. */
export const NETS = {
  task: "weights/track/face_landmarker.task",
  segmentation: "weights/track/selfie_segmentation.tflite",
};

export const ERRORS = {
  "no-webgpu": [
    "This browser has no WebGPU",
    "The avatar needs it. Chrome and Edge have it since version 113, Safari since 26, Firefox since " +
      "141 on Windows and 145 on Apple computers. On Linux, Chrome has it behind chrome://flags/#enable-unsafe-webgpu.",
  ],
  "no-adapter": [
    "No graphics adapter for WebGPU",
    "The browser has WebGPU but offers no device. Switching on hardware acceleration in its " +
      "settings, or updating the graphics driver, often helps.",
  ],
  "device-lost": [
    "The graphics device was lost",
    "The driver was restarted, or another program took all of its memory. The avatar can be built again.",
  ],
  limit: ["The graphics device is too small", "It does not hold this model."],
  network: ["The download failed", "Is the connection there?"],
  format: ["The weights file is damaged", "It was not what it should be, and is not kept."],
  tensors: ["The weights file is damaged", "It was not what it should be, and is not kept."],
  config: ["The weights file does not fit", "It is of a network that this version cannot run."],
};
