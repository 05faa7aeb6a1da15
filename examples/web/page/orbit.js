// Orbits around the avatar by pointer, wheel and keyboard.

/** `camera` tells where the camera is, `look` changes it, and `straight` faces the avatar. */
export function orbit(view, { camera, look, straight }) {
  const pointers = new Map();
  view.addEventListener("pointerdown", (event) => {
    view.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    view.classList.add("dragging");
  });
  view.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) {
      return;
    }
    const now = [event.clientX, event.clientY];
    const spread = () => {
      const [a, b] = pointers.values();
      return Math.hypot(a[0] - b[0], a[1] - b[1]);
    };
    if (pointers.size === 1) {
      // The face follows the finger.
      const degrees = 90 / view.clientWidth;
      look({
        azimuth: camera().azimuth - degrees * (now[0] - before[0]),
        elevation: camera().elevation + degrees * (now[1] - before[1]),
      });
      pointers.set(event.pointerId, now);
    } else {
      const old = spread();
      pointers.set(event.pointerId, now);
      look({ distance: (camera().distance * old) / Math.max(spread(), 1) });
    }
  });
  for (const type of ["pointerup", "pointercancel"]) {
    view.addEventListener(type, (event) => {
      pointers.delete(event.pointerId);
      view.classList.toggle("dragging", pointers.size > 0);
    });
  }
  view.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      look({ distance: camera().distance * Math.exp(event.deltaY * 0.001) });
    },
    { passive: false },
  );
  view.addEventListener("keydown", (event) => {
    const { azimuth, elevation, distance } = camera();
    const change = {
      ArrowLeft: { azimuth: azimuth - 3 },
      ArrowRight: { azimuth: azimuth + 3 },
      ArrowUp: { elevation: elevation + 3 },
      ArrowDown: { elevation: elevation - 3 },
      "+": { distance: distance / 1.05 },
      "=": { distance: distance / 1.05 },
      "-": { distance: distance * 1.05 },
    }[event.key];
    if (event.key === "0") {
      straight();
    } else if (change) {
      event.preventDefault();
      look(change);
    }
  });
}
