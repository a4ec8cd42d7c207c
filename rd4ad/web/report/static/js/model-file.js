/** What an .onnx file says of itself: the entry "rd4ad" of its metadata, without reading the graph. */

const METADATA = 14; // ModelProto.metadata_props, onnx/onnx.proto
const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5];

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 * @returns {[number, number]} value and where it ends
 */
function varint(bytes, at) {
  let value = 0;
  for (let shift = 0; shift < 64; shift += 7) {
    if (at >= bytes.length) break;
    const byte = bytes[at++];
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return [value, at];
  }
  throw new Error("this is not an ONNX file");
}

/**
 * Yield the fields of a message: number, and content of those that hold bytes.
 * @param {Uint8Array} bytes
 * @returns {Generator<[number, Uint8Array | null]>}
 */
function* fields(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const [key, begin] = varint(bytes, at);
    const kind = key % 8;
    const number = Math.floor(key / 8);
    if (kind === VARINT) {
      at = varint(bytes, begin)[1];
      yield [number, null];
    } else if (kind === BYTES) {
      const [size, from] = varint(bytes, begin);
      at = from + size;
      if (at > bytes.length) throw new Error("this ONNX file is cut off");
      yield [number, bytes.subarray(from, at)];
    } else if (kind === FIXED64 || kind === FIXED32) {
      at = begin + (kind === FIXED64 ? 8 : 4);
      yield [number, null];
    } else {
      throw new Error("this is not an ONNX file");
    }
  }
}

/**
 * What a detector says of itself: the side of its images, its threshold if it is calibrated, scores of held-out normal images, and
 * how its maps are made.
 * @typedef {{size_px: number, threshold: number | null, normal_scores: number[], sigma: number}} About
 */

/**
 * Return what a detector's file says of itself.
 * @param {Uint8Array} bytes
 * @returns {About}
 */
export function aboutModel(bytes) {
  const text = new TextDecoder();
  for (const [number, content] of fields(bytes)) {
    if (number !== METADATA || !content) continue;
    const entry = Object.fromEntries([...fields(content)].map(([k, value]) => [k, value ? text.decode(value) : ""]));
    if (entry[1] === "rd4ad") return checked(JSON.parse(entry[2]));
  }
  throw new Error("this .onnx file is no detector: rd4ad export writes one");
}

/**
 * Return what a model says of itself, checked; `rd4ad.inference.graph.describe` writes it.
 * @param {any} about
 * @returns {About}
 */
export function checked(about) {
  if (!Number.isInteger(about?.size_px) || about.size_px < 32 || about.size_px > 1024) {
    throw new Error("this .onnx file is no detector: it names no image size");
  }
  const scores = about.calibration?.scores ?? [];
  const isNumber = (/** @type {unknown} */ value) => typeof value === "number" && Number.isFinite(value);
  const threshold = about.threshold ?? null;
  if (!Array.isArray(scores) || !scores.every(isNumber) || (threshold !== null && !isNumber(threshold))) {
    throw new Error("this .onnx file is no detector: its calibration holds no numbers");
  }
  return { size_px: about.size_px, threshold, normal_scores: scores, sigma: Number(about.scoring?.sigma_px ?? 4) };
}
