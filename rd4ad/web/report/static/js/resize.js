/**
 * Pillow's antialiased bilinear resize of 8-bit images, to the last level: a triangle as wide as the reduction, first across and
 * then down, with coefficients in fixed point and a rounding to 8 bits after each pass (Pillow, src/libImaging/Resample.c).
 */

const PRECISION_BITS = 32 - 8 - 2;

/**
 * Return where each new pixel looks and with which whole-number weights.
 * @param {number} from
 * @param {number} to
 * @returns {{first: Int32Array, start: Int32Array, weights: Int32Array}}
 */
function coefficients(from, to) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const first = new Int32Array(to);
  const start = new Int32Array(to + 1);
  /** @type {number[]} */
  const weights = [];
  for (let i = 0; i < to; i += 1) {
    const center = (i + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - stretch + 0.5));
    const high = Math.min(from, Math.trunc(center + stretch + 0.5));
    const row = [];
    for (let x = low; x < high; x += 1) row.push(Math.max(0, 1 - Math.abs((x - center + 0.5) / stretch)));
    const total = row.reduce((sum, weight) => sum + weight, 0);
    for (const weight of row) weights.push(Math.trunc((weight / total) * (1 << PRECISION_BITS) + 0.5));
    first[i] = low;
    start[i + 1] = weights.length;
  }
  return { first, start, weights: Int32Array.from(weights) };
}

/** @param {number} sum */
function level(sum) {
  const value = Math.floor(sum / (1 << PRECISION_BITS));
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/**
 * Return an image in a new size.
 * @param {Uint8Array | Uint8ClampedArray} pixels rows of RGBA or RGB
 * @param {number} width
 * @param {number} height
 * @param {number} channels in `pixels`, 3 or 4; the first three are taken
 * @param {number} size new side
 * @returns {Uint8Array} size x size x 3
 */
export function resized(pixels, width, height, channels, size) {
  const half = 1 << (PRECISION_BITS - 1);
  const across = coefficients(width, size);
  const down = coefficients(height, size);
  const narrow = new Uint8Array(height * size * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < size; x += 1) {
      let [red, green, blue] = [half, half, half];
      for (let k = across.start[x], at = (y * width + across.first[x]) * channels; k < across.start[x + 1]; k += 1, at += channels) {
        const weight = across.weights[k];
        red += weight * pixels[at];
        green += weight * pixels[at + 1];
        blue += weight * pixels[at + 2];
      }
      const to = (y * size + x) * 3;
      narrow[to] = level(red);
      narrow[to + 1] = level(green);
      narrow[to + 2] = level(blue);
    }
  }
  const small = new Uint8Array(size * size * 3);
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size * 3; x += 1) {
      let sum = half;
      for (let k = down.start[y], at = down.first[y] * size * 3 + x; k < down.start[y + 1]; k += 1, at += size * 3) {
        sum += down.weights[k] * narrow[at];
      }
      small[y * size * 3 + x] = level(sum);
    }
  }
  return small;
}
