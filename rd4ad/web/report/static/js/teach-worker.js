/**
 * A memory of patches, fitted in the browser: features of the bundled teacher, a coreset of them, and the scores of every photo by the
 * patches of the others. The method is rd4ad/teach/memory.py's; what differs is said in docs/HOSTING.md.
 */

import { greedyCoreset, picked } from "./coreset.js";
import { decoded, inSize } from "./photo.js";
import { alignment, findings, photoOf } from "./photo-checks.js";
import { runtime } from "./runtime.js";
import { anomalyMap, largest, median } from "./scoring.js";
import { thresholdFor } from "./statistics.js";

const LIES_STILL = 0.8; // correlation of photos with their mean from which on places count
const SAMPLED = 2048; // patches of either half whose distances are looked at
const CHOSEN_AMONG = 65_536; // patches that the memory is chosen among, at most
const PROJECTED = 64; // columns on which the coreset is chosen
const [MOST_PHOTOS, NEVER] = [300, -1e30];

/** @type {any} */
let ort;
/** @type {{patches: any, search: any}} */
let models;
/** @type {any} what data/teach.json says: recipe, teacher */
let setup;
/** @type {import("./photo-checks.js").Photo[]} */
let photos = [];
/** @type {{memory: import("./coreset.js").Rows, place: number, threshold: import("./statistics.js").Threshold, scores: number[]} | null} */
let fitted = null;

/** A generator of numbers that is the same every time (mulberry32). @param {number} seed */
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** @param {{patches: ArrayBuffer, search: ArrayBuffer, setup: any}} given */
async function open(given) {
  ort = await runtime("wasm");
  setup = given.setup;
  const options = { executionProviders: ["wasm"] };
  models = {
    patches: await ort.InferenceSession.create(new Uint8Array(given.patches), options),
    search: await ort.InferenceSession.create(new Uint8Array(given.search), options),
  };
  return { threads: ort.env.wasm.numThreads };
}

/** @param {{blobs: Blob[], names: string[]}} given */
async function add({ blobs, names }) {
  const problems = [];
  for (const [i, blob] of blobs.entries()) {
    if (photos.length >= MOST_PHOTOS) {
      problems.push(`${names[i]}: at most ${MOST_PHOTOS} photos`);
      continue;
    }
    try {
      const { pixels, shown } = await decoded(blob);
      shown.close();
      const size = setup.recipe.size_px;
      photos.push(photoOf(names[i], inSize(pixels.data, pixels.width, pixels.height, size), size, pixels.width, pixels.height));
    } catch (error) {
      problems.push(`${names[i]}: ${error instanceof Error ? error.message : error}`);
    }
  }
  fitted = null;
  return { n_photos: photos.length, problems, findings: findings(photos) };
}

/**
 * Return the patches of an image, without their places.
 * @param {Uint8Array} pixels
 * @returns {Promise<import("./coreset.js").Rows>}
 */
async function patchesOf(pixels) {
  const size = setup.recipe.size_px;
  const { patches } = await models.patches.run({ image: new ort.Tensor("uint8", pixels, [1, size, size, 3]) });
  return { data: new Float32Array(patches.data), columns: patches.dims[2] };
}

/**
 * Return patches with their places, row and column as shares of the side, times the weight of places.
 * @param {import("./coreset.js").Rows} rows of whole images
 * @param {number} place
 * @returns {import("./coreset.js").Rows}
 */
function withPlaces(rows, place) {
  if (!place) return rows;
  const { side } = setup;
  const columns = rows.columns + 2;
  const n = rows.data.length / rows.columns;
  const data = new Float32Array(n * columns);
  for (let i = 0; i < n; i += 1) {
    data.set(rows.data.subarray(i * rows.columns, (i + 1) * rows.columns), i * columns);
    data[i * columns + rows.columns] = (place * (Math.floor((i % (side * side)) / side) + 0.5)) / side;
    data[i * columns + rows.columns + 1] = (place * ((i % side) + 0.5)) / side;
  }
  return { data, columns };
}

