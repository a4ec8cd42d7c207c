/** The view in the address: every choice is kept there, so every view is a permalink. */

/**
 * Return what the address chooses, or a default.
 * @param {string} name
 * @param {string} otherwise
 * @returns {string}
 */
export function chosen(name, otherwise = "") {
  return new URLSearchParams(location.search).get(name) ?? otherwise;
}

/**
 * Keep a choice in the address; one that is the default is left out.
 * @param {string} name
 * @param {string} value
 * @param {string} [otherwise]
 */
export function keep(name, value, otherwise = "") {
  const query = new URLSearchParams(location.search);
  if (value === otherwise) query.delete(name);
  else query.set(name, value);
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}
