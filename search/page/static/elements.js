// @ts-check
// Elements of the page, as index.html defines them; a missing one is a bug of the page.

/**
 * Return the element with this id, of the kind that is asked for.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function at(id, kind) {
  return checked(document.getElementById(id), `#${id}`, kind);
}

/**
 * Return the first element below `parent` that a selector finds, of the kind that is asked for.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function part(parent, selector, kind) {
  return checked(parent.querySelector(selector), selector, kind);
}

/**
 * Return all elements below `parent` that a selector finds.
 * @param {ParentNode} parent
 * @param {string} selector
 * @returns {HTMLElement[]}
 */
export function parts(parent, selector) {
  return [...parent.querySelectorAll(selector)].filter((element) => element instanceof HTMLElement);
}

/**
 * @template {HTMLElement} T
 * @param {Element | null} element
 * @param {string} name
 * @param {new () => T} [kind]
 * @returns {T}
 */
function checked(element, name, kind) {
  if (!(element instanceof (kind ?? HTMLElement))) throw new Error(`The page has no ${kind?.name ?? "element"} ${name}.`);
  return /** @type {T} */ (element);
}
