/** A detector at work beside the page: decodes, resizes, runs the model. Nothing is sent anywhere. */

import { resized } from "./resize.js";

const MAX_PIXELS = 60_000_000;
const SHOWN_PX = 1024;

/** @type {any} */
let ort = null;
/** @type {any} */
let session = null;
let size = 256;

/**
 * @param {{model: ArrayBuffer, size_px: number, engine: string}} given
 */
async function open({ model, size_px, engine }) {
  const build = engine === "webgpu" ? "ort-wasm-simd-threaded.asyncify" : "ort-wasm-simd-threaded";
  ort = await import(await source(engine === "webgpu" ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs"));
  ort.env.wasm.wasmPaths = { mjs: await source(`${build}.mjs`), wasm: await source(`${build}.wasm`) };
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  size = size_px;
  await session?.release();
  session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: [engine] });
  const begin = performance.now();
  await run(new Uint8Array(size * size * 3)); // what is compiled at first use is compiled now
  return { engine, threads: ort.env.wasm.numThreads, warm_ms: performance.now() - begin };
}

/** @type {Promise<Record<string, {url: string, integrity: string}>> | null} */
let sources = null;

/**
 * Return where a file of the runtime is: beside the pages, or, where they link a CDN, a copy of what came from there and has
 * the digest that it must have.
 * @param {string} file
 * @returns {Promise<string>}
 */
async function source(file) {
  const here = new URL(`../vendor/${file}`, import.meta.url).href;
  sources ??= fetch(new URL("../vendor/sources.json", import.meta.url)).then((answer) => answer.json());
  const linked = (await sources)[file];
  if (!linked) return here;
  const answer = await fetch(linked.url, { integrity: linked.integrity });
  if (!answer.ok) throw new Error(`the runtime cannot be loaded (${answer.status})`);
  const kind = file.endsWith(".wasm") ? "application/wasm" : "text/javascript";
  return URL.createObjectURL(new Blob([await answer.arrayBuffer()], { type: kind }));
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

/**
 * Return an image as RGBA, upright, in its own size.
 * @param {Blob} blob
 */
async function decoded(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error("this is not an image that the browser can read");
  }
  if (bitmap.width * bitmap.height > MAX_PIXELS) throw new Error(`the image has ${bitmap.width} x ${bitmap.height} pixels; at most ${MAX_PIXELS / 1e6} megapixels are read`);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const scale = Math.min(1, SHOWN_PX / Math.max(bitmap.width, bitmap.height));
  const shown = await createImageBitmap(bitmap, { resizeWidth: Math.max(1, Math.round(bitmap.width * scale)), resizeHeight: Math.max(1, Math.round(bitmap.height * scale)), resizeQuality: "high" });
  bitmap.close();
  return { pixels, shown };
}

/** @param {{blob?: Blob, pixels?: Uint8Array}} given */
async function judge({ blob, pixels }) {
  const begin = performance.now();
  if (pixels) return { found: await run(pixels), shown: null, ms: performance.now() - begin, width: size, height: size };
  const image = await decoded(/** @type {Blob} */ (blob));
  const { width, height, data } = image.pixels;
  const small = width === size && height === size ? withoutAlpha(data) : resized(data, width, height, 4, size);
  const ready = performance.now();
  const found = await run(small);
  return { found, shown: image.shown, ms: performance.now() - ready, read_ms: ready - begin, width, height };
}

/** @param {Uint8ClampedArray} rgba */
function withoutAlpha(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4, j += 3) {
    rgb[j] = rgba[i];
    rgb[j + 1] = rgba[i + 1];
    rgb[j + 2] = rgba[i + 2];
  }
  return rgb;
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
