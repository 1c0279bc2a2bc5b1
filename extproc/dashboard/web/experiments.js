// Results of benchmarks, before and after: files from `python -m bench.... --json`, read in the browser and kept nowhere.

import { compare, curve, dimensions, groupOf, measures, moreIsBetter, pair, readBench } from './bench.js';
import { h, put, svg } from './dom.js';
import { percent, short } from './format.js';

const SCALES = ['common', 'each its own'];
const MOST_FILES = 8;
const MOST_BYTES = 48 * 2 ** 20;

export function experimentsView() {
  const documents = [];
  const choice = { scale: SCALES[0] };
  const picker = h('input', { type: 'file', accept: '.json,application/json', multiple: true, class: 'unseen', id: 'bench-files', onchange: () => take(picker.files) });
  const complaint = h('p', { class: 'complaint', role: 'alert', hidden: true });
  const chips = h('ul', { class: 'chips', 'aria-label': 'Files' });
  const dropping = h('div', { class: 'drop' }, h('label', { for: 'bench-files', class: 'button' }, 'Open result files'), picker, h('span', {}, ' or drop them here: the JSON of ', h('code', {}, 'bench.routing'), ', ', h('code', {}, 'bench.policy'), ', ', h('code', {}, 'bench.engine'), ' and the others. They stay in this page.'));
  const content = h('div', {});
  const element = h('div', { class: 'experiments' }, h('section', { class: 'panel' }, h('div', { class: 'panel-head' }, h('h1', {}, 'Experiments')), dropping, complaint, chips), content);
  element.addEventListener('dragover', (event) => { event.preventDefault(); element.classList.add('over'); });
  element.addEventListener('dragleave', () => element.classList.remove('over'));
  element.addEventListener('drop', (event) => { event.preventDefault(); element.classList.remove('over'); take(event.dataTransfer.files); });
  render();
  return { element, update() {}, title: 'Experiments' };

  async function take(files) {
    const wrong = [];
    for (const each of files) {
      try {
        if (each.size > MOST_BYTES) throw new Error(`${each.name} is larger than ${MOST_BYTES / 2 ** 20} MB.`);
        documents.push(readBench(await each.text(), unique(each.name)));
        Object.assign(choice, { benchmark: documents.at(-1).benchmark, table: '', by: '' });
      } catch (error) {
        wrong.push(error.message);
      }
    }
    documents.splice(0, Math.max(0, documents.length - MOST_FILES));
    picker.value = '';
    put(complaint, wrong.join(' '));
    complaint.hidden = !wrong.length;
    render();
  }

  function unique(name) {
    const taken = documents.filter((each) => each.name === name || each.name.startsWith(`${name} (`)).length;
    return taken ? `${name} (${taken + 1})` : name;
  }

  function render() {
    put(chips, documents.map((each) => h('li', {}, h('b', {}, each.name), ` ${each.benchmark} · ${each.takenAt.slice(0, 10)} · ${each.commit.slice(0, 8)} `, h('button', { type: 'button', class: 'quiet', 'aria-label': `Remove ${each.name}`, onclick: () => { documents.splice(documents.indexOf(each), 1); render(); } }, '✕'))));
    if (!documents.length) {
      put(content, h('div', { class: 'empty' }, h('b', {}, 'No results yet. '), 'Make some with ', h('code', {}, 'python -m bench.routing --grid --quick --json routing.json'), ' and open the file here. Two files of one benchmark are compared with each other.'));
      return;
    }
    const benchmarks = [...new Set(documents.map((each) => each.benchmark))];
    if (!benchmarks.includes(choice.benchmark)) Object.assign(choice, { benchmark: benchmarks.at(-1), table: '', by: '' });
    const chosen = documents.filter((each) => each.benchmark === choice.benchmark);
    put(content, comparison(chosen, benchmarks), chosen.map(aims));
  }

  function comparison(chosen, benchmarks) {
    const tables = [...new Set(chosen.flatMap((each) => Object.keys(each.tables)))];
    if (!tables.length) return null;
    if (!tables.includes(choice.table)) Object.assign(choice, { table: tables[0], by: '', measure: '' });
    const rows = chosen.flatMap((each) => (each.tables[choice.table] ?? []).map((row) => (chosen.length > 1 ? { ...row, words: { file: each.name, ...row.words } } : row)));
    const all = dimensions(rows);
    const numbers = measures(rows);
    if (!numbers.includes(choice.measure)) choice.measure = numbers[0];
    if (!all.some((each) => each.name === choice.by)) Object.assign(choice, { by: all[0]?.name ?? '', before: '', group: null });
    const values = all.find((each) => each.name === choice.by)?.values ?? [];
    if (!values.includes(choice.before) || !values.includes(choice.after)) Object.assign(choice, pair(values));
    if (choice.group === null || choice.group === choice.by) choice.group = groupOf(all, choice.by);
    const pick = (label, name, options, reset = {}) => h('label', {}, `${label} `, h('select', { onchange: (event) => { Object.assign(choice, { [name]: event.target.value }, reset); render(); } }, options.map((value) => h('option', { value, selected: value === choice[name] }, value || 'all together'))));
    const controls = h('div', { class: 'filters' },
      benchmarks.length > 1 ? pick('Benchmark', 'benchmark', benchmarks, { table: '', by: '' }) : null,
      tables.length > 1 ? pick('Table', 'table', tables, { by: '', measure: '' }) : null,
      pick('Measure', 'measure', numbers),
      all.length > 1 ? pick('Compare', 'by', all.map((each) => each.name), { before: '', group: null }) : null,
      values.length ? [pick('Before', 'before', values), pick('After', 'after', values)] : null,
      pick('Scale', 'scale', SCALES),
      all.length > 1 ? pick('By', 'group', ['', ...all.map((each) => each.name).filter((name) => name !== choice.by)]) : null);
    const head = h('div', { class: 'panel-head' }, h('h2', {}, `${choice.benchmark}: ${choice.measure ?? ''}`));
    const found = values.length ? compare(rows, choice) : [];
    return h('section', { class: 'panel' }, head, controls, found.length ? chart(found, choice) : h('div', { class: 'empty' }, 'Nothing to compare in this table.'), curves(rows, choice));
  }
}

