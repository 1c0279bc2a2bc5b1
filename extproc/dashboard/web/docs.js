// The documentation that came with this version, and the links between its pages.

import { file, get } from './api.js';
import { h, put } from './dom.js';
import { markdown } from './markdown.js';

export function docsView() {
  const contents = h('nav', { class: 'contents', 'aria-label': 'Documentation' });
  const page = h('article', { class: 'panel prose' });
  const element = h('div', { class: 'docs' }, contents, page);
  let shown = '';
  let pages = null;
  return { element, update() {}, show, title: 'Docs' };

  /** `place`: a path such as docs/guide.md, with `#` and a heading behind it or not. */
  async function show(place) {
    const [wanted, heading] = decodeURIComponent(place || 'README.md').split('#');
    try {
      pages ??= await get('/dashboard/docs.json');
      put(
        contents,
        pages.map(({ path, title }) =>
          h('a', { href: `#/docs/${path}`, 'aria-current': path === wanted ? 'page' : null }, title),
        ),
      );
      if (wanted !== shown) {
        const known = new Set(pages.map(({ path }) => path));
        const places = { link: (target) => link(target, wanted, known), image: (target) => image(target, wanted) };
        put(page, markdown(await file(encodeURI(wanted)), places));
        shown = wanted;
      }
    } catch (error) {
      shown = '';
      put(page, h('div', { class: 'empty' }, h('b', {}, 'This page could not be read. '), error.message));
    }
    const target = heading && page.querySelector(`#${CSS.escape(heading)}`);
    if (target) target.scrollIntoView();
    else window.scrollTo(0, 0);
  }
}

/** `../bench/README.md` as seen from docs/guide.md -> bench/README.md. */
function resolve(target, from) {
  return new URL(target, `http://docs/${from}`).pathname.slice(1);
}

function link(target, from, known) {
  if (/^[a-z]+:/i.test(target))
    return /^(https?|mailto):/i.test(target) ? { href: target, rel: 'noreferrer', target: '_blank' } : null;
  const [path, heading] = target.split('#');
  const resolved = path ? resolve(path, from) : from;
  return known.has(resolved) ? { href: `#/docs/${resolved}${heading ? `#${heading}` : ''}` } : null;
}

function image(target, from) {
  return /^[a-z]+:/i.test(target) || !resolve(target, from).startsWith('docs/')
    ? null
    : `/dashboard/${resolve(target, from)}`;
}