/** @param {import("./coreset.js").Rows} rows */
function tensor(rows) {
  return new ort.Tensor("float32", rows.data, [rows.data.length / rows.columns, rows.columns]);
}

/** @param {import("./coreset.js").Rows} rows @returns {Float32Array} */
function squares({ data, columns }) {
  const found = new Float32Array(data.length / columns);
  for (let i = 0; i < data.length; i += 1) found[Math.floor(i / columns)] += data[i] * data[i];
  return found;
}

/**
 * Return the squared distance of each row to the nearest of the others.
 * @param {import("./coreset.js").Rows} rows
 * @param {import("./coreset.js").Rows} others
 * @param {(i: number) => boolean} [isLeftOut] which of the others do not count
 * @returns {Promise<Float32Array>}
 */
async function nearest(rows, others, isLeftOut = () => false) {
  const own = squares(rows);
  const bias = squares(others).map((value, i) => (isLeftOut(i) ? NEVER : -value / 2));
  const { best } = await models.search.run(
    { rows: tensor(rows), others: tensor(others), bias: new ort.Tensor("float32", bias, [bias.length]) }, ["best"],
  );
  return own.map((value, i) => Math.max(0, value - 2 * best.data[i]));
}

/**
 * Return rows on fewer columns, by a random projection that keeps distances.
 * @param {import("./coreset.js").Rows} rows
 * @returns {Promise<import("./coreset.js").Rows>}
 */
async function projected(rows) {
  const draw = random(0);
  const normal = () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
  const matrix = { data: Float32Array.from({ length: PROJECTED * rows.columns }, () => normal() / Math.sqrt(PROJECTED)), columns: rows.columns };
  const none = new ort.Tensor("float32", new Float32Array(PROJECTED), [PROJECTED]);
  const { products } = await models.search.run({ rows: tensor(rows), others: tensor(matrix), bias: none }, ["products"]);
  return { data: new Float32Array(products.data), columns: PROJECTED };
}

/** @param {Float32Array} distances side x side @returns {Float32Array} the anomaly map */
function mapOf(distances) {
  const layer = setup.recipe.layers[0];
  const stack = new Map([[layer, { side: setup.side, values: distances.map(Math.sqrt) }]]);
  return anomalyMap(stack, { layers: [layer], fusion: "sum", sigma: setup.sigma_px }, setup.recipe.size_px);
}

/** @param {{rate: number}} given @param {(said: string) => void} say */
async function fit({ rate }, say) {
  const stops = findings(photos).find((one) => one.stops);
  if (stops) throw new Error(stops.text);
  const begin = performance.now();
  const per = setup.side ** 2;
  /** @type {Float32Array[]} */
  const parts = [];
  let columns = 0;
  for (const [i, photo] of photos.entries()) {
    const own = await patchesOf(photo.pixels);
    columns = own.columns;
    parts.push(own.data);
    say(`reading features: ${i + 1} of ${photos.length} photos`);
  }
  const plain = { data: new Float32Array(parts.length * per * columns), columns };
  parts.forEach((part, i) => plain.data.set(part, i * per * columns));
  const place = alignment(photos) >= LIES_STILL ? 4 * (await spacing(plain, per)) : 0;
  const rows = withPlaces(plain, place);
  say("choosing the memory");
  const draw = random(1);
  let among = Array.from({ length: parts.length * per }, (_, i) => i);
  if (among.length > CHOSEN_AMONG) among = among.filter(() => draw() < CHOSEN_AMONG / (parts.length * per));
  const points = await projected(picked(rows, among));
  const count = Math.min(setup.recipe.n_rows, among.length);
  const chosen = (await greedyCoreset(points, count, nearest, (share) => say(`choosing the memory: ${(100 * share).toFixed(0)}%`))).map((i) => among[i]);
  const memory = picked(rows, chosen);
  /** @type {number[]} */
  const scores = [];
  for (let i = 0; i < parts.length; i += 1) {
    const own = { data: rows.data.subarray(i * per * rows.columns, (i + 1) * per * rows.columns), columns: rows.columns };
    const distances = await nearest(own, memory, (k) => Math.floor(chosen[k] / per) === i);
    scores.push(largest(mapOf(distances)));
    say(`scoring each photo by the others: ${i + 1} of ${parts.length}`);
  }
  fitted = { memory, place, threshold: thresholdFor(scores, rate), scores };
  const order = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a]);
  return {
    threshold: fitted.threshold, scores, seconds: (performance.now() - begin) / 1000, n_rows: count,
    least_alike: order.slice(0, 3).map((i) => photos[i].name), median: median(scores),
  };
}

