/** Photos as pixels, upright, in the size that a model takes; for workers. */

import { resized } from "./resize.js";

const MAX_PIXELS = 60_000_000;
const SHOWN_PX = 1024;

/**
 * Return an image as RGBA, upright, in its own size.
 * @param {Blob} blob
 */
export async function decoded(blob) {
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

/**
 * Return a photo's RGBA as RGB in a model's size.
 * @param {Uint8ClampedArray} rgba
 * @param {number} width
 * @param {number} height
 * @param {number} size
 * @returns {Uint8Array} size x size x 3
 */
export function inSize(rgba, width, height, size) {
  return width === size && height === size ? withoutAlpha(rgba) : resized(rgba, width, height, 4, size);
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
