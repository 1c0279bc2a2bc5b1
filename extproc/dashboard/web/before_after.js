// Measurements of two sides as pictures: bars in pairs, curves on top of each other, and aims as a table.

import { curve, moreIsBetter } from './bench.js';
import { h, svg } from './dom.js';
import { percent, short } from './format.js';

export const SCALES = ['common', 'each its own'];

/** A pair of bars for each group, and how much better or worse `after` is. */
export function duels(found, { before, after, measure, scale }) {
  const largest = (rows) =>
    Math.max(...rows.flatMap((each) => [each.before, each.after]).filter(Number.isFinite), 1e-12);
  const bar = (value, most, className) => {
    const fill = h('i', { class: className });
    fill.style.width = `${Number.isFinite(value) ? Math.max(0.3, (100 * value) / most).toFixed(2) : 0}%`;
    return h('div', { class: 'duel-bar' }, h('span', { class: 'track' }, fill), h('b', {}, figure(value)));
  };
  const row = (each) => {
    const most = largest(scale === SCALES[0] ? found : [each]);
    const name = h('span', { class: 'who' }, each.group, each.rows > 1 ? h('small', {}, `mean of ${each.rows}`) : null);
    return h(
      'li',
      {},
      name,
      h('div', {}, bar(each.before, most, 'before'), bar(each.after, most, 'after')),
      change(each, measure),
    );
  };
  const legend = h(
    'p',
    { class: 'legend' },
    h('span', { class: 'gray' }, h('i', {}), `before: ${before}`),
    h('span', { class: 'first' }, h('i', {}), `after: ${after}`),
    h('span', { class: 'when' }, moreIsBetter(measure) ? 'more is better' : 'less is better'),
  );
  return [legend, h('ol', { class: 'duels' }, found.map(row))];
}

function change({ before, after }, measure) {
  if (!Number.isFinite(before) || !Number.isFinite(after) || before === 0) return h('span', { class: 'change' }, '–');
  const share = after / before - 1;
  const better = moreIsBetter(measure) ? share > 0 : share < 0;
  const level = Math.abs(share) < 0.02 ? null : better ? 'ok' : 'bad';
  return h('span', { class: 'change', 'data-level': level }, `${share > 0 ? '+' : '−'}${percent(Math.abs(share))}`);
}

const figure = (value) =>
  !Number.isFinite(value) ? '–' : Math.abs(value) >= 100 ? short(value) : String(Number(value.toPrecision(3)));

const WIDTH = 640;
const HEIGHT = 200;

/** How TTFT is distributed before and after, up to the 99th percentile, where the file has it. */
export function curves(rows, { by, before, after }) {
  const both = [before, after].map((value) => curve(rows.filter((row) => row.words[by] === value)));
  if (!both[0] || !both[1]) return null;
  const most = Math.max(...both.map((each) => each[Math.floor(each.length * 0.99)]), 1e-9);
  const line = (values) =>
    values
      .map(
        (value, place) =>
          `${place ? 'L' : 'M'}${((WIDTH * Math.min(value, most)) / most).toFixed(1)} ${(HEIGHT - ((HEIGHT - 6) * place) / (values.length - 1)).toFixed(1)}`,
      )
      .join('');
  const grid = [0.25, 0.5, 0.75].map((share) =>
    svg('line', { x1: 0, x2: WIDTH, y1: HEIGHT * share, y2: HEIGHT * share }),
  );
  const drawing = svg(
    'svg',
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      class: 'chart',
      role: 'img',
      preserveAspectRatio: 'none',
      'aria-label': 'Share of requests whose first token came within a time',
    },
    svg('g', { class: 'grid' }, grid),
    svg('path', { class: 'line gray', d: line(both[0]), fill: 'none' }),
    svg('path', { class: 'line first', d: line(both[1]), fill: 'none' }),
  );
  const scale = h(
    'p',
    { class: 'scale' },
    h('span', {}, '0 s'),
    h('span', {}, `${figure(most / 2)} s`),
    h('span', {}, `${figure(most)} s`),
  );
  return h(
    'div',
    { class: 'curves' },
    h('h3', {}, 'Share of requests with a first token within …'),
    h('div', { class: 'cdf' }, drawing),
    scale,
  );
}

/** What a benchmark set out to reach, and whether it did. */
export function aims({ name, aims: all }) {
  if (!all.length) return null;
  const met = all.filter((each) => each.met).length;
  const rows = all.map((each) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, each.what),
      h('td', { class: 'number' }, each.measured),
      h('td', { class: 'number' }, each.aim),
      h('td', { 'data-level': each.met ? 'ok' : 'warn' }, each.met ? 'met' : 'missed'),
    ),
  );
  const head = h(
    'tr',
    {},
    ['Aim', 'Measured', 'Wanted', ''].map((label, place) =>
      h('th', { scope: 'col', class: place === 1 || place === 2 ? 'number' : null }, label),
    ),
  );
  return h(
    'section',
    { class: 'panel' },
    h(
      'div',
      { class: 'panel-head' },
      h('h2', {}, 'Aims'),
      h('span', { class: 'when' }, `${name}: ${met} of ${all.length} met`),
    ),
    h(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Aims' },
      h('table', {}, h('thead', {}, head), h('tbody', {}, rows)),
    ),
  );
}
