/** A detector in a worker, and what follows from its maps. */

import { Asked } from "./worker.js";

/**
 * @typedef {import("./model-file.js").About & {name: string, file?: string, examples?: string[]}} About
 * @typedef {{found: {score: number, map: Float32Array, layers: Record<string, Float32Array>}, shown: ImageBitmap | null, ms: number,
 *   read_ms?: number, width: number, height: number}} Judgment
 */

export class Detector extends Asked {
  constructor() {
    super("js/live-worker.js");
  }

  /**
   * Load a model; the answer says with what it runs.
   * @param {ArrayBuffer} model
   * @param {number} size
   * @param {string} engine "wasm" or "webgpu"
   * @returns {Promise<{engine: string, threads: number, warm_ms: number}>}
   */
  open(model, size, engine) {
    return this.ask({ open: { model, size_px: size, engine } });
  }

  /** @param {Blob} blob @returns {Promise<Judgment>} */
  judge(blob) {
    return this.ask({ blob });
  }

  /** @param {Uint8Array} pixels RGB in the model's size @returns {Promise<Judgment>} */
  judgePixels(pixels) {
    return this.ask({ pixels });
  }
}

/**
 * Return the 8-connected regions of a map above a threshold as boxes of a picture, highest peak first.
 * @param {Float32Array} map side x side
 * @param {number} side
 * @param {number} threshold
 * @param {number} width of the picture
 * @param {number} height of the picture
 */
export function regions(map, side, threshold, width, height) {
  const seen = new Uint8Array(map.length);
  const found = [];
  for (let begin = 0; begin < map.length; begin += 1) {
    if (seen[begin] || !(map[begin] > threshold)) continue;
    const pixels = [begin];
    seen[begin] = 1;
    let [top, bottom, left, right, peak] = [side, 0, side, 0, 0];
    for (let at = 0; at < pixels.length; at += 1) {
      const y = Math.floor(pixels[at] / side);
      const x = pixels[at] % side;
      [top, bottom, left, right] = [Math.min(top, y), Math.max(bottom, y + 1), Math.min(left, x), Math.max(right, x + 1)];
      peak = Math.max(peak, map[pixels[at]]);
      for (let v = Math.max(0, y - 1); v <= Math.min(side - 1, y + 1); v += 1) {
        for (let u = Math.max(0, x - 1); u <= Math.min(side - 1, x + 1); u += 1) {
          const next = v * side + u;
          if (!seen[next] && map[next] > threshold) {
            seen[next] = 1;
            pixels.push(next);
          }
        }
      }
    }
    const [x, y] = [Math.round((left * width) / side), Math.round((top * height) / side)];
    found.push({ x, y, width: Math.round((right * width) / side) - x, height: Math.round((bottom * height) / side) - y, area: pixels.length / map.length, peak });
  }
  return found.sort((a, b) => b.peak - a.peak);
}

/**
 * Return a map as NPY (version 1, float32).
 * @param {Float32Array} map
 * @param {number} side
 * @returns {Blob}
 */
export function npy(map, side) {
  const said = `{'descr': '<f4', 'fortran_order': False, 'shape': (${side}, ${side}), }`;
  const header = said.padEnd(117, " ") + "\n"; // 10 bytes before it: the data begin at a multiple of 64
  const head = new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  return new Blob([head, header, new Uint8Array(map.buffer, map.byteOffset, map.byteLength).slice()]);
}
