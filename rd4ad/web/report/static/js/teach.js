/** Photos of good parts become a detector, on the visitor's own device. */

import { select } from "./controls.js";
import { load } from "./data.js";
import { byId, clearError, download, el, fill, sayError } from "./dom.js";
import { calibratedRange, overlay } from "./overlay.js";
import { start } from "./page.js";
import { Asked } from "./worker.js";

const RATES = /** @type {[string, string][]} */ ([["0.01", "1 in 100"], ["0.05", "1 in 20"], ["0.001", "1 in 1000"]]);

start(async () => {
  const index = await load("index");
  const setup = await load("teach");
  if (!setup.recipe) throw new Error("This site comes without the teacher that learning needs.");
  const asked = new Asked("js/teach-worker.js", (said) => { byId("progress").textContent = said; });
  let nPhotos = 0;
  /** @type {{scores: number[], threshold: any} | null} */
  let taught = null;

  const rate = select({ label: "Accepted false alarms", name: "rate", options: RATES, onChange: () => {} });
  const teach = el("button", { class: "primary", disabled: true, onclick: () => void fit().catch(sayError) }, "Teach");
  const again = el("button", { onclick: () => void clear().catch(sayError) }, "Remove all photos");
  fill(byId("controls"), rate.element, teach, again);

  byId("progress").textContent = "Loading the teacher";
  const [patches, search] = await Promise.all(["patches", "search"].map(async (name) => {
    const answer = await fetch(`detectors/${name}.onnx`);
    if (!answer.ok) throw new Error(`the teacher cannot be loaded (${answer.status})`);
    return answer.arrayBuffer();
  }));
  const ready = asked.ask({ deed: "open", patches, search, setup });
  const { threads } = await ready;
  byId("progress").textContent = `Ready: WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}. Add photos of good parts.`;
  byId("progress").dataset.ready = "yes";

  /** @param {File[]} files */
  async function add(files) {
    clearError();
    byId("progress").textContent = `Reading ${files.length} photos`;
    show(await asked.ask({ deed: "add", blobs: files, names: files.map((file) => file.name) }));
  }

  async function clear() {
    show(await asked.ask({ deed: "clear" }));
  }

  /** @param {{n_photos: number, problems: string[], findings: {text: string, stops: boolean}[]}} told */
  function show(told) {
    nPhotos = told.n_photos;
    byId("progress").textContent = `${nPhotos} photos`;
    byId("progress").dataset.photos = String(nPhotos);
    fill(byId("findings"), ...told.findings.map((one) => el("li", {}, one.text)), ...told.problems.map((said) => el("li", {}, said)));
    teach.toggleAttribute("disabled", !nPhotos || told.findings.some((one) => one.stops));
    byId("result").hidden = true;
    taught = null;
  }

  async function fit() {
    clearError();
    teach.toggleAttribute("disabled", true);
    try {
      const found = await asked.ask({ deed: "fit", rate: Number(rate.value()) });
      taught = found;
      const { threshold } = found;
      const promise = `With ${threshold.n_photos} photos nobody can promise less than 1 false alarm in ${Math.max(1, Math.floor(1 / threshold.at_most))} (95% confidence).`;
      byId("threshold").textContent =
        `Threshold ${threshold.value.toFixed(3)}: ${threshold.is_extrapolated ? `1 in ${Math.round(1 / threshold.rate)} is more than ${threshold.n_photos} photos can show, so it is extrapolated from the spread of their scores.` : `set from the scores of ${threshold.n_photos} held-out photos.`} ` +
        `${promise} Least like the others: ${found.least_alike.join(", ")}. Learned in ${found.seconds.toFixed(1)} s, ${found.n_rows} patches.`;
      byId("threshold").dataset.value = String(threshold.value);
      byId("threshold").dataset.scores = JSON.stringify(found.scores);
      byId("threshold").dataset.seconds = String(found.seconds);
      byId("progress").textContent = `${nPhotos} photos, taught`;
      byId("result").hidden = false;
    } finally {
      teach.toggleAttribute("disabled", false);
    }
  }

  /** @param {File} file */
  async function judge(file) {
    clearError();
    const { score, map, shown, ms } = await asked.ask({ deed: "judge", blob: file });
    if (!taught) return;
    const at = taught.threshold.value;
    const isBad = score > at;
    const below = taught.scores.filter((one) => score > one).length;
    const place = byId("verdict");
    place.className = `verdict ${isBad ? "defective" : "normal"}`;
    place.dataset.score = String(score);
    fill(place, el("strong", {}, isBad ? "✗ defective" : "✓ normal"), ` · score ${score.toFixed(3)}, threshold ${at.toFixed(3)}`, el("br"),
      el("span", { class: "quiet" }, `higher than ${below} of ${taught.scores.length} photos by the others · ${file.name} · ${ms.toFixed(0)} ms`));
    const canvas = /** @type {HTMLCanvasElement} */ (byId("overlay"));
    [canvas.width, canvas.height] = [shown.width, shown.height];
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
    context.drawImage(shown, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    const [low, high] = calibratedRange(taught.scores, at);
    overlay(pixels, map, setup.recipe.size_px, { low, high, opacity: 0.75, threshold: at, colors: index.heat });
    context.putImageData(pixels, 0, 0);
  }

  /** @param {string} drop @param {string} choose @param {string} file @param {(files: File[]) => Promise<void>} take */
  function door(drop, choose, file, take) {
    const input = /** @type {HTMLInputElement} */ (byId(file));
    const place = byId(drop);
    const taken = (/** @type {FileList | null | undefined} */ files) => { if (files?.length) void take([...files]).catch(sayError); };
    byId(choose).addEventListener("click", () => input.click());
    input.addEventListener("change", () => { taken(input.files); input.value = ""; });
    place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("over"); });
    place.addEventListener("dragleave", () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => { event.preventDefault(); place.classList.remove("over"); taken(event.dataTransfer?.files); });
  }
  door("drop", "choose", "files", add);
  door("judge-drop", "judge-choose", "judge-file", ([file]) => judge(file));
  byId("save").addEventListener("click", async () => {
    const { file } = await asked.ask({ deed: "save", name: "part" });
    download("part.safetensors", new Blob([file]));
  });
  if ("serviceWorker" in navigator && window.isSecureContext) navigator.serviceWorker.register("sw.js").catch(() => {});
});
