/**
 * Distance maps -> anomaly map -> score, as rd4ad/scoring.py does it: bilinear upsampling with aligned corners and a Gaussian
 * with a reflecting border are both linear and separable, so each is one small matrix from the left and from the right.
 */

/**
 * A matrix of few entries a row: those of row i are `weights[start[i] .. start[i + 1]]`, in the columns from `first[i]` on.
 * @typedef {{rows: number, first: Int32Array, start: Int32Array, weights: Float32Array}} Band
 */

/**
 * @param {number[][]} dense
 * @returns {Band}
 */
function banded(dense) {
  const first = new Int32Array(dense.length);
  const start = new Int32Array(dense.length + 1);
  /** @type {number[]} */
  const weights = [];
  dense.forEach((row, i) => {
    let low = 0;
    let high = row.length - 1;
    while (low < high && row[low] === 0) low += 1;
    while (high > low && row[high] === 0) high -= 1;
    first[i] = low;
    for (let j = low; j <= high; j += 1) weights.push(row[j]);
    start[i + 1] = weights.length;
  });
  return { rows: dense.length, first, start, weights: Float32Array.from(weights) };
}

/**
 * Return the matrix of linear interpolation with aligned corners.
 * @param {number} from
 * @param {number} to
 * @returns {number[][]}
 */
export function upsampling(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const position = (i * (from - 1)) / (to - 1);
    return Array.from({ length: from }, (_, j) => Math.max(0, 1 - Math.abs(position - j)));
  });
}

/**
 * Return the matrix of SciPy's one-dimensional Gaussian: cut off at four sigmas, reflecting border.
 * @param {number} size
 * @param {number} sigma in pixels; 0 for none
 * @returns {number[][]}
 */
export function smoothing(size, sigma) {
  const matrix = Array.from({ length: size }, () => new Array(size).fill(0));
  const radius = sigma > 0 ? Math.floor(4 * sigma + 0.5) : 0;
  const kernel = Array.from({ length: 2 * radius + 1 }, (_, k) => (sigma > 0 ? Math.exp(-0.5 * ((k - radius) / sigma) ** 2) : 1));
  const total = kernel.reduce((sum, weight) => sum + weight, 0);
  for (let i = 0; i < size; i += 1) {
    for (let k = -radius; k <= radius; k += 1) {
      let j = (((i + k) % (2 * size)) + 2 * size) % (2 * size);
      if (j >= size) j = 2 * size - 1 - j;
      matrix[i][j] += kernel[k + radius] / total;
    }
  }
  return matrix;
}

/**
 * @param {number[][]} left
 * @param {number[][]} right
 * @returns {number[][]}
 */
function product(left, right) {
  return left.map((row) => {
    const sums = new Array(right[0].length).fill(0);
    row.forEach((weight, k) => {
      if (weight !== 0) for (let j = 0; j < sums.length; j += 1) sums[j] += weight * right[k][j];
    });
    return sums;
  });
}

/** @type {Map<string, Band>} */
const bands = new Map();

/**
 * @param {string} key
 * @param {() => number[][]} make
 * @returns {Band}
 */
function kept(key, make) {
  let found = bands.get(key);
  if (!found) {
    found = banded(make());
    bands.set(key, found);
  }
  return found;
}

/**
 * Return band @ map @ band.T.
 * @param {Band} band
 * @param {Float32Array} map side x side
 * @param {number} side
 * @returns {Float32Array} of (band.rows)^2
 */
function bothSides(band, map, side) {
  const n = band.rows;
  const half = new Float32Array(n * side);
  for (let i = 0; i < n; i += 1) {
    for (let k = band.start[i], row = band.first[i]; k < band.start[i + 1]; k += 1, row += 1) {
      const weight = band.weights[k];
      for (let j = 0; j < side; j += 1) half[i * side + j] += weight * map[row * side + j];
    }
  }
  const whole = new Float32Array(n * n);
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j < n; j += 1) {
      let sum = 0;
      for (let k = band.start[j], column = band.first[j]; k < band.start[j + 1]; k += 1, column += 1) {
        sum += band.weights[k] * half[i * side + column];
      }
      whole[i * n + j] = sum;
    }
  }
  return whole;
}

/**
 * Return the smoothed anomaly map of one image.
 * @param {Map<number, {side: number, values: Float32Array}>} distances by layer
 * @param {{layers: number[], fusion: string, sigma: number}} scoring
 * @param {number} size side of the map in pixels
 * @returns {Float32Array} size x size
 */
export function anomalyMap(distances, { layers, fusion, sigma }, size) {
  const total = new Float32Array(size * size);
  if (fusion === "product" && layers.length > 1) {
    total.fill(1);
    for (const layer of layers) {
      const { side, values } = /** @type {any} */ (distances.get(layer));
      const up = bothSides(kept(`up ${side} ${size}`, () => upsampling(side, size)), values, side);
      for (let i = 0; i < total.length; i += 1) total[i] *= up[i];
    }
    return bothSides(kept(`smooth ${size} ${sigma}`, () => smoothing(size, sigma)), total, size);
  }
  for (const layer of layers) {
    const { side, values } = /** @type {any} */ (distances.get(layer));
    const key = `both ${side} ${size} ${sigma}`;
    const map = bothSides(kept(key, () => product(smoothing(size, sigma), upsampling(side, size))), values, side);
    for (let i = 0; i < total.length; i += 1) total[i] += map[i];
  }
  return total;
}

/**
 * Return the largest value: the score of an image.
 * @param {Float32Array} map
 * @returns {number}
 */
export function largest(map) {
  let most = -Infinity;
  for (const value of map) if (value > most) most = value;
  return most;
}

/**
 * Return the middle value.
 * @param {ArrayLike<number>} values
 * @returns {number}
 */
export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
