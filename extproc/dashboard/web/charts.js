// Line charts over time, in SVG: drawn once, then only their paths and labels change.

import { h, put, svg, text } from './dom.js';
import { clock } from './format.js';

const WIDTH = 560;
const HEIGHT = 150;
const LEFT = 62;
const BOTTOM = 20;
const TOP = 8;

/**
 * A chart with one to three lines.
 *
 * `lines`: `[{name, className}]`. `format` turns a value into a label. `update(times, columns)` takes unix seconds and, for
 * each line, as many values; NaN is a gap. With `most`, the axis ends there.
 */
export function lineChart({ title, lines, format, most = undefined, empty = 'Nothing yet' }) {
  const paths = lines.map((line) => svg('path', { class: `line ${line.className}`, fill: 'none' }));
  const area = svg('path', { class: 'area' });
  const grid = svg('g', { class: 'grid' });
  const cursor = svg('line', { class: 'cursor', y1: TOP, y2: HEIGHT - BOTTOM, visibility: 'hidden' });
  const label = `${title} over the last minutes`;
  const drawing = svg('svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    class: 'chart',
    role: 'img',
    'aria-label': label,
    preserveAspectRatio: 'none',
  });
  drawing.append(grid, area, ...paths, cursor);
  const values = lines.map(() => h('b', {}));
  const legend = h(
    'p',
    { class: 'legend' },
    lines.map((line, place) => h('span', { class: line.className }, h('i', {}), line.name, ' ', values[place])),
  );
  const when = h('span', { class: 'when' });
  const nothing = h('p', { class: 'nothing' }, empty);
  const labels = h('div', { class: 'axis', 'aria-hidden': 'true' });
  const plot = h('div', { class: 'plot' }, drawing, labels, nothing);
  const element = h(
    'figure',
    { class: 'panel chart-panel' },
    h('figcaption', {}, h('h3', {}, title), when, legend),
    plot,
  );

  let shown = null;
  let pointed = null;

  const x = (place) => LEFT + ((WIDTH - LEFT - 4) * place) / Math.max(1, shown.times.length - 1);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * Math.min(1, value / shown.top);

  function path(column) {
    let drawn = '';
    let pen = false;
    column.forEach((value, place) => {
      if (!Number.isFinite(value)) {
        pen = false;
        return;
      }
      const isolated = !pen && !Number.isFinite(column[place + 1]);
      drawn += `${pen ? 'L' : 'M'}${x(place).toFixed(1)} ${y(value).toFixed(1)}${isolated ? 'h.01' : ''}`;
      pen = true;
    });
    return drawn;
  }

  function drawGrid() {
    const steps = [0, 0.5, 1];
    put(
      grid,
      steps.map((share) =>
        svg('line', { x1: LEFT, x2: WIDTH - 4, y1: y(share * shown.top), y2: y(share * shown.top) }),
      ),
    );
    const marks = steps.map((share) => mark(format(share * shown.top), 'y', y(share * shown.top) / HEIGHT));
    const { times } = shown;
    const at = [0, Math.floor((times.length - 1) / 2)].map((place) =>
      mark(clock(times[place]).slice(0, 5), 'x', x(place) / WIDTH),
    );
    put(labels, marks, at, mark('now', 'x last', 1));
  }

  function read() {
    const place = pointed ?? shown.times.length - 1;
    cursor.setAttribute('visibility', pointed === null ? 'hidden' : 'visible');
    cursor.setAttribute('x1', x(place));
    cursor.setAttribute('x2', x(place));
    text(when, pointed === null ? '' : clock(shown.times[place]));
    shown.columns.forEach((column, line) => {
      const value = pointed === null ? column.findLast((each) => Number.isFinite(each)) : column[place];
      text(values[line], format(value ?? NaN));
    });
  }

  plot.addEventListener('pointermove', (event) => {
    if (!shown) return;
    const box = drawing.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width) * WIDTH - LEFT;
    pointed = Math.max(
      0,
      Math.min(shown.times.length - 1, Math.round((share / (WIDTH - LEFT - 4)) * (shown.times.length - 1))),
    );
    read();
  });
  plot.addEventListener('pointerleave', () => {
    pointed = null;
    if (shown) read();
  });

  return {
    element,
    update(times, columns) {
      const largest = Math.max(0, ...columns.flat().filter(Number.isFinite));
      shown = { times, columns, top: most ?? niceAbove(largest) };
      nothing.hidden = columns.some((column) => column.some(Number.isFinite));
      columns.forEach((column, line) => paths[line].setAttribute('d', path(column)));
      area.setAttribute('d', columns.length === 1 ? closed(columns[0]) : '');
      drawGrid();
      read();
    },
  };

  function closed(column) {
    const drawn = path(column.map((value) => (Number.isFinite(value) ? value : 0)));
    const floor = HEIGHT - BOTTOM;
    return nothing.hidden ? `${drawn}L${x(column.length - 1)} ${floor}L${LEFT} ${floor}Z` : '';
  }
}

function mark(said, className, share) {
  const element = h('span', { class: className }, said);
  element.style.setProperty(className === 'y' ? 'top' : 'left', `${(share * 100).toFixed(2)}%`);
  return element;
}

/** The next of 1, 2, 2.5, 5 times a power of ten. */
export function niceAbove(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return (
    [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((each) => each >= value * 1.0001) ?? 10 * power
  );
}

/** A small line without axes, as a path into a drawing of 100 by 24. */
export function sparkline(values, most = Math.max(...values, 1e-9)) {
  if (values.length < 2) return '';
  return values
    .map(
      (value, place) =>
        `${place ? 'L' : 'M'}${((100 * place) / (values.length - 1)).toFixed(1)} ${(22 - 20 * Math.min(1, value / most)).toFixed(1)}`,
    )
    .join('');
}
