/** Controls bound to the address. */

import { chosen, keep } from "./address.js";
import { el } from "./dom.js";

/**
 * Return a labelled select box; a choice is kept in the address.
 * @param {object} given
 * @param {string} given.label
 * @param {string} given.name in the address
 * @param {[string, string][]} given.options value and what is shown
 * @param {string} [given.first] chosen at first
 * @param {(value: string) => void} given.onChange called at a choice, not at first
 * @returns {{element: HTMLElement, value: () => string}}
 */
export function select({ label, name, options, first = options[0]?.[0] ?? "", onChange }) {
  const asked = chosen(name, first);
  const value = options.some(([key]) => key === asked) ? asked : first;
  const box = /** @type {HTMLSelectElement} */ (
    el("select", { name }, ...options.map(([key, said]) => el("option", { value: key }, said)))
  );
  box.value = value;
  box.addEventListener("change", () => {
    keep(name, box.value, first);
    onChange(box.value);
  });
  return { element: el("label", {}, label, box), value: () => box.value };
}

/**
 * Return a labelled slider.
 * @param {object} given
 * @param {string} given.label
 * @param {number} given.min
 * @param {number} given.max
 * @param {number} given.step
 * @param {number} given.value
 * @param {(value: number) => void} given.onInput
 * @returns {{element: HTMLElement, input: HTMLInputElement}}
 */
export function slider({ label, min, max, step, value, onInput }) {
  const said = el("output", {}, value);
  const input = /** @type {HTMLInputElement} */ (el("input", { type: "range", min, max, step, value }));
  input.addEventListener("input", () => {
    said.textContent = input.value;
    onInput(Number(input.value));
  });
  return { element: el("label", {}, el("span", {}, `${label}: `, said), input), input };
}
