// Elements without a framework: build them, and keep a list of them in step with a list of values.

const SVG = 'http://www.w3.org/2000/svg';

/** An HTML element. `on...` properties are listeners; `class`, `data-...`, `aria-...` and the like are attributes. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An SVG element; all properties are attributes. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Sets the text only where it differs, so that an idle page is not laid out again and selections survive. */
export function text(element, value) {
  const wanted = String(value);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Sets or removes an attribute only where it differs. */
export function attribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Makes the children of `parent` those of `values`, in order, and keeps the elements of values that stay.
 *
 * `create(value)` makes an element, `update(element, value)` brings it up to date.
 */
export function keyed(parent, values, key, create, update) {
  const known = (parent.keyedChildren ??= new Map());
  const seen = new Set();
  let place = parent.firstElementChild;
  for (const value of values) {
    const name = key(value);
    seen.add(name);
    let element = known.get(name);
    if (!element) known.set(name, (element = create(value)));
    update(element, value);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const [name, element] of known) {
    if (seen.has(name)) continue;
    element.remove();
    known.delete(name);
  }
}

/** Replaces all children. */
export function put(parent, ...children) {
  parent.replaceChildren(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return parent;
}
