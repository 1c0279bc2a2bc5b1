// Results of benchmarks, before and after: files from `python -m bench.... --json`, read in the browser and kept nowhere.

import { compare, dimensions, groupOf, measures, pair, readBench } from './bench.js';
import { SCALES, aims, curves, duels } from './before_after.js';
import { h, put } from './dom.js';

const MOST_FILES = 8;
const MOST_BYTES = 48 * 2 ** 20;

export function experimentsView() {
  const documents = [];
  const choice = { scale: SCALES[0] };
  const picker = h('input', {
    type: 'file',
    accept: '.json,application/json',
    multiple: true,
    class: 'unseen',
    id: 'bench-files',
    onchange: () => take(picker.files),
  });
  const complaint = h('p', { class: 'complaint', role: 'alert', hidden: true });
  const chips = h('ul', { class: 'chips', 'aria-label': 'Files' });
  const dropping = h(
    'div',
    { class: 'drop' },
    h('label', { for: 'bench-files', class: 'button' }, 'Open result files'),
    picker,
    h(
      'span',
      {},
      ' or drop them here: the JSON of ',
      h('code', {}, 'bench.routing'),
      ', ',
      h('code', {}, 'bench.policy'),
      ', ',
      h('code', {}, 'bench.engine'),
      ' and the others. They stay in this page.',
    ),
  );
  const content = h('div', {});
  const element = h(
    'div',
    { class: 'experiments' },
    h(
      'section',
      { class: 'panel' },
      h('div', { class: 'panel-head' }, h('h1', {}, 'Experiments')),
      dropping,
      complaint,
      chips,
    ),
    content,
  );
  element.addEventListener('dragover', (event) => {
    event.preventDefault();
    element.classList.add('over');
  });
  element.addEventListener('dragleave', () => element.classList.remove('over'));
  element.addEventListener('drop', (event) => {
    event.preventDefault();
    element.classList.remove('over');
    take(event.dataTransfer.files);
  });
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
    put(
      chips,
      documents.map((each) =>
        h(
          'li',
          {},
          h('b', {}, each.name),
          ` ${each.benchmark} · ${each.takenAt.slice(0, 10)} · ${each.commit.slice(0, 8)} `,
          h(
            'button',
            {
              type: 'button',
              class: 'quiet',
              'aria-label': `Remove ${each.name}`,
              onclick: () => {
                documents.splice(documents.indexOf(each), 1);
                render();
              },
            },
            '✕',
          ),
        ),
      ),
    );
    if (!documents.length) {
      put(
        content,
        h(
          'div',
          { class: 'empty' },
          h('b', {}, 'No results yet. '),
          'Make some with ',
          h('code', {}, 'python -m bench.routing --grid --quick --json routing.json'),
          ' and open the file here. Two files of one benchmark are compared with each other.',
        ),
      );
      return;
    }
    const benchmarks = [...new Set(documents.map((each) => each.benchmark))];
    if (!benchmarks.includes(choice.benchmark))
      Object.assign(choice, { benchmark: benchmarks.at(-1), table: '', by: '' });
    const chosen = documents.filter((each) => each.benchmark === choice.benchmark);
    put(content, comparison(chosen, benchmarks), chosen.map(aims));
  }

  function comparison(chosen, benchmarks) {
    const tables = [...new Set(chosen.flatMap((each) => Object.keys(each.tables)))];
    if (!tables.length) return null;
    if (!tables.includes(choice.table)) Object.assign(choice, { table: tables[0], by: '', measure: '' });
    const rows = chosen.flatMap((each) =>
      (each.tables[choice.table] ?? []).map((row) =>
        chosen.length > 1 ? { ...row, words: { file: each.name, ...row.words } } : row,
      ),
    );
    const all = dimensions(rows);
    const numbers = measures(rows);
    if (!numbers.includes(choice.measure)) choice.measure = numbers[0];
    if (!all.some((each) => each.name === choice.by))
      Object.assign(choice, { by: all[0]?.name ?? '', before: '', group: null });
    const values = all.find((each) => each.name === choice.by)?.values ?? [];
    if (!values.includes(choice.before) || !values.includes(choice.after)) Object.assign(choice, pair(values));
    if (choice.group === null || choice.group === choice.by) choice.group = groupOf(all, choice.by);
    const pick = (label, name, options, reset = {}) =>
      h(
        'label',
        {},
        `${label} `,
        h(
          'select',
          {
            onchange: (event) => {
              Object.assign(choice, { [name]: event.target.value }, reset);
              render();
            },
          },
          options.map((value) => h('option', { value, selected: value === choice[name] }, value || 'all together')),
        ),
      );
    const controls = h(
      'div',
      { class: 'filters' },
      benchmarks.length > 1 ? pick('Benchmark', 'benchmark', benchmarks, { table: '', by: '' }) : null,
      tables.length > 1 ? pick('Table', 'table', tables, { by: '', measure: '' }) : null,
      pick('Measure', 'measure', numbers),
      all.length > 1
        ? pick(
            'Compare',
            'by',
            all.map((each) => each.name),
            { before: '', group: null },
          )
        : null,
      values.length ? [pick('Before', 'before', values), pick('After', 'after', values)] : null,
      pick('Scale', 'scale', SCALES),
      all.length > 1
        ? pick('By', 'group', ['', ...all.map((each) => each.name).filter((name) => name !== choice.by)])
        : null,
    );
    const head = h('div', { class: 'panel-head' }, h('h2', {}, `${choice.benchmark}: ${choice.measure ?? ''}`));
    const found = values.length ? compare(rows, choice) : [];
    return h(
      'section',
      { class: 'panel' },
      head,
      controls,
      found.length ? duels(found, choice) : h('div', { class: 'empty' }, 'Nothing to compare in this table.'),
      curves(rows, choice),
    );
  }
}
