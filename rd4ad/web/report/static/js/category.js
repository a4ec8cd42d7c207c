/** One category: its settings, its scores and its curves. */

import { curves, histogram } from "./charts.js";
import { select } from "./controls.js";
import { load } from "./data.js";
import { byId, el, fill } from "./dom.js";
import { percent } from "./format.js";
import { start } from "./page.js";

const MAIN = ["image_auroc", "pixel_auroc", "aupro", "aupro_per_image"];

start(async () => {
  const index = await load("index");
  /** @type {[string, string][]} */
  const options = index.datasets.flatMap((/** @type {any} */ one) =>
    one.measured.map((/** @type {string} */ name) => [`${one.file}-${fileName(name)}`, `${one.name} / ${name}`]),
  );
  if (!options.length) throw new Error("No run is stored yet: rd4ad evaluate stores one.");
  const first = options.find(([, said]) => said === "MVTec AD / transistor")?.[0];
  const category = select({ label: "Category", name: "category", options, first, onChange: () => void draw() });
  fill(byId("controls"), category.element);

  async function draw() {
    const { runs } = await load(category.value());
    /** @type {Map<string, any[]>} */
    const settings = new Map();
    for (const run of runs) settings.set(run.setting, [...(settings.get(run.setting) ?? []), run]);
    drawTable(settings);
    const names = runs.map((/** @type {any} */ run) => [run.id, `${run.setting}, seed ${run.seed}`]);
    const run = select({ label: "Run", name: "run", options: names, onChange: () => drawRun() });
    fill(byId("run"), run.element);
    const kinds = Object.entries(index.curves).filter(([kind]) => runs.some((/** @type {any} */ one) => one.curves[kind]));
    const kind = select({ label: "Curve", name: "curve", options: /** @type {[string, string][]} */ (kinds), onChange: () => drawCurves() });
    fill(byId("kind"), kind.element);
    const drawRun = () => {
      const one = runs.find((/** @type {any} */ each) => each.id === run.value());
      histogram(byId("histogram"), one.scores, one.labels);
      fill(byId("card"), el("tbody", {}, ...Object.entries(one.card).map(([name, said]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, String(said))))));
      byId("commands").textContent = one.commands;
    };
    const drawCurves = () => {
      const shown = [...settings.entries()].slice(0, 8).map(([name, [one]]) => ({ name, x: one.curves[kind.value()]?.[0] ?? [], y: one.curves[kind.value()]?.[1] ?? [] }));
      curves(byId("curves"), shown.filter((one) => one.x.length), index.axes[kind.value()], kind.value());
    };
    drawRun();
    drawCurves();
  }

  /** @param {Map<string, any[]>} settings */
  function drawTable(settings) {
    const known = MAIN.filter((metric) => [...settings.values()].some((runs) => runs[0].metrics[metric]));
    const cell = (/** @type {any[]} */ runs, /** @type {string} */ metric) => {
      const values = runs.map((run) => run.metrics[metric]?.[0]).filter((value) => value !== undefined);
      if (!values.length) return "–";
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      if (values.length > 1) {
        const sd = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
        return `${percent(mean)} ± ${percent(sd)}`;
      }
      const [, low, high] = runs[0].metrics[metric];
      return low === null ? percent(mean) : `${percent(mean)} [${percent(low)}, ${percent(high)}]`;
    };
    fill(byId("table"),
      el("thead", {}, el("tr", {}, ...["Setting", "Seeds", ...known.map((metric) => index.measured_metrics[metric])].map((said) => el("th", { scope: "col" }, said)))),
      el("tbody", {}, ...[...settings.entries()].map(([name, runs]) =>
        el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, runs.length), ...known.map((metric) => el("td", {}, cell(runs, metric)))))));
  }

  await draw();
});

/** @param {string} text */
function fileName(text) {
  return text.replace(/[^\p{L}\p{N}]/gu, "_");
}

