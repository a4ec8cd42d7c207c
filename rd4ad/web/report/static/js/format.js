/** Numbers as the pages print them: percent with one decimal. */

/**
 * @param {number | null | undefined} fraction
 * @returns {string}
 */
export function percent(fraction) {
  return fraction === null || fraction === undefined || Number.isNaN(fraction)
    ? "–"
    : (100 * fraction).toFixed(1);
}

/**
 * @param {number | null | undefined} fraction
 * @returns {string}
 */
export function signed(fraction) {
  const text = percent(fraction).replace(/^-(0[.]0)$/, "$1");
  return fraction !== null && fraction !== undefined && fraction > 0 && text !== "0.0" ? `+${text}` : text;
}

/**
 * Return a category or an average as the pages print it.
 * @param {string} name
 * @param {Record<string, string>} [averages]
 * @returns {string}
 */
export function rowName(name, averages = {}) {
  const said = averages[name] ?? name.replaceAll("_", " ");
  return said.charAt(0).toUpperCase() + said.slice(1);
}

/**
 * Return rows as CSV; text that a spreadsheet would run as a formula is quoted.
 * @param {(string | number | null)[][]} rows
 * @returns {string}
 */
export function csv(rows) {
  const cell = (/** @type {string | number | null} */ value) => {
    if (value === null) return "";
    let text = String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n");
}
