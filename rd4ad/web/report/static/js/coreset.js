/** Few rows that lie near all rows: greedy k-center, as rd4ad/methods/coreset.py chooses them. */

const CANDIDATES = 192; // compared at once
const CHOSEN = -1; // instead of a distance: never twice

/**
 * @typedef {{data: Float32Array, columns: number}} Rows
 * @typedef {(rows: Rows, others: Rows) => Promise<Float32Array>} Nearest squared distance of each row to the nearest of the others
 */

/**
 * Return some rows.
 * @param {Rows} rows
 * @param {ArrayLike<number>} indices
 * @returns {Rows}
 */
export function picked({ data, columns }, indices) {
  const found = new Float32Array(indices.length * columns);
  for (let i = 0; i < indices.length; i += 1) found.set(data.subarray(indices[i] * columns, (indices[i] + 1) * columns), i * columns);
  return { data: found, columns };
}

/**
 * Return the indices of chosen rows, the first being farthest from the mean, then always the farthest from all chosen ones.
 * @param {Rows} rows
 * @param {number} count
 * @param {Nearest} nearest
 * @param {(share: number) => void} onProgress
 * @returns {Promise<number[]>}
 */
export async function greedyCoreset(rows, count, nearest, onProgress) {
  const n = rows.data.length / rows.columns;
  const mean = new Float32Array(rows.columns);
  for (let i = 0; i < rows.data.length; i += 1) mean[i % rows.columns] += rows.data[i] / n;
  let distances = await nearest(rows, { data: mean, columns: rows.columns });
  const chosen = [indexOfLargest(distances)];
  distances = await nearest(rows, picked(rows, chosen));
  distances[chosen[0]] = CHOSEN;
  while (chosen.length < count) {
    const next = certain(rows, distances, count - chosen.length);
    const closer = await nearest(rows, picked(rows, next));
    for (let i = 0; i < n; i += 1) if (closer[i] < distances[i]) distances[i] = closer[i];
    for (const i of next) distances[i] = CHOSEN;
    chosen.push(...next);
    onProgress(chosen.length / count);
  }
  return chosen;
}

/** @param {Float32Array} values */
function indexOfLargest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i] > values[best]) best = i;
  return best;
}

/**
 * Return the next choices, as many as are certain: the farthest rows are compared with each other, and as long as the farthest of
 * them is farther than any other row was, it is the next choice, since distances only shrink.
 * @param {Rows} rows
 * @param {Float32Array} distances
 * @param {number} atMost
 * @returns {number[]}
 */
function certain(rows, distances, atMost) {
  const n = Math.min(CANDIDATES, distances.length - 1);
  const order = Float32Array.from(distances).sort();
  const bound = order[order.length - 1 - n];
  /** @type {number[]} */
  const candidates = [];
  for (let i = 0; i < distances.length && candidates.length < n; i += 1) if (distances[i] > bound) candidates.push(i);
  if (!candidates.length) candidates.push(indexOfLargest(distances));
  const { data, columns } = picked(rows, candidates);
  const left = candidates.map((i) => distances[i]);
  const found = [];
  while (found.length < Math.min(atMost, candidates.length)) {
    let best = 0;
    for (let i = 1; i < left.length; i += 1) if (left[i] > left[best]) best = i;
    if (found.length && left[best] <= bound) break;
    found.push(candidates[best]);
    for (let i = 0; i < left.length; i += 1) {
      let sum = 0;
      for (let k = 0; k < columns; k += 1) sum += (data[i * columns + k] - data[best * columns + k]) ** 2;
      if (sum < left[i]) left[i] = sum;
    }
    left[best] = CHOSEN;
  }
  return found;
}