/**
 * Return the median distance of a patch of every second photo to the nearest of the others.
 * @param {import("./coreset.js").Rows} rows
 * @param {number} per patches of a photo
 */
async function spacing(rows, per) {
  const draw = random(2);
  const n = rows.data.length / rows.columns / per;
  const half = (/** @type {number} */ first) => {
    const images = Array.from({ length: Math.ceil((n - first) / 2) }, (_, i) => first + 2 * i);
    return picked(rows, Array.from({ length: SAMPLED }, () => images[Math.floor(draw() * images.length)] * per + Math.floor(draw() * per)));
  };
  return median((await nearest(half(0), half(1))).map(Math.sqrt));
}

/** @param {{blob: Blob}} given */
async function judge({ blob }) {
  if (!fitted) throw new Error("teach the detector first");
  const { pixels, shown } = await decoded(blob);
  const begin = performance.now();
  const own = withPlaces(await patchesOf(inSize(pixels.data, pixels.width, pixels.height, setup.recipe.size_px)), fitted.place);
  const map = mapOf(await nearest(own, fitted.memory));
  return { score: largest(map), map, shown, ms: performance.now() - begin };
}

/** Return the detector as a checkpoint that Python loads: a .safetensors file. @param {{name: string}} given */
function save({ name }) {
  if (!fitted) throw new Error("teach the detector first");
  const { memory, place, threshold, scores } = fitted;
  const rows = memory.data.length / memory.columns;
  const header = {
    ...setup.header,
    settings: { n_rows: rows, place, pool: setup.recipe.pool },
    calibration: { scores: [...scores].sort((a, b) => a - b), quantile: 1 - threshold.rate, own_threshold: threshold.value },
    config: { category: name, n_images: photos.length, taught: true },
  };
  const entry = { dtype: "F32", shape: [rows, memory.columns], data_offsets: [0, memory.data.byteLength] };
  let text = JSON.stringify({ __metadata__: { rd4ad: JSON.stringify(header) }, "memory.patches": entry });
  let bytes = new TextEncoder().encode(text);
  if (bytes.length % 8) bytes = new TextEncoder().encode((text += " ".repeat(8 - (bytes.length % 8))));
  const file = new Uint8Array(8 + bytes.length + memory.data.byteLength);
  new DataView(file.buffer).setBigUint64(0, BigInt(bytes.length), true);
  file.set(bytes, 8);
  file.set(new Uint8Array(memory.data.buffer, memory.data.byteOffset, memory.data.byteLength), 8 + bytes.length);
  return { file };
}

function clear() {
  [photos, fitted] = [[], null];
  return { n_photos: 0, problems: [], findings: [] };
}

/** @type {Record<string, (given: any, say: (said: string) => void) => any>} */
const DEEDS = { open, add, fit, judge, save, clear };
let last = Promise.resolve();
self.onmessage = ({ data }) => {
  last = last.then(async () => {
    const say = (/** @type {string} */ said) => self.postMessage({ number: data.number, said });
    try {
      const answer = await DEEDS[data.deed](data, say);
      self.postMessage({ number: data.number, answer }, { transfer: answer.shown ? [answer.shown] : [] });
    } catch (error) {
      self.postMessage({ number: data.number, error: error instanceof Error ? error.message : String(error) });
    }
  });
};
