/** Heatmaps: clear where normal, the server's colors and ranges. */

const RANGE_TOP = 3; // the scale is so many times as long as from its start to the threshold

/**
 * Return where colors begin and are full for a calibrated detector: from the median of the held-out normal scores, with the
 * threshold a third of the way up.
 * @param {number[]} normalScores
 * @param {number} threshold
 * @returns {[number, number]}
 */
export function calibratedRange(normalScores, threshold) {
  const sorted = Float64Array.from(normalScores).sort();
  const middle = sorted.length >> 1;
  const low = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return [low, low + Math.max(RANGE_TOP * (threshold - low), 1e-6)];
}

/**
 * Return the map at the middle of every pixel of a picture, bilinear.
 * @param {Float32Array} map side x side
 * @param {number} side
 * @param {number} width
 * @param {number} height
 * @returns {Float32Array}
 */
export function enlarged(map, side, width, height) {
  const found = new Float32Array(width * height);
  for (let y = 0; y < height; y += 1) {
    const v = Math.min(Math.max(((y + 0.5) * side) / height - 0.5, 0), side - 1);
    const top = Math.floor(v);
    const bottom = Math.min(top + 1, side - 1);
    for (let x = 0; x < width; x += 1) {
      const u = Math.min(Math.max(((x + 0.5) * side) / width - 0.5, 0), side - 1);
      const left = Math.floor(u);
      const right = Math.min(left + 1, side - 1);
      const above = map[top * side + left] * (left + 1 - u) + map[top * side + right] * (u - left);
      const under = map[bottom * side + left] * (left + 1 - u) + map[bottom * side + right] * (u - left);
      found[y * width + x] = above * (top + 1 - v) + under * (v - top);
    }
  }
  return found;
}

/**
 * Draw a map over a picture, in place; what lies above the threshold is outlined.
 * @param {ImageData} picture
 * @param {Float32Array} map side x side
 * @param {number} side
 * @param {{low: number, high: number, opacity: number, threshold: number | null, colors: number[][]}} look
 */
export function overlay(picture, map, side, { low, high, opacity, threshold, colors }) {
  const { width, height, data } = picture;
  const large = enlarged(map, side, width, height);
  for (let i = 0; i < large.length; i += 1) {
    const strength = Math.min(Math.max((large[i] - low) / (high - low), 0), 1);
    if (strength > 0) {
      const color = colors[Math.round(strength * 255)];
      const alpha = opacity * Math.min(1, strength * 2);
      for (let c = 0; c < 3; c += 1) data[4 * i + c] = data[4 * i + c] * (1 - alpha) + color[c] * alpha;
    }
  }
  if (threshold === null) return;
  for (let y = 1; y < height - 1; y += 1) {
    for (let x = 1; x < width - 1; x += 1) {
      const i = y * width + x;
      if (large[i] > threshold && !(large[i - 1] > threshold && large[i + 1] > threshold && large[i - width] > threshold && large[i + width] > threshold)) {
        data.set([0, 158, 115], 4 * i);
      }
    }
  }
}
