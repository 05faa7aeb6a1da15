// The network's intermediates as pictures.

/** The first three channels of `[y][x][channel]` as red, green and blue. */
export function rgbPicture(values, size, channels) {
  const data = new Uint8ClampedArray(4 * size * size);
  for (let i = 0; i < size * size; i++) {
    for (let c = 0; c < 3; c++) {
      data[4 * i + c] = 255 * values[channels * i + c];
    }
    data[4 * i + 3] = 255;
  }
  return new ImageData(data, size, size);
}

/** `[y][x]` from 0 to 1; near is bright. */
export function grayPicture(values, size) {
  const data = new Uint8ClampedArray(4 * size * size);
  for (let i = 0; i < size * size; i++) {
    data.fill(255 * (1 - values[i]), 4 * i, 4 * i + 3);
    data[4 * i + 3] = 255;
  }
  return new ImageData(data, size, size);
}

/**
 * The three planes of `[v][u][plane][channel]`. Features have no colours of their own: of each
 * plane the three channels that vary most are shown, two standard deviations either side of their
 * mean.
 */
export function planePictures(values, size, channels) {
  return [0, 1, 2].map((plane) => {
    const statistics = Array.from({ length: channels }, (_, c) => {
      let [sum, squares] = [0, 0];
      for (let i = 0; i < size * size; i++) {
        const value = values[(3 * i + plane) * channels + c];
        sum += value;
        squares += value * value;
      }
      const mean = sum / (size * size);
      return { c, mean, deviation: Math.sqrt(Math.max(0, squares / (size * size) - mean * mean)) };
    });
    const shown = statistics.sort((a, b) => b.deviation - a.deviation).slice(0, 3);
    const data = new Uint8ClampedArray(4 * size * size);
    for (let i = 0; i < size * size; i++) {
      for (const [k, { c, mean, deviation }] of shown.entries()) {
        const value = values[(3 * i + plane) * channels + c];
        data[4 * i + k] = 255 * (0.5 + (value - mean) / (4 * (deviation || 1)));
      }
      data[4 * i + 3] = 255;
    }
    return new ImageData(data, size, size);
  });
}
