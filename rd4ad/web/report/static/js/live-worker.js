/** A detector at work beside the page: decodes, resizes, runs the model. Nothing is sent anywhere. */

import { decoded, inSize } from "./photo.js";
import { runtime } from "./runtime.js";

/** @type {any} */
let ort = null;
/** @type {any} */
let session = null;
let size = 256;

/**
 * @param {{model: ArrayBuffer, size_px: number, engine: string}} given
 */
async function open({ model, size_px, engine }) {
  ort = await runtime(engine);
  size = size_px;
  await session?.release();
  session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: [engine] });
  const begin = performance.now();
  await run(new Uint8Array(size * size * 3)); // what is compiled at first use is compiled now
  return { engine, threads: ort.env.wasm.numThreads, warm_ms: performance.now() - begin };
}

/** @param {Uint8Array} pixels size x size x 3 */
async function run(pixels) {
  const found = await session.run({ image: new ort.Tensor("uint8", pixels, [1, size, size, 3]) });
  /** @type {Record<string, Float32Array>} */
  const layers = {};
  for (const name of session.outputNames) {
    if (name.startsWith("distance_")) layers[name.slice("distance_".length)] = new Float32Array(found[name].data);
  }
  return { score: Number(found.score.data[0]), map: new Float32Array(found.anomaly_map.data), layers };
}

/** @param {{blob?: Blob, pixels?: Uint8Array}} given */
async function judge({ blob, pixels }) {
  const begin = performance.now();
  if (pixels) return { found: await run(pixels), shown: null, ms: performance.now() - begin, width: size, height: size };
  const image = await decoded(/** @type {Blob} */ (blob));
  const { width, height, data } = image.pixels;
  const small = inSize(data, width, height, size);
  const ready = performance.now();
  const found = await run(small);
  return { found, shown: image.shown, ms: performance.now() - ready, read_ms: ready - begin, width, height };
}

// One thing after another: a session runs one image at a time.
let last = Promise.resolve();
self.onmessage = ({ data }) => {
  last = last.then(async () => {
    try {
      const answer = data.open ? await open(data.open) : await judge(data);
      self.postMessage({ number: data.number, answer }, { transfer: answer && "shown" in answer && answer.shown ? [answer.shown] : [] });
    } catch (error) {
      self.postMessage({ number: data.number, error: error instanceof Error ? error.message : String(error) });
    }
  });
};
