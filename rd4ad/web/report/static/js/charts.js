/** Charts by Plotly, in the page's colors. */

/** @type {any} */
const Plotly = /** @type {any} */ (globalThis).Plotly;
export const SERIES = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#B8A800", "#808080"];
const BINS = 36;
const NORMAL = "#56B4E9";
const DEFECT = "#D55E00";

/** @returns {object} */
function layout() {
  const text = getComputedStyle(document.body).color;
  const grid = "rgba(128, 128, 128, 0.25)";
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text, size: 12 },
    margin: { l: 60, r: 15, t: 15, b: 50 }, legend: { orientation: "h", y: -0.25 },
    xaxis: { gridcolor: grid, zeroline: false }, yaxis: { gridcolor: grid, zeroline: false },
  };
}

/**
 * Draw into an element.
 * @param {HTMLElement} place
 * @param {object[]} traces
 * @param {any} more of the layout
 * @param {string} alt what it shows, in words
 * @param {string} name of the file that it is kept as
 */
export function draw(place, traces, more, alt, name) {
  const base = /** @type {any} */ (layout());
  const whole = { ...base, ...more, xaxis: { ...base.xaxis, ...more.xaxis }, yaxis: { ...base.yaxis, ...more.yaxis } };
  place.setAttribute("role", "group"); // and no image: Plotly's buttons inside can be reached by keys
  place.setAttribute("aria-label", alt);
  Plotly.react(place, traces, whole, {
    displaylogo: false, responsive: true, modeBarButtons: [["toImage", "resetScale2d"]],
    toImageButtonOptions: { format: "svg", filename: name },
  });
}

/**
 * Draw the small chart of a finding.
 * @param {HTMLElement} place
 * @param {{marks: [string, number, string, number | null, number | null][], axis: string, is_log: boolean, key: string}} finding
 */
export function evidence(place, finding) {
  const marks = finding.marks;
  const symbols = { reported: "circle-open", reproduced: "circle", "third-party": "circle-dot" };
  draw(
    place,
    [{
      type: "scatter", mode: "markers", x: marks.map((mark) => mark[1]), y: marks.map((mark) => mark[0]),
      marker: { size: 10, color: SERIES[0], symbol: marks.map((mark) => /** @type {any} */ (symbols)[mark[2]]), line: { width: 2, color: SERIES[0] } },
      error_x: {
        type: "data", symmetric: false, width: 0, color: SERIES[0],
        array: marks.map((mark) => (mark[4] === null ? 0 : mark[4] - mark[1])),
        arrayminus: marks.map((mark) => (mark[3] === null ? 0 : mark[1] - mark[3])),
      },
    }],
    {
      height: 80 + 24 * marks.length, margin: { l: 150, r: 10, t: 5, b: 40 },
      xaxis: { title: { text: finding.axis, font: { size: 11 } }, type: finding.is_log ? "log" : "linear", nticks: 5, dtick: finding.is_log ? 1 : undefined },
      yaxis: { autorange: "reversed", automargin: true },
    },
    marks.map((mark) => `${mark[0]} ${mark[1].toPrecision(3)}`).join("; "),
    finding.key,
  );
}

/**
 * Draw the scores of normal and defective images.
 * @param {HTMLElement} place
 * @param {number[]} scores
 * @param {number[]} labels
 */
export function histogram(place, scores, labels) {
  const low = scores.reduce((least, score) => Math.min(least, score), Infinity);
  const high = scores.reduce((most, score) => Math.max(most, score), -Infinity);
  const size = (high - low) / BINS || 1;
  const trace = (/** @type {number} */ label, /** @type {string} */ name, /** @type {string} */ color) => {
    const counts = new Array(BINS).fill(0);
    scores.forEach((score, i) => {
      if (labels[i] === label) counts[Math.min(BINS - 1, Math.floor((score - low) / size))] += 1;
    });
    const x = counts.map((_, i) => low + (i + 0.5) * size);
    return { type: "bar", name, x, y: counts, width: size, marker: { color }, opacity: 0.75 };
  };
  draw(
    place, [trace(0, "normal", NORMAL), trace(1, "defective", DEFECT)],
    { barmode: "overlay", height: 320, xaxis: { title: { text: "anomaly score" } }, yaxis: { title: { text: "images" } } },
    "Histogram of the scores of normal and defective images", "scores",
  );
}

/**
 * Draw curves over each other.
 * @param {HTMLElement} place
 * @param {{name: string, x: number[], y: number[]}[]} curves
 * @param {[string, string]} axes
 * @param {string} kind
 */
export function curves(place, curves, axes, kind) {
  const isPro = kind === "pro";
  draw(
    place,
    curves.map(({ name, x, y }, i) => ({ type: "scatter", mode: "lines", name, x, y, line: { color: SERIES[i % SERIES.length], width: 2 } })),
    {
      height: 420, xaxis: { title: { text: axes[0] }, range: [0, 1] }, yaxis: { title: { text: axes[1] }, range: [0, 1.02] },
      shapes: isPro ? [{ type: "line", x0: 0.3, x1: 0.3, y0: 0, y1: 1, line: { dash: "dot", color: "gray" } }] : [],
    },
    `${kind} curves of ${curves.map((one) => one.name).join(", ")}`, kind,
  );
}
