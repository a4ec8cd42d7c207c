/** Exact metrics from scores and maps: AUROC and MVTec's PRO, as rd4ad/metrics does it. */

/**
 * Return how many of ascending values are below a value, and how many at or below it.
 * @param {Float64Array | Float32Array} ascending
 * @param {number} value
 * @returns {[number, number]}
 */
function place(ascending, value) {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle] < value) low = middle + 1;
    else high = middle;
  }
  const below = low;
  high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return [below, low];
}

/**
 * Return the AUROC of scores; NaN without both kinds.
 * @param {ArrayLike<number>} scores
 * @param {ArrayLike<number>} labels 1 where defective
 * @returns {number}
 */
export function auroc(scores, labels) {
  const normal = Float64Array.from(Array.from(scores).filter((_, i) => labels[i] === 0)).sort();
  const defective = Array.from(scores).filter((_, i) => labels[i] === 1);
  if (!normal.length || !defective.length) return NaN;
  const sum = defective.reduce((total, score) => {
    const [below, level] = place(normal, score);
    return total + (below + level) / 2;
  }, 0);
  return sum / defective.length / normal.length;
}

/**
 * Return the weight of every pixel of a mask: one over the pixels of its 8-connected region; 0 outside.
 * @param {Uint8Array} mask side x side, nonzero where defective
 * @param {number} side
 * @returns {{weights: Float64Array, regions: number}}
 */
export function regionWeights(mask, side) {
  const weights = new Float64Array(mask.length);
  const seen = new Uint8Array(mask.length);
  let regions = 0;
  for (let begin = 0; begin < mask.length; begin += 1) {
    if (!mask[begin] || seen[begin]) continue;
    regions += 1;
    const region = [begin];
    seen[begin] = 1;
    for (let at = 0; at < region.length; at += 1) {
      const y = Math.floor(region[at] / side);
      const x = region[at] % side;
      for (let dy = -1; dy <= 1; dy += 1) {
        for (let dx = -1; dx <= 1; dx += 1) {
          const [v, u] = [y + dy, x + dx];
          const next = v * side + u;
          if (v >= 0 && v < side && u >= 0 && u < side && mask[next] && !seen[next]) {
            seen[next] = 1;
            region.push(next);
          }
        }
      }
    }
    for (const pixel of region) weights[pixel] = 1 / region.length;
  }
  return { weights, regions };
}

/**
 * Return pixel AUROC and MVTec's PRO of all images of a category pooled, every threshold, ties included.
 * @param {Float32Array[]} maps
 * @param {{weights: Float64Array, regions: number}[]} masks see `regionWeights`
 * @param {number} limit false-positive rate up to which PRO integrates
 * @returns {{pixel_auroc: number, aupro: number}}
 */
export function pixelMetrics(maps, masks, limit = 0.3) {
  let nNormal = 0;
  let nRegions = 0;
  for (const { weights, regions } of masks) {
    nRegions += regions;
    for (const weight of weights) if (weight === 0) nNormal += 1;
  }
  const normal = new Float32Array(nNormal);
  let at = 0;
  maps.forEach((map, i) => {
    const { weights } = masks[i];
    for (let k = 0; k < map.length; k += 1) if (weights[k] === 0) normal[at++] = map[k];
  });
  normal.sort();
  let sum = 0;
  let nDefective = 0;
  let area = 0;
  maps.forEach((map, i) => {
    const { weights, regions } = masks[i];
    if (!regions) return;
    for (let k = 0; k < map.length; k += 1) {
      if (weights[k] === 0) continue;
      const [below, level] = place(normal, map[k]);
      sum += (below + level) / 2;
      nDefective += 1;
      // A pixel adds its weight times a ramp, from the rate of normal pixels above it to that at or above.
      const start = (nNormal - level) / nNormal;
      const end = (nNormal - below) / nNormal;
      const share = end <= limit ? limit - (start + end) / 2 : start < limit ? (limit - start) ** 2 / (2 * (end - start)) : 0;
      area += (weights[k] / nRegions) * share;
    }
  });
  if (!nDefective || !nNormal) return { pixel_auroc: NaN, aupro: NaN };
  return { pixel_auroc: sum / nDefective / nNormal, aupro: area / limit };
}
