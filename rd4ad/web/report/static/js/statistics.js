/** The threshold for an accepted rate of false alarms, as rd4ad/teach/threshold.py sets it. */

/** @param {number} x */
function logGamma(x) {
  // Lanczos, g = 7, n = 9: fifteen digits.
  const c = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
  const y = x - 1;
  const sum = c.slice(1).reduce((total, value, i) => total + value / (y + i + 1), c[0]);
  const t = y + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (y + 0.5) * Math.log(t) - t + Math.log(sum);
}

/**
 * Return the regularized incomplete beta function, by its continued fraction (Lentz).
 * @param {number} a
 * @param {number} b
 * @param {number} x
 * @returns {number}
 */
export function beta(a, b, x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - beta(b, a, 1 - x);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) / a;
  let [c, d] = [1, 1 / (1 - ((a + b) * x) / (a + 1))];
  let found = d;
  for (let m = 1; m < 300; m += 1) {
    for (const term of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 / (1 + term * d);
      c = 1 + term / c;
      found *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return front * found;
}

/**
 * Return where an increasing function reaches a value, by halving.
 * @param {(x: number) => number} rising
 * @param {number} value
 * @param {number} low
 * @param {number} high
 * @returns {number}
 */
function inverse(rising, value, low, high) {
  for (let i = 0; i < 200 && high - low > 1e-15 * Math.max(1, Math.abs(high)); i += 1) {
    const middle = (low + high) / 2;
    if (rising(middle) < value) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/**
 * Return the quantile of Student's t for a probability of at least one half.
 * @param {number} freedom
 * @param {number} probability
 * @returns {number}
 */
export function student(freedom, probability) {
  const below = (/** @type {number} */ t) => 1 - beta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2;
  return inverse(below, probability, 0, 1e4);
}

/**
 * @typedef {{value: number, rate: number, at_most: number, n_photos: number, is_extrapolated: boolean}} Threshold
 */

/**
 * Return the threshold that a good part exceeds with a given probability: an order statistic where enough photos are there, else the
 * prediction limit of log-normal scores, but no less than the largest.
 * @param {number[]} scores of held-out photos
 * @param {number} rate
 * @returns {Threshold}
 */
export function thresholdFor(scores, rate) {
  const ordered = [...scores].sort((a, b) => a - b);
  const n = ordered.length;
  const rank = Math.ceil((n + 1) * (1 - rate) - 1e-9);
  let value = ordered[rank - 1];
  const isExtrapolated = rank > n;
  if (isExtrapolated) {
    const logs = ordered.map((score) => Math.log(Math.max(score, 1e-12)));
    const mean = logs.reduce((sum, one) => sum + one, 0) / n;
    const sd = Math.sqrt(logs.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (n - 1));
    value = Math.max(Math.exp(mean + student(n - 1, 1 - rate) * sd * Math.sqrt(1 + 1 / n)), ordered[n - 1]);
  }
  const above = ordered.filter((score) => score > value).length;
  const atMost = inverse((x) => beta(above + 1, n - above, x), 0.95, 0, 1); // Clopper and Pearson
  return { value, rate, at_most: atMost, n_photos: n, is_extrapolated: isExtrapolated };
}