function chart(found, { before, after, measure, scale }) {
  const largest = (rows) => Math.max(...rows.flatMap((each) => [each.before, each.after]).filter(Number.isFinite), 1e-12);
  const bar = (value, most, className) => {
    const fill = h('i', { class: className });
    fill.style.width = `${Number.isFinite(value) ? Math.max(0.3, (100 * value) / most).toFixed(2) : 0}%`;
    return h('div', { class: 'duel-bar' }, h('span', { class: 'track' }, fill), h('b', {}, figure(value)));
  };
  const row = (each) => {
    const most = largest(scale === SCALES[0] ? found : [each]);
    const name = h('span', { class: 'who' }, each.group, each.rows > 1 ? h('small', {}, `mean of ${each.rows}`) : null);
    return h('li', {}, name, h('div', {}, bar(each.before, most, 'before'), bar(each.after, most, 'after')), change(each, measure));
  };
  const legend = h('p', { class: 'legend' }, h('span', { class: 'gray' }, h('i', {}), `before: ${before}`), h('span', { class: 'first' }, h('i', {}), `after: ${after}`), h('span', { class: 'when' }, moreIsBetter(measure) ? 'more is better' : 'less is better'));
  return [legend, h('ol', { class: 'duels' }, found.map(row))];
}

function change({ before, after }, measure) {
  if (!Number.isFinite(before) || !Number.isFinite(after) || before === 0) return h('span', { class: 'change' }, '–');
  const share = after / before - 1;
  const better = moreIsBetter(measure) ? share > 0 : share < 0;
  const level = Math.abs(share) < 0.02 ? null : better ? 'ok' : 'bad';
  return h('span', { class: 'change', 'data-level': level }, `${share > 0 ? '+' : '−'}${percent(Math.abs(share))}`);
}

const figure = (value) => (!Number.isFinite(value) ? '–' : Math.abs(value) >= 100 ? short(value) : String(Number(value.toPrecision(3))));

const WIDTH = 640;
const HEIGHT = 200;

/** How TTFT is distributed before and after, up to the 99th percentile, where the file has it. */
function curves(rows, { by, before, after }) {
  const both = [before, after].map((value) => curve(rows.filter((row) => row.words[by] === value)));
  if (!both[0] || !both[1]) return null;
  const most = Math.max(...both.map((each) => each[Math.floor(each.length * 0.99)]), 1e-9);
  const line = (values) => values.map((value, place) => `${place ? 'L' : 'M'}${((WIDTH * Math.min(value, most)) / most).toFixed(1)} ${(HEIGHT - ((HEIGHT - 6) * place) / (values.length - 1)).toFixed(1)}`).join('');
  const grid = [0.25, 0.5, 0.75].map((share) => svg('line', { x1: 0, x2: WIDTH, y1: HEIGHT * share, y2: HEIGHT * share }));
  const drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'chart', role: 'img', preserveAspectRatio: 'none', 'aria-label': 'Share of requests whose first token came within a time' }, svg('g', { class: 'grid' }, grid), svg('path', { class: 'line gray', d: line(both[0]), fill: 'none' }), svg('path', { class: 'line first', d: line(both[1]), fill: 'none' }));
  const scale = h('p', { class: 'scale' }, h('span', {}, '0 s'), h('span', {}, `${figure(most / 2)} s`), h('span', {}, `${figure(most)} s`));
  return h('div', { class: 'curves' }, h('h3', {}, 'Share of requests with a first token within …'), h('div', { class: 'cdf' }, drawing), scale);
}

function aims({ name, aims: all }) {
  if (!all.length) return null;
  const met = all.filter((each) => each.met).length;
  const rows = all.map((each) => h('tr', {}, h('th', { scope: 'row' }, each.what), h('td', { class: 'number' }, each.measured), h('td', { class: 'number' }, each.aim), h('td', { 'data-level': each.met ? 'ok' : 'warn' }, each.met ? 'met' : 'missed')));
  const head = h('tr', {}, ['Aim', 'Measured', 'Wanted', ''].map((label, place) => h('th', { scope: 'col', class: place === 1 || place === 2 ? 'number' : null }, label)));
  return h('section', { class: 'panel' }, h('div', { class: 'panel-head' }, h('h2', {}, 'Aims'), h('span', { class: 'when' }, `${name}: ${met} of ${all.length} met`)), h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Aims' }, h('table', {}, h('thead', {}, head), h('tbody', {}, rows))));
}
