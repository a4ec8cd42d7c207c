/** The site's data: JSON files beside the pages, each loaded once and when needed. */

/** @type {Map<string, Promise<any>>} */
const loaded = new Map();

/**
 * Return a file of data/ as JSON.
 * @param {string} name
 * @returns {Promise<any>}
 */
export function load(name) {
  let found = loaded.get(name);
  if (!found) {
    found = fetch(`data/${name}.json`).then((answer) => {
      if (!answer.ok) throw new Error(`data/${name}.json cannot be read (${answer.status})`);
      return answer.json();
    });
    loaded.set(name, found);
  }
  return found;
}

/**
 * Return a column of coded values, one a row.
 * @param {{distinct: any[], codes: number[]}} coded
 * @returns {any[]}
 */
export function decoded(coded) {
  return coded.codes.map((code) => coded.distinct[code]);
}
