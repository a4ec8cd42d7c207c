/** A run scored again, beside the page: it never freezes. */

import { auroc, pixelMetrics, regionWeights } from "./metrics.js";
import { anomalyMap, largest, median } from "./scoring.js";

/**
 * @typedef {{size_px: number, layers: Record<string, {side: number, step: number}>, labels: number[], has_masks: boolean}} About
 */

/** @type {About | null} */
let about = null;
/** @type {Map<number, {side: number, values: Float32Array}>[]} */
let images = [];
/** @type {{weights: Float64Array, regions: number}[]} */
let masks = [];

/**
 * Unpack codes of distance maps, layer by layer, and masks of one bit a pixel.
 * @param {About} given
 * @param {ArrayBuffer} bytes
 */
function open(given, bytes) {
  about = given;
  const n = given.labels.length;
  images = Array.from({ length: n }, () => new Map());
  let at = 0;
  for (const [layer, { side, step }] of Object.entries(given.layers)) {
    const codes = new Uint16Array(bytes, at, n * side * side);
    at += codes.byteLength;
    for (let i = 0; i < n; i += 1) {
      const values = new Float32Array(side * side);
      for (let k = 0; k < values.length; k += 1) values[k] = codes[i * values.length + k] * step;
      images[i].set(Number(layer), { side, values });
    }
  }
  masks = [];
  if (!given.has_masks) return;
  const side = given.size_px;
  const bits = new Uint8Array(bytes, at);
  for (let i = 0; i < n; i += 1) {
    const mask = new Uint8Array(side * side);
    for (let k = 0; k < mask.length; k += 1) {
      const bit = i * mask.length + k;
      mask[k] = (bits[bit >> 3] >> (7 - (bit & 7))) & 1;
    }
    masks.push(regionWeights(mask, side));
  }
}

/**
 * @param {{layers: number[], fusion: string, sigma: number}} scoring
 */
function score(scoring) {
  if (!about) throw new Error("no run is open");
  const size = about.size_px;
  const begin = performance.now();
  const maps = images.map((distances) => anomalyMap(distances, scoring, size));
  const scores = maps.map(largest);
  const metrics = { image_auroc: auroc(scores, about.labels), ...(about.has_masks ? pixelMetrics(maps, masks) : {}) };
  const normal = scores.filter((_, i) => /** @type {About} */ (about).labels[i] === 0);
  return { metrics, scores, maps, low: median(normal), high: median(normal) + 3 * (Math.max(...normal) - median(normal)), ms: performance.now() - begin };
}

self.onmessage = ({ data }) => {
  try {
    if (data.open) open(data.open, data.bytes);
    const found = score(data.scoring);
    const wanted = data.show.map((/** @type {number} */ i) => found.maps[i]);
    self.postMessage({ ...found, maps: wanted, shown: data.show, number: data.number });
  } catch (error) {
    self.postMessage({ error: error instanceof Error ? error.message : String(error) });
  }
};
