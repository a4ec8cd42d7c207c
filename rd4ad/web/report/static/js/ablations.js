/** A metric over two settings, the others held; the mean over what is neither. */

import { chosen, keep } from "./address.js";
import { select } from "./controls.js";
import { decoded, load } from "./data.js";
import { byId, el, fill } from "./dom.js";
import { percent, signed } from "./format.js";
import { start } from "./page.js";

const AXES = {
  layers: "Layers", size_px: "Image size, px", fusion: "Fusion", smoothing: "Smoothing, px", backbone: "Backbone",
  method: "Method", epochs: "Epochs", variant: "Training configuration", seed: "Seed",
};
const RELEASED = { method: "RD4AD", fusion: "sum", smoothing: "4", layers: "1+2+3", variant: "" };
const EVERY = "mean over all";

start(async () => {
  const index = await load("index");
  /** @type {[string, string][]} */
  const options = index.datasets.flatMap((/** @type {any} */ one) =>
    one.measured.map((/** @type {string} */ name) => [`${one.file}-${name.replace(/[^\p{L}\p{N}]/gu, "_")}`, `${one.name} / ${name}`]),
  );
  if (!options.length) throw new Error("No run is stored yet: rd4ad evaluate stores one.");
  const axes = /** @type {[string, string][]} */ (Object.entries(AXES));
  const again = () => void draw();
  const category = select({ label: "Category", name: "category", options, first: options.find(([, said]) => said === "MVTec AD / transistor")?.[0], onChange: again });
  const metric = select({ label: "Metric", name: "metric", options: Object.entries(index.measured_metrics), first: "pixel_auroc", onChange: again });
  const down = select({ label: "Rows", name: "down", options: axes, first: "layers", onChange: again });
  const across = select({ label: "Columns", name: "across", options: axes, first: "size_px", onChange: again });
  fill(byId("controls"), ...[category, metric, down, across].map((one) => one.element));

  async function draw() {
    const { ablation } = await load(category.value());
    /** @type {Record<string, string[]>} */
    const settings = {};
    for (const name of Object.keys(AXES)) settings[name] = decoded(ablation.settings[name]).map((value) => (value === null ? "" : String(value)));
    /** @type {(number | null)[]} */
    const values = ablation.metrics[metric.value()] ?? [];
    const varied = [down.value(), across.value()];
    let kept = values.map((_, i) => i).filter((i) => values[i] !== null);
    const boxes = [];
    for (const [name, title] of axes) {
      if (varied.includes(name)) continue;
      const distinct = [...new Set(kept.map((i) => settings[name][i]))].sort((a, b) => Number(a) - Number(b) || (a < b ? -1 : 1));
      if (distinct.length < 2) continue;
      // The released scoring, then what has the longest schedule and the most runs; seeds are averaged.
      const first = name === "seed" ? EVERY : distinct.includes(/** @type {any} */ (RELEASED)[name] ?? "\0") ? /** @type {any} */ (RELEASED)[name]
        : name === "epochs" ? distinct[distinct.length - 1] : commonest(kept.map((i) => settings[name][i]));
      const box = select({ label: title, name: `hold_${name}`, first, onChange: again,
        options: [EVERY, ...distinct].map((value) => [value, value || "default"]) });
      boxes.push(box.element);
      if (box.value() !== EVERY) kept = kept.filter((i) => settings[name][i] === box.value());
    }
    fill(byId("fixed"), ...boxes);
    drawTable(kept, settings, values);
  }

  /**
   * @param {number[]} kept
   * @param {Record<string, string[]>} settings
   * @param {(number | null)[]} values
   */
  function drawTable(kept, settings, values) {
    /** @type {Map<string, number[]>} */
    const cells = new Map();
    for (const i of kept) {
      const key = `${settings[down.value()][i]}|${settings[across.value()][i]}`;
      cells.set(key, [...(cells.get(key) ?? []), Number(values[i])]);
    }
    const order = (/** @type {string[]} */ found) => [...new Set(found)].sort((a, b) => Number(a) - Number(b) || (a < b ? -1 : 1));
    const rows = order(kept.map((i) => settings[down.value()][i]));
    const columns = order(kept.map((i) => settings[across.value()][i]));
    const mean = (/** @type {number[] | undefined} */ some) => (some ? some.reduce((sum, value) => sum + value, 0) / some.length : null);
    const means = [...cells.values()].map((some) => Number(mean(some)));
    const [low, high] = [Math.min(...means), Math.max(...means)];
    const reference = cells.get(chosen("reference"));
    fill(byId("table"),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, /** @type {any} */ (AXES)[down.value()]), ...columns.map((name) => el("th", { scope: "col" }, name || "default")))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row || "default"), ...columns.map((column) => {
        const key = `${row}|${column}`;
        const some = cells.get(key);
        const value = mean(some);
        if (!some || value === null) return el("td", {}, "–");
        const isBest = value === high;
        const tint = `background: rgba(0, 114, 178, ${(0.03 + (0.3 * (value - low)) / (high - low || 1)).toFixed(2)})`;
        const sd = some.length > 1 ? Math.sqrt(some.reduce((sum, one) => sum + (one - value) ** 2, 0) / (some.length - 1)) : null;
        const said = reference ? signed(value - Number(mean(reference))) : `${isBest ? "★ " : ""}${percent(value)}${sd === null ? "" : ` ± ${percent(sd)}`}`;
        const choose = () => { keep("reference", chosen("reference") === key ? "" : key); void draw(); };
        return el("td", { class: isBest ? "best" : null, style: tint }, el("button", { onclick: choose }, said));
      })))));
    byId("about").textContent = `${index.measured_metrics[metric.value()]}, percent. ★: best of the table. ± is the standard deviation over the runs of a cell. –: no such run. ` +
      (reference ? "Values are differences from the chosen cell; click it again for the values." : "Click a cell to see the difference of the others from it.");
  }

  await draw();
});

/** @param {string[]} values */
function commonest(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts.entries()].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "";
}
