// Several avatars in one texture.

import * as bindings from "./bindings.js";
import { alphaOf, canvasOf } from "./canvas.js";
import { on, typed } from "./device.js";

/** A grid of pictures in one texture. */
export class Atlas {
  #handle;

  constructor(model, { columns = 1, rows = 1 } = {}) {
    try {
      this.#handle = new bindings.Atlas(model.handle, columns, rows);
      this.texture = this.#handle.texture;
    } catch (error) {
      throw typed(error, model.gpu);
    }
    this.model = model;
    this.columns = columns;
    this.rows = rows;
    this.tileSize = model.config.output_size;
  }

  render(frames, canvas, { transparent = false } = {}) {
    const { gpu } = this.model;
    return on(gpu, async () => {
      const tiles = new bindings.Tiles();
      try {
        for (const { avatar, drive } of frames) {
          avatar.fill(tiles, drive);
        }
        this.#handle.render(tiles, alphaOf(transparent));
        if (canvas) {
          this.#handle.present(canvasOf(gpu, canvas));
        }
      } finally {
        tiles.free();
      }
      await gpu.handle.idle("rendering");
    });
  }

  free() {
    this.#handle.free();
  }
}
