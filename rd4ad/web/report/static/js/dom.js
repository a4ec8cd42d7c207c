/** Elements from data: text is always text, so nothing that was read becomes markup. */

/**
 * Return a new element.
 * @param {string} tag
 * @param {Record<string, any>} [given] attributes; a key that begins with "on" is a listener
 * @param {...(Node | string | number | null | undefined)} children
 * @returns {HTMLElement}
 */
export function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") made.style.cssText = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child !== null && child !== undefined) made.append(child instanceof Node ? child : String(child));
  }
  return made;
}

/**
 * Return the element of an id, which is on the page.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/**
 * Replace what an element holds.
 * @param {HTMLElement} parent
 * @param {...(Node | string)} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...children);
}

/**
 * Say an error on the page, in its own place.
 * @param {unknown} error
 */
export function sayError(error) {
  const said = error instanceof Error ? error.message : String(error);
  const place = byId("said");
  place.className = "error";
  place.setAttribute("role", "alert");
  fill(place, said);
}

/** Take the last error off the page. */
export function clearError() {
  const place = byId("said");
  place.className = "";
  place.removeAttribute("role");
  fill(place);
}

/**
 * Offer bytes or text as a file.
 * @param {string} name
 * @param {Blob} content
 */
export function download(name, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
