/** Photos as heatmaps on the visitor's own device. */

import { chosen, keep } from "./address.js";
import { select, slider } from "./controls.js";
import { load } from "./data.js";
import { Detector, npy, regions } from "./detector.js";
import { byId, clearError, download, el, fill, sayError } from "./dom.js";
import { csv } from "./format.js";
import { aboutModel, checked } from "./model-file.js";
import { calibratedRange, overlay } from "./overlay.js";
import { start } from "./page.js";
import { anomalyMap, largest, median } from "./scoring.js";

const FOREIGN_SHARE = 0.5; // of the map above every normal image's score: another part
const AGREE = 1e-3; // of the score, between WebAssembly and WebGPU
const MOST = 200; // photos at once
const MAX_MODEL_BYTES = 200 * 2 ** 20;

start(async () => {
  const index = await load("index");
  /** @type {import("./detector.js").About[]} */
  const detectors = (await load("detectors")).map((/** @type {any} */ one) => ({ name: one.name, file: one.file, examples: one.examples, ...checked(one) }));
  const detector = new Detector();
  /** @type {import("./detector.js").About} */
  let about = detectors[0] ?? { name: "none", size_px: 256, threshold: null, normal_scores: [], sigma: 4 };
  /** @type {import("./detector.js").Judgment | null} */
  let judged = null;
  let title = "";
  /** @type {Promise<void>} */
  let ready = Promise.resolve();
  /** @type {(string | number | null)[][]} */
  let rows = [];

  const options = detectors.map((one) => /** @type {[string, string]} */ ([one.name, one.name]));
  const box = select({ label: "Detector", name: "detector", options: options.length ? options : [["", "drop one here"]], onChange: () => choose() });
  const engines = /** @type {[string, string][]} */ ([["wasm", "WebAssembly"]]);
  if ("gpu" in navigator) engines.push(["webgpu", "WebGPU"]);
  const engine = select({ label: "Runs on", name: "engine", options: engines, onChange: () => choose() });
  fill(byId("controls"), box.element, engine.element);
  const opacity = slider({ label: "Opacity", min: 0, max: 1, step: 0.05, value: 0.75, onInput: () => redraw() });
  const threshold = slider({ label: "Threshold", min: 0, max: 2, step: 0.001, value: 0.5, onInput: () => redraw() });
  fill(byId("drawing"), opacity.element, threshold.element);

  function choose() {
    const one = detectors.find((each) => each.name === box.value());
    if (!one) return;
    about = one;
    ready = fetchModel(one).then((model) => open(model));
    ready.catch(sayError);
    showExamples(one.examples ?? []);
  }

  /** @param {import("./detector.js").About} one */
  async function fetchModel(one) {
    const answer = await fetch(/** @type {string} */ (one.file));
    if (!answer.ok || !answer.body) throw new Error(`the detector cannot be loaded (${answer.status})`);
    const total = Number(answer.headers.get("content-length")) || 0;
    const reader = answer.body.getReader();
    const parts = [];
    let done = 0;
    for (;;) {
      const { value, done: isDone } = await reader.read();
      if (isDone) break;
      parts.push(value);
      done += value.length;
      byId("progress").textContent = `Loading the detector: ${(done / 2 ** 20).toFixed(1)} MB${total ? ` of ${(total / 2 ** 20).toFixed(1)}` : ""}`;
    }
    return new Blob(parts).arrayBuffer();
  }

  /** @param {ArrayBuffer} model */
  async function open(model) {
    byId("progress").textContent = "Starting the runtime";
    let found = await detector.open(model.slice(0), about.size_px, "wasm");
    let refusal = "";
    if (engine.value() === "webgpu") {
      refusal = await whyNotGpu(model);
      found = refusal ? await detector.open(model, about.size_px, "wasm") : { ...found, engine: "webgpu" };
    }
    byId("progress").textContent = `Ready: ${about.name}, ${found.engine === "wasm" ? `WebAssembly, ${found.threads} thread${found.threads > 1 ? "s" : ""}` : "WebGPU"}${refusal}`;
    byId("progress").dataset.ready = about.name;
    const at = about.threshold ?? 0.5;
    threshold.input.max = String(Math.max(2 * at, 1.5));
    threshold.input.value = String(at);
    threshold.input.dispatchEvent(new Event("input"));
  }

  /**
   * Try a model on the graphics processor, which takes over only if it gives the same score, and sooner.
   * @param {ArrayBuffer} model
   * @returns {Promise<string>} why it does not, in words; empty if it does
   */
  async function whyNotGpu(model) {
    const pixels = Uint8Array.from({ length: about.size_px ** 2 * 3 }, (_, i) => (i * 2654435761) >>> 24);
    const timed = async () => {
      await detector.judgePixels(pixels.slice()); // what is compiled at first use
      const { found, ms } = await detector.judgePixels(pixels.slice());
      return { score: found.score, ms };
    };
    const plain = await timed();
    try {
      await detector.open(model.slice(0), about.size_px, "webgpu");
      const tried = await timed();
      if (Math.abs(tried.score - plain.score) > AGREE) return `: WebGPU gives another score (${tried.score.toFixed(4)}, not ${plain.score.toFixed(4)})`;
      return tried.ms < plain.ms ? "" : `: WebGPU is slower here (${tried.ms.toFixed(0)} ms, not ${plain.ms.toFixed(0)})`;
    } catch (error) {
      return `: WebGPU does not run it (${error instanceof Error ? error.message.slice(0, 80) : error})`;
    }
  }

  /** @param {string[]} files */
  function showExamples(files) {
    fill(byId("examples"), ...files.map((file) => {
      const said = file.split("/").pop()?.replace(/[.].*/, "").replaceAll("_", " ") ?? file;
      return el("button", { "aria-label": `Example: ${said}`, onclick: async () => {
        const answer = await fetch(file);
        await show([new File([await answer.blob()], said)]);
      } }, el("img", { src: file, alt: "", width: 120, height: 120 }));
    }));
  }

  /** @param {Blob[]} blobs */
  async function show(blobs) {
    clearError();
    await ready;
    rows = [];
    const many = blobs.slice(0, MOST);
    for (const [i, blob] of many.entries()) {
      const name = blob instanceof File ? blob.name : `photo ${i + 1}`;
      try {
        const one = await detector.judge(blob);
        rows.push([name, one.found.score, verdict(one), ""]);
        if (i === 0) { judged = one; title = name; redraw(); }
      } catch (error) {
        rows.push([name, null, "", error instanceof Error ? error.message : String(error)]);
        if (many.length === 1) sayError(`${name}: ${rows[0][3]}`);
      }
      if (many.length > 1) byId("progress").textContent = `${i + 1} of ${many.length} photos judged`;
    }
    for (const blob of blobs.slice(MOST)) rows.push([blob instanceof File ? blob.name : "", null, "", `not judged: at most ${MOST} at once`]);
    showRows();
  }

  /** @param {import("./detector.js").Judgment} one */
  function shareAbove(one) {
    if (about.threshold === null || !about.normal_scores.length) return 0;
    const top = Math.max(about.threshold, ...about.normal_scores);
    return one.found.map.filter((value) => value > top).length / one.found.map.length;
  }

  /** @param {import("./detector.js").Judgment} one */
  function verdict(one) {
    if (shareAbove(one) > FOREIGN_SHARE) return "another part";
    return one.found.score > Number(threshold.input.value) ? "defective" : "normal";
  }

  function look() {
    const at = Number(threshold.input.value);
    const [low, high] = about.threshold === null ? [at / 2, 2 * at] : calibratedRange(about.normal_scores, about.threshold);
    return { low, high, opacity: Number(opacity.input.value), threshold: at, colors: index.heat };
  }

  function redraw() {
    if (!judged) return;
    const { found, shown, width, height, ms } = judged;
    const said = verdict(judged);
    const n = about.normal_scores.length;
    const below = about.normal_scores.filter((score) => found.score > score).length;
    const beside = n ? `higher than ${below === n ? `all ${n}` : `${below} of ${n}`} held-out normal images` : "no held-out normal images";
    const place = byId("verdict");
    place.className = `verdict ${said === "another part" ? "foreign" : said}`;
    place.dataset.score = String(found.score);
    fill(place, el("strong", {}, said === "another part" ? `This does not look like the part of the detector ${about.name}` : `${said === "defective" ? "✗" : "✓"} ${said}`),
      ` · score ${found.score.toFixed(3)}, threshold ${Number(threshold.input.value).toFixed(3)}`,
      el("br"), el("span", { class: "quiet" }, `${beside} · ${title} · ${ms.toFixed(0)} ms on this device`));
    const canvas = /** @type {HTMLCanvasElement} */ (byId("overlay"));
    if (shown) {
      [canvas.width, canvas.height] = [shown.width, shown.height];
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
      context.drawImage(shown, 0, 0);
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
      overlay(pixels, found.map, about.size_px, look());
      context.putImageData(pixels, 0, 0);
    }
    const boxes = regions(found.map, about.size_px, Number(threshold.input.value), width, height);
    fill(byId("regions"), el("thead", {}, el("tr", {}, ...["x", "y", "width", "height", "area, %", "peak"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...boxes.map((one) => el("tr", {}, ...[one.x, one.y, one.width, one.height, (100 * one.area).toFixed(2), one.peak.toFixed(3)].map((value) => el("td", {}, value))))));
    drawLayers(found.layers, found.map);
    const answer = { detector: about.name, score: found.score, threshold: Number(threshold.input.value), verdict: said, image: { width, height }, regions: boxes };
    fill(byId("keep"),
      el("button", { onclick: () => canvas.toBlob((blob) => blob && download("overlay.png", blob)) }, "Overlay PNG"),
      el("button", { onclick: () => download("map.npy", npy(found.map, about.size_px)) }, "Map NPY"),
      el("button", { onclick: () => download("answer.json", new Blob([JSON.stringify(answer, null, 1)], { type: "application/json" })) }, "Answer JSON"));
  }

  /**
   * Show each layer's own smoothed map, with its share of the score at the peak.
   * @param {Record<string, Float32Array>} layers distance maps
   * @param {Float32Array} fused
   */
  function drawLayers(layers, fused) {
    const size = about.size_px;
    const peak = fused.indexOf(largest(fused));
    const maps = Object.entries(layers).map(([layer, values]) => {
      const distances = new Map([[Number(layer), { side: Math.round(Math.sqrt(values.length)), values }]]);
      return anomalyMap(distances, { layers: [Number(layer)], fusion: "sum", sigma: about.sigma }, size);
    });
    const sum = maps.reduce((total, map) => total + map[peak], 0) || 1;
    fill(byId("layers"), ...Object.keys(layers).map((layer, i) => {
      const canvas = /** @type {HTMLCanvasElement} */ (el("canvas", { width: 180, height: 180, role: "img", "aria-label": `Distance map of layer ${layer}` }));
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      context.fillStyle = "#181818";
      context.fillRect(0, 0, 180, 180);
      const pixels = context.getImageData(0, 0, 180, 180);
      overlay(pixels, maps[i], size, { low: median(maps[i]), high: largest(maps[i]) || 1, opacity: 1, threshold: null, colors: index.heat });
      context.putImageData(pixels, 0, 0);
      return el("figure", {}, canvas, el("figcaption", {}, `Layer ${layer}: ${((100 * maps[i][peak]) / sum).toFixed(0)}% of the score`));
    }));
  }

  function showRows() {
    const names = ["file", "score", "verdict", "problem"];
    fill(byId("batch"), el("thead", {}, el("tr", {}, ...names.map((name, column) => el("th", { scope: "col" }, el("button", { onclick: () => {
      rows.sort((a, b) => (typeof a[column] === "number" ? Number(b[column]) - Number(a[column]) : String(a[column]).localeCompare(String(b[column]))));
      showRows();
    } }, name))))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((value) => el("td", {}, typeof value === "number" ? value.toFixed(4) : value ?? ""))))));
    byId("csv").hidden = rows.length < 2;
  }

  /** @param {FileList | File[]} files */
  async function take(files) {
    const some = [...files];
    const model = some.find((file) => file.name.endsWith(".onnx"));
    if (model) {
      if (model.size > MAX_MODEL_BYTES) throw new Error(`${model.name} is larger than ${MAX_MODEL_BYTES / 2 ** 20} MB`);
      const bytes = await model.arrayBuffer();
      const told = aboutModel(new Uint8Array(bytes));
      about = { name: model.name.replace(/[.]onnx$/, ""), ...told };
      showExamples([]);
      ready = open(bytes);
      await ready;
    }
    const photos = some.filter((file) => file !== model);
    if (photos.length) await show(photos);
  }

  const drop = byId("drop");
  const files = /** @type {HTMLInputElement} */ (byId("files"));
  byId("choose").addEventListener("click", () => files.click());
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); if (event.dataTransfer) void take(event.dataTransfer.files).catch(sayError); });
  files.addEventListener("change", () => { if (files.files) void take(files.files).catch(sayError); files.value = ""; });
  document.addEventListener("paste", (event) => { if (event.clipboardData?.files.length) void take(event.clipboardData.files).catch(sayError); });
  byId("csv").addEventListener("click", () => download("scores.csv", new Blob([csv([["file", "score", "verdict", "problem"], ...rows])], { type: "text/csv" })));
  byId("camera").addEventListener("click", () => void camera().catch(sayError));

  /** @type {MediaStream | null} */
  let stream = null;
  async function camera() {
    const video = /** @type {HTMLVideoElement} */ (byId("video"));
    if (stream) {
      stream.getTracks().forEach((track) => track.stop());
      stream = null;
      video.hidden = true;
      byId("camera").textContent = "Start the camera";
      return;
    }
    await ready;
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    byId("camera").textContent = "Stop the camera";
    video.srcObject = stream;
    video.hidden = false;
    await video.play();
    const canvas = document.createElement("canvas");
    while (stream) {
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      canvas.getContext("2d")?.drawImage(video, 0, 0);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
      if (!blob) continue;
      judged = await detector.judge(/** @type {Blob} */ (blob));
      title = "camera";
      redraw();
    }
  }

  // For those who check: pixels in the model's size, judged without decoding or resizing.
  Object.assign(window, { judgePixels: async (/** @type {Uint8Array} */ pixels) => { await ready; return detector.judgePixels(pixels); } });
  if (detectors.length) choose();
  else fill(byId("verdict"), "No detector comes with this site: drop an .onnx file of rd4ad export here.");
  if ("serviceWorker" in navigator && window.isSecureContext) navigator.serviceWorker.register("sw.js").catch(() => {});
  keep("detector", chosen("detector"), detectors[0]?.name ?? "");
});
