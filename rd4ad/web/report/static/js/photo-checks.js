/** What stands in the way of learning from photos, as rd4ad/teach/photos.py finds it. */

import { resized } from "./resize.js";
import { median } from "./scoring.js";

export const AT_LEAST = 5;
const ENOUGH = 20;
const SMALL_PX = 32;
const [SAME_LEVELS, BLURRED, CLIPPED, OTHER_ASPECT, ALIGNED] = [0.7, 0.35, 0.25, 0.05, 0.5];

/**
 * @typedef {{name: string, pixels: Uint8Array, width: number, height: number, small: Float32Array, sharpness: number, clipped: number}} Photo
 * @typedef {{kind: string, text: string, photos: string[], stops: boolean}} Finding
 */

/**
 * Return a photo with what is measured of it.
 * @param {string} name
 * @param {Uint8Array} pixels size x size x 3
 * @param {number} size
 * @param {number} width as it came
 * @param {number} height as it came
 * @returns {Photo}
 */
export function photoOf(name, pixels, size, width, height) {
  const tiny = resized(pixels, size, size, 3, SMALL_PX);
  let clipped = 0;
  const gray = new Float32Array(size * size);
  for (let i = 0; i < gray.length; i += 1) {
    const [r, g, b] = [pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]];
    gray[i] = (r + g + b) / 3;
    if (Math.min(r, g, b) >= 253) clipped += 1;
  }
  const small = Float32Array.from({ length: SMALL_PX ** 2 }, (_, i) => (tiny[3 * i] + tiny[3 * i + 1] + tiny[3 * i + 2]) / 3);
  return { name, pixels, width, height, small, sharpness: sharpness(gray, size), clipped: clipped / gray.length };
}

/**
 * Return the spread of the Laplacian over that of the levels, after a Gaussian of 0.8 px; falls with blur, not with light.
 * @param {Float32Array} gray
 * @param {number} size
 */
function sharpness(gray, size) {
  const kernel = [-3, -2, -1, 0, 1, 2, 3].map((k) => Math.exp(-0.5 * (k / 0.8) ** 2));
  const total = kernel.reduce((sum, weight) => sum + weight, 0);
  const reflected = (/** @type {number} */ i) => (i < 0 ? -i - 1 : i >= size ? 2 * size - 1 - i : i);
  let from = gray;
  for (const step of [1, size]) {
    const to = new Float32Array(from.length);
    for (let y = 0; y < size; y += 1) {
      for (let x = 0; x < size; x += 1) {
        let sum = 0;
        for (let k = -3; k <= 3; k += 1) sum += kernel[k + 3] * (step === 1 ? from[y * size + reflected(x + k)] : from[reflected(y + k) * size + x]);
        to[y * size + x] = sum / total;
      }
    }
    from = to;
  }
  const laplacian = new Float32Array(from.length);
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      const at = (/** @type {number} */ v, /** @type {number} */ u) => from[reflected(v) * size + reflected(u)];
      laplacian[y * size + x] = at(y - 1, x) + at(y + 1, x) + at(y, x - 1) + at(y, x + 1) - 4 * at(y, x);
    }
  }
  return spread(laplacian) / (spread(from) + 1);
}

/** @param {ArrayLike<number>} values */
function spread(values) {
  let [sum, squares] = [0, 0];
  for (let i = 0; i < values.length; i += 1) sum += values[i];
  const mean = sum / values.length;
  for (let i = 0; i < values.length; i += 1) squares += (values[i] - mean) ** 2;
  return Math.sqrt(squares / values.length);
}

/**
 * Return the median correlation of a photo with the mean of all, at 32 px.
 * @param {Photo[]} photos
 * @returns {number}
 */
export function alignment(photos) {
  const rows = photos.map(({ small }) => {
    const mean = small.reduce((sum, value) => sum + value, 0) / small.length;
    return small.map((value) => value - mean);
  });
  const mean = rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);
  const dot = (/** @type {Float32Array} */ a, /** @type {Float32Array} */ b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  return median(rows.map((row) => dot(row, mean) / Math.max(Math.sqrt(dot(row, row) * dot(mean, mean)), 1e-6)));
}

/**
 * Return what the visitor should know of the photos, of the whole set first.
 * @param {Photo[]} photos
 * @returns {Finding[]}
 */
export function findings(photos) {
  if (photos.length < AT_LEAST) {
    return [{ kind: "too few", text: `${photos.length} photos: at least ${AT_LEAST} are needed to fit and to hold some out. From ${ENOUGH} on the threshold settles.`, photos: [], stops: true }];
  }
  const sharp = median(photos.map((one) => one.sharpness));
  const clipped = median(photos.map((one) => one.clipped));
  const aspect = (/** @type {Photo} */ one) => Math.log(one.width / one.height);
  const usual = median(photos.map(aspect));
  const isCopy = (/** @type {number} */ i) => photos.slice(0, i).some((other) => spread(other.small.map((value, k) => value - photos[i].small[k])) < SAME_LEVELS);
  /** @type {[string, string, (one: Photo, i: number) => boolean][]} */
  const kinds = [
    ["duplicates", "nearly the same as another one. A copy teaches nothing and makes the threshold look surer than it is.", (_, i) => isCopy(i)],
    ["blurred", "much less sharp than the others. Blur then counts as normal.", (one) => one.sharpness < BLURRED * sharp],
    ["over-exposed", "over-exposed: large areas are plain white, where no defect can be seen.", (one) => one.clipped > clipped + CLIPPED],
    ["aspect ratio", "of another aspect ratio. Every photo is stretched to a square: crop all photos alike.", (one) => Math.abs(aspect(one) - usual) > OTHER_ASPECT],
  ];
  /** @type {Finding[]} */
  const found = [];
  if (photos.length < ENOUGH) found.push({ kind: "few", text: `Fewer than ${ENOUGH} photos: the rate of false alarms is estimated loosely. Add more.`, photos: [], stops: false });
  if (alignment(photos) < ALIGNED) {
    found.push({ kind: "not aligned", text: "The parts do not lie in the same place. Surface defects can still be found; a part that is missing, turned or misplaced may not be.", photos: [], stops: false });
  }
  for (const [kind, text, holds] of kinds) {
    const names = photos.filter(holds).map((one) => one.name);
    if (names.length) found.push({ kind, text: `${names.length === 1 ? `${names[0]} is` : `${names.length} photos are`} ${text}`, photos: names, stops: false });
  }
  return found;
}
