/** What papers report and what was measured here: a table of categories by columns. */

import { chosen, keep } from "./address.js";
import { select } from "./controls.js";
import { load } from "./data.js";
import { byId, download, el, fill } from "./dom.js";
import { csv, percent, rowName, signed } from "./format.js";
import { start } from "./page.js";

/**
 * @typedef {{label: string, method: string, backbone: string | null, size_px: number | null, by: string, setting: string,
 *   kind: string, metric: string, definition: string, source: string, note: string, is_main: boolean,
 *   values: Record<string, number | null>, sd: Record<string, number>, runs: Record<string, string[]>}} Column
 */

const PAPER = "RD4AD paper";
const OURS = "This project";

start(async () => {
  const index = await load("index");
  const options = index.datasets.map((/** @type {any} */ one) => [one.file, one.name]);
  const redraw = () => void draw();
  const dataset = select({ label: "Dataset", name: "dataset", options, onChange: redraw });
  const metric = select({
    label: "Metric", name: "metric", options: Object.entries(index.metrics), onChange: redraw,
  });
  const source = select({
    label: "Source", name: "by", first: "both", onChange: redraw,
    options: [["both", "RD4AD paper and this project"], [PAPER, "RD4AD paper"], [OURS, "this project"], ["all", "all sources"]],
  });
  const size = select({
    label: "Image size", name: "size", first: "", onChange: redraw,
    options: [["", "all"], ["128", "128 px"], ["256", "256 px"]],
  });
  const method = select({
    label: "Method", name: "method", first: "", onChange: redraw,
    options: [["", "all"], ...Object.keys(index.colors).map((name) => /** @type {[string, string]} */ ([name, name]))],
  });
  const order = select({
    label: "Columns", name: "order", first: "rd4ad", onChange: redraw,
    options: [["rd4ad", "RD4AD first"], ["average", "by average"]],
  });
  const keepTable = el("button", { onclick: () => exportTable() }, "CSV");
  fill(byId("controls"), ...[dataset, metric, source, size, method, order].map((one) => one.element), keepTable);

  /** @type {Column[]} */
  let columns = [];
  /** @type {string[]} */
  let rows = [];

  async function draw() {
    const { columns: every, disagreements } = await load(dataset.value());
    columns = narrowed(every);
    rows = categories(columns, index.averages);
    fill(byId("table"), head(), body());
    byId("about").textContent =
      `${index.metrics[metric.value()]}, percent. ${Object.values(index.kinds).join(" · ")}. ★ and bold: best of its row. ` +
      "Averages are computed from the rows and only where every category has a value. " + disagreements.join(" ");
    showCell();
    drawPair();
  }

  /** @param {Column[]} every */
  function narrowed(every) {
    const by = source.value();
    const kept = every.filter(
      (one) =>
        one.metric === metric.value() && one.is_main && (!size.value() || String(one.size_px) === size.value()) &&
        (!method.value() || one.method === method.value()) &&
        (by === "all" || one.by === by || (by === "both" && (one.by === PAPER || one.by === OURS))),
    );
    const isOther = (/** @type {Column} */ one) => (order.value() === "rd4ad" && one.method !== "RD4AD" ? 1 : 0);
    return kept.sort((a, b) => isOther(a) - isOther(b) || covered(b) - covered(a) || mean(b) - mean(a));
  }

  function head() {
    const cells = columns.map((one) => el("th", { scope: "col", title: one.source }, one.label));
    const counts = columns.map((one) => el("td", {}, `${covered(one)} of ${rows.filter((row) => !(row in index.averages)).length}`));
    return el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Category"), ...cells),
      el("tr", {}, el("th", { scope: "row" }, "Measured"), ...counts));
  }

  function body() {
    return el("tbody", {}, ...rows.map((row) => {
      const values = columns.map((one) => one.values[row] ?? null);
      const best = Math.max(...values.map((value) => (value === null ? -1 : Math.round(1000 * value))));
      const low = Math.min(...values.filter((value) => value !== null).map(Number));
      const span = best / 1000 - low || 1;
      return el("tr", {}, el("th", { scope: "row" }, rowName(row, index.averages)), ...values.map((value, i) => {
        if (value === null) return el("td", {}, "–");
        const isBest = Math.round(1000 * value) === best;
        const tint = `background: rgba(0, 114, 178, ${(0.03 + (0.3 * (value - low)) / span).toFixed(2)})`;
        const open = () => { keep("at", `${row}|${columns[i].label}`); showCell(); };
        return el("td", { class: isBest ? "best" : null, style: tint },
          el("button", { onclick: open }, `${isBest ? "★ " : ""}${percent(value)}`));
      }));
    }));
  }

  function showCell() {
    const [row, label] = chosen("at").split("|");
    const column = columns.find((one) => one.label === label);
    if (!column || column.values[row] === undefined) return fill(byId("card"));
    const said = {
      Value: percent(column.values[row]), Kind: index.kinds[column.kind], Definition: column.definition || "not stated",
      By: column.by, Backbone: column.backbone || "not stated", Setting: column.setting, Source: column.source,
      Note: column.note, "± over seeds": column.sd[row] ? percent(column.sd[row]) : "", Runs: (column.runs[row] ?? []).join(", "),
    };
    fill(byId("card"), el("section", { class: "card" }, el("strong", {}, `${label} · ${rowName(row, index.averages)}`),
      el("dl", {}, ...Object.entries(said).filter(([, value]) => value).flatMap(([name, value]) => [el("dt", { class: "quiet" }, name), el("dd", {}, value)]))));
  }

  function drawPair() {
    const names = columns.map((one) => /** @type {[string, string]} */ ([one.label, one.label]));
    const again = () => difference();
    const first = select({ label: "First", name: "first", options: names, onChange: again });
    const second = select({ label: "Second", name: "second", options: names, first: names[1]?.[0], onChange: again });
    fill(byId("pair"), first.element, second.element);
    function difference() {
      const [one, other] = [first, second].map((box) => columns.find((column) => column.label === box.value()));
      if (!one || !other) return;
      const shared = rows.filter((row) => (one.values[row] ?? null) !== null && (other.values[row] ?? null) !== null);
      const apart = shared.map((row) => Number(one.values[row]) - Number(other.values[row]));
      const largest = Math.max(...apart.map(Math.abs), 1e-9);
      const n = shared.filter((row) => !(row in index.averages)).length;
      const wins = shared.filter((row, i) => !(row in index.averages) && Math.round(1000 * apart[i]) > 0).length;
      const losses = shared.filter((row, i) => !(row in index.averages) && Math.round(1000 * apart[i]) < 0).length;
      byId("outcome").textContent = `${one.label} compared with ${other.label}: ${wins} win, ${n - wins - losses} tie, ${losses} loss over ${n} categories that both have.`;
      fill(byId("difference"),
        el("thead", {}, el("tr", {}, ...["Category", "First", "Second", "Difference"].map((said) => el("th", { scope: "col" }, said)))),
        el("tbody", {}, ...shared.map((row, i) => {
          const hue = apart[i] > 0 ? "0, 114, 178" : "213, 94, 0";
          const tint = `background: rgba(${hue}, ${(0.4 * Math.abs(apart[i]) / largest).toFixed(2)})`;
          return el("tr", {}, el("th", { scope: "row" }, rowName(row, index.averages)), el("td", {}, percent(one.values[row])),
            el("td", {}, percent(other.values[row])), el("td", { style: tint }, signed(apart[i])));
        })));
    }
    difference();
  }

  function exportTable() {
    const lines = [["category", ...columns.map((one) => one.label)],
      ...rows.map((row) => [row, ...columns.map((one) => one.values[row] ?? null)])];
    download(`leaderboard-${metric.value()}.csv`, new Blob([csv(lines)], { type: "text/csv" }));
  }

  /** @param {Column} column */
  function covered(column) {
    return Object.entries(column.values).filter(([row, value]) => !(row in index.averages) && value !== null).length;
  }

  /** @param {Column} column */
  function mean(column) {
    const values = Object.entries(column.values).filter(([row, value]) => !(row in index.averages) && value !== null);
    return values.reduce((sum, [, value]) => sum + Number(value), 0) / (values.length || 1);
  }

  await draw();
});

/**
 * Return the categories of some columns in their order, averages last.
 * @param {Column[]} columns
 * @param {Record<string, string>} averages
 * @returns {string[]}
 */
function categories(columns, averages) {
  const found = new Set(columns.flatMap((one) => Object.keys(one.values)));
  return [...[...found].filter((row) => !(row in averages)), ...Object.keys(averages).filter((row) => found.has(row))];
}
