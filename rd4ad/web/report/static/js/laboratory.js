/** A stored run under another scoring: metrics and heatmaps, computed in the browser. */

import { chosen, keep } from "./address.js";
import { select, slider } from "./controls.js";
import { load } from "./data.js";
import { byId, clearError, el, fill, sayError } from "./dom.js";
import { percent, signed } from "./format.js";
import { overlay } from "./overlay.js";
import { start } from "./page.js";

const SHOWN = 12;
const NAMES = { image_auroc: "Image AUROC", pixel_auroc: "Pixel AUROC", aupro: "PRO, MVTec at 0.3" };

start(async () => {
  const index = await load("index");
  const runs = await load("laboratory");
  if (!runs.length) throw new Error("No run is stored yet: rd4ad evaluate stores one.");
  const worker = new Worker("js/laboratory-worker.js", { type: "module" });
  let number = 0;
  let usual = /** @type {Record<string, number> | null} */ (null);
  const options = runs.map((/** @type {any} */ one) => [one.id, `${one.category} · ${one.setting} · ${one.dataset}`]);
  const first = runs.find((/** @type {any} */ one) => one.category === "transistor" && one.has_masks)?.id;
  const run = select({ label: "Run", name: "run", options, first, onChange: () => void open() });
  const layers = select({
    label: "Layers", name: "layers", first: "1+2+3", onChange: () => ask(),
    options: ["1+2+3", "1+2", "1+3", "2+3", "1", "2", "3"].map((name) => [name, name]),
  });
  const fusion = select({ label: "Fusion", name: "fusion", options: [["sum", "sum"], ["product", "product"]], onChange: () => ask() });
  const sigma = slider({
    label: "Smoothing, px", min: 0, max: 8, step: 0.5, value: Number(chosen("sigma", "4")),
    onInput: (value) => { keep("sigma", String(value), "4"); ask(); },
  });
  fill(byId("controls"), run.element, layers.element, fusion.element, sigma.element);
  const about = () => runs.find((/** @type {any} */ one) => one.id === run.value());
  const scoring = () => ({ layers: layers.value().split("+").map(Number), fusion: fusion.value(), sigma: Number(sigma.input.value) });
  const show = () => about().order.slice(0, SHOWN);

  async function open() {
    const answer = await fetch(`data/lab/${run.value()}.bin`);
    if (!answer.ok) throw new Error(`the distance maps of this run cannot be read (${answer.status})`);
    const bytes = await answer.arrayBuffer();
    usual = null;
    worker.postMessage({ open: about(), bytes, scoring: scoring(), show: show(), number: ++number }, [bytes]);
  }

  function ask() {
    worker.postMessage({ scoring: scoring(), show: show(), number: ++number });
  }

  worker.onmessage = ({ data }) => {
    if (data.error) return sayError(data.error);
    if (data.number !== number) return;
    clearError();
    const own = about();
    usual ??= own.stored;
    fill(byId("metrics"), ...Object.entries(data.metrics).map(([name, value]) =>
      el("div", { class: "card" }, el("span", { class: "quiet" }, /** @type {any} */ (NAMES)[name]), el("p", { class: "number", "data-metric": name, "data-value": value }, percent(value)),
        el("span", { class: "quiet" }, usual?.[name] === undefined ? "" : `${signed(value - usual[name])} against the stored scoring`))));
    byId("about").textContent = `${own.labels.length} test images, computed in ${data.ms.toFixed(0)} ms. ` +
      (own.has_masks ? "" : "Pixel metrics need masks, which may not be passed on for this dataset.");
    fill(byId("pictures"), ...data.shown.map((/** @type {number} */ i, /** @type {number} */ k) => picture(own, i, data.maps[k], data)));
  };

  /** @param {any} own @param {number} i @param {Float32Array} map @param {any} data */
  function picture(own, i, map, data) {
    const side = own.size_px;
    const canvas = /** @type {HTMLCanvasElement} */ (el("canvas", { width: side, height: side, role: "img", "aria-label": `Heatmap of ${own.names[i]}, score ${data.scores[i].toFixed(3)}` }));
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.fillStyle = "#181818";
    context.fillRect(0, 0, side, side);
    const pixels = context.getImageData(0, 0, side, side);
    overlay(pixels, map, side, { low: data.low, high: data.high, opacity: 1, threshold: null, colors: index.heat });
    context.putImageData(pixels, 0, 0);
    return el("figure", {}, canvas, el("figcaption", {}, `${own.names[i]}: ${data.scores[i].toFixed(3)}`));
  }

  await open();
});
