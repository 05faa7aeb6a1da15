// The visitor's camera: its frames to the engine, what was found in them over a small preview.

import { NETS } from "./content.js";

/** Longest side of the frames that are looked at. */
const LONGEST = 640;

const $ = (id) => document.getElementById(id);

const IDLE = "What your camera sees stays on this device";
const FAILURES = {
  NotAllowedError:
    "The camera is not allowed for this page. Allow it at the browser's address bar, then try again.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera cannot be read: does another program use it?",
};

/**
 * `send` posts to the engine; `onRun` hears when a face begins or ceases to drive, `onExpression` what
 * it does.
 */
export function faceCamera({ send, onRun, onExpression }) {
  const video = $("video");
  const marks = $("marks");
  let available = false;
  let opening = false;
  let stream;
  /** The frame that the engine has, and what settles when it has looked at it. */
  let sent = 0;
  let answered;
  let hint = "";

  const say = (text) => {
    $("camera-note").textContent = text;
  };

  function refresh() {
    const button = $("camera");
    button.disabled = opening || !(available || stream);
    button.textContent = stream ? "Stop the camera" : "Use my camera";
    button.setAttribute("aria-pressed", String(Boolean(stream)));
    $("preview").hidden = !stream;
    $("calibrate").disabled = $("preview").dataset.found !== "true";
  }

  async function start() {
    opening = true;
    refresh();
    say("Asking for the camera");
    try {
      if (!navigator.mediaDevices) {
        throw new Error("it has to come by https, or from this machine");
      }
      const wish = { width: { ideal: LONGEST }, height: { ideal: 480 }, facingMode: "user" };
      stream = await navigator.mediaDevices.getUserMedia({ video: wish, audio: false });
    } catch (error) {
      say(FAILURES[error.name] ?? `This page cannot use a camera: ${error.message}.`);
      return;
    } finally {
      opening = false;
      refresh();
    }
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      stop();
      say("The camera was disconnected.");
    });
    video.srcObject = stream;
    hint = "";
    say("Looking for a face");
    send({ type: "live", value: true });
    onRun(true);
    refresh();
    pump(stream).catch((error) => {
      stop();
      say(`The camera's pictures cannot be read: ${error.message}.`);
    });
  }

  function stop() {
    if (!stream) {
      return;
    }
    stream.getTracks().forEach((track) => track.stop());
    stream = undefined;
    video.srcObject = null;
    delete $("preview").dataset.found;
    say(IDLE);
    send({ type: "live", value: false });
    onRun(false);
    refresh();
  }

  /** Sends the newest frame whenever the engine has looked at the last one. */
  async function pump(mine) {
    await video.play().catch(() => undefined);
    while (stream === mine) {
      await nextFrame(video);
      if (stream !== mine || !video.videoWidth) {
        continue;
      }
      const { videoWidth: width, videoHeight: height } = video;
      const scale = Math.min(1, LONGEST / Math.max(width, height));
      const size = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
      const [resizeWidth, resizeHeight] = size;
      const picture = await createImageBitmap(video, { resizeWidth, resizeHeight });
      const answer = new Promise((resolve) => (answered = resolve));
      sent += 1;
      send({ type: "frame", id: sent, picture, time: performance.now() }, [picture]);
      draw(await answer, size);
    }
  }

  /** Shows what was found in a frame of a width and height. */
  function draw({ found, presence, landmarks, expression, dropped, error }, [width, height]) {
    if (!stream || dropped) {
      return;
    }
    if (error) {
      stop();
      say(error);
      return;
    }
    const context = marks.getContext("2d");
    // Also clears it.
    [marks.width, marks.height] = [width, height];
    $("preview").dataset.found = String(Boolean(found));
    $("preview").dataset.presence = presence ?? 0;
    if (found) {
      context.fillStyle = "#7cc4a4";
      const side = width / 200;
      for (let i = 0; i < landmarks.length; i += 3) {
        context.fillRect(landmarks[i] - side / 2, landmarks[i + 1] - side / 2, side, side);
      }
      say(hint || "Relax your face and press Calibrate: expressions are measured from there");
    } else {
      say("No face is to be seen");
    }
    if (expression) {
      onExpression(expression);
    }
    refresh();
  }

  $("camera").addEventListener("click", () => (stream ? stop() : start()));
  $("calibrate").addEventListener("click", () => {
    send({ type: "calibrate" });
    hint = "Your face at rest is known. Calibrate again whenever it looks wrong";
    say(hint);
  });
  $("mirror").addEventListener("change", () => {
    const value = $("mirror").checked;
    $("preview").classList.toggle("mirrored", value);
    send({ type: "mirror", value });
  });
  $("preview").classList.toggle("mirrored", $("mirror").checked);

  return {
    get running() {
      return Boolean(stream);
    },
    /** Whether the camera can be used now. */
    enable(value) {
      if (value && !available && !stream) {
        say(IDLE);
      }
      available = value;
      refresh();
    },
    say,
    /** Takes the engine's answer to a frame, unless it is of one before the camera was stopped. */
    see(message) {
      if (message.id === sent) {
        answered(message);
      }
    },
    stop,
  };
}

/** Waits for the video to show another frame. */
function nextFrame(video) {
  return new Promise((resolve) => {
    if ("requestVideoFrameCallback" in video) {
      video.requestVideoFrameCallback(resolve);
    } else {
      requestAnimationFrame(resolve);
    }
  });
}

/** Whether the server has the tracker's files, which are not part of this page's source. */
export async function hasNets() {
  const found = Object.values(NETS).map(async (url) => {
    const response = await fetch(url, { method: "HEAD" }).catch(() => undefined);
    return response?.ok ?? false;
  });
  return (await Promise.all(found)).every(Boolean);
}
