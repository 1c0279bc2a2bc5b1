// Recent decisions: a page of them at a time, filtered, newest first. It stands still while somebody points at it.

import { attribute, h, keyed, text } from './dom.js';
import { clock, count, seconds } from './format.js';
import { ended } from './live.js';

const PAGE = 50;
const FILTERS = {
  replica: 'Replica',
  model: 'Model',
  reason: 'Reason',
  cache: 'Cache',
  tenant: 'Tenant',
  outcome: 'Outcome',
};
const MOST_CHOICES = 300;
const HEADINGS = [
  'Time',
  'Model',
  'Tenant',
  'Replica',
  'Reason',
  'Prompt',
  'Matched',
  'Cached',
  'TTFT predicted',
  'TTFT',
  'Total',
  'Status',
  'Cache',
];
const NUMBERS = new Set(['Prompt', 'Matched', 'Cached', 'TTFT predicted', 'TTFT', 'Total']);

export function decisionsView(live) {
  const chosen = Object.fromEntries(Object.keys(FILTERS).map((name) => [name, '']));
  const selects = Object.keys(FILTERS).map((name) =>
    filter(name, (value) => {
      chosen[name] = value;
      turn(0);
    }),
  );
  const search = h('input', {
    type: 'search',
    placeholder: 'Request id',
    'aria-label': 'Find a request id',
    oninput: () => turn(0),
  });
  const pause = h('button', { type: 'button', 'aria-pressed': 'false', onclick: togglePause }, 'Pause');
  const newer = h('button', { type: 'button', onclick: () => turn(page - 1) }, '‹ Newer');
  const older = h('button', { type: 'button', onclick: () => turn(page + 1) }, 'Older ›');
  const place = h('span', { class: 'when', role: 'status' });
  const body = h('tbody', {});
  const table = h(
    'table',
    { class: 'decisions' },
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        HEADINGS.map((name) => h('th', { scope: 'col', class: NUMBERS.has(name) ? 'number' : null }, name)),
      ),
    ),
    body,
  );
  const nothing = h('div', { class: 'empty' });
  const scroller = h(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Recent decisions' },
    table,
  );
  const clear = h('button', { type: 'button', class: 'quiet', onclick: reset }, 'Clear');
  const element = h(
    'section',
    { class: 'panel' },
    h(
      'div',
      { class: 'panel-head' },
      h('h1', {}, 'Decisions'),
      place,
      h('div', { class: 'tools' }, pause, newer, older),
    ),
    h(
      'div',
      { class: 'filters' },
      selects.map((each) => each.element),
      search,
      clear,
    ),
    scroller,
    nothing,
  );
  let page = 0;
  let paused = false;
  let matching = [];
  let choicesAt = 0;
  return { element, update, title: 'Decisions' };

  function update() {
    refreshChoices();
    if (!(paused || page > 0 || table.matches(':hover'))) matching = select();
    show();
  }

  function select() {
    const wanted = search.value.trim();
    const rules = Object.entries(chosen).filter(([, value]) => value);
    const found = [];
    for (const decision of live.decisions) {
      if (
        rules.every(([name, value]) => facet(decision, name) === value) &&
        (!wanted || decision.request_id.includes(wanted))
      )
        found.push(decision);
    }
    return found;
  }

  function show() {
    const from = page * PAGE;
    keyed(body, matching.slice(from, from + PAGE), (each) => each.id, createRow, updateRow);
    const { length } = live.decisions;
    nothing.hidden = matching.length > 0 || !live.at_unix_s;
    scroller.hidden = !matching.length;
    text(
      nothing,
      length
        ? 'No decision matches the filter.'
        : 'No requests yet. Send one to /v1/chat/completions, and it appears here with its reasons.',
    );
    const held = paused || page > 0;
    const range = matching.length
      ? `${count(from + 1)}–${count(Math.min(from + PAGE, matching.length))} of ${count(matching.length)}`
      : '';
    text(
      place,
      `${range}${held ? ' · standing still' : ''}${live.sampled ? ' · a sample: more come than are shown' : ''}`,
    );
    newer.disabled = page === 0;
    older.disabled = from + PAGE >= matching.length;
    clear.hidden = !search.value && Object.values(chosen).every((value) => !value);
  }

  function turn(wanted) {
    const fresh = wanted <= 0 || wanted * PAGE >= matching.length;
    page = fresh ? 0 : wanted;
    if (fresh) matching = select();
    show();
  }

  function togglePause() {
    paused = !paused;
    attribute(pause, 'aria-pressed', paused);
    text(pause, paused ? 'Resume' : 'Pause');
    if (!paused) turn(0);
  }

  function reset() {
    search.value = '';
    for (const each of selects) each.set('');
    for (const name of Object.keys(chosen)) chosen[name] = '';
    turn(0);
  }

  function refreshChoices() {
    if (Date.now() - choicesAt < 3000 && choicesAt) return;
    choicesAt = live.decisions.length ? Date.now() : 0;
    const values = Object.keys(FILTERS).map(() => new Set());
    for (const decision of live.decisions) {
      Object.keys(FILTERS).forEach(
        (name, index) => values[index].size < MOST_CHOICES && values[index].add(facet(decision, name)),
      );
    }
    selects.forEach((each, index) =>
      each.offer([...values[index]].filter(Boolean).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))),
    );
  }
}

function facet(decision, name) {
  if (name === 'outcome') return outcome(decision);
  if (name === 'replica') return decision.served_by || decision.replica;
  return decision[name];
}

function outcome(decision) {
  if (!ended(decision)) return 'in flight';
  if (decision.status === 0) return 'client left';
  if (decision.status >= 400) return 'failed';
  return decision.served_by && decision.replica && decision.served_by !== decision.replica ? 'failed over' : 'served';
}

function filter(name, choose) {
  const select = h('select', { onchange: () => choose(select.value) }, h('option', { value: '' }, 'all'));
  const element = h('label', {}, `${FILTERS[name]} `, select);
  let offered = '';
  return {
    element,
    set: (value) => {
      select.value = value;
    },
    offer(values) {
      if (values.join('\n') === offered || document.activeElement === select) return;
      offered = values.join('\n');
      const before = select.value;
      const all = before && !values.includes(before) ? [before, ...values] : values;
      select.replaceChildren(h('option', { value: '' }, 'all'), ...all.map((value) => h('option', { value }, value)));
      select.value = before;
      element.hidden = values.length === 0;
    },
  };
}

function createRow(decision) {
  const open = () => {
    location.hash = `#/decisions/${decision.id}`;
  };
  const cells = HEADINGS.map((name, place) =>
    place
      ? h('td', { 'data-label': name, class: NUMBERS.has(name) ? 'number' : null })
      : h('th', { scope: 'row' }, h('a', { href: `#/decisions/${decision.id}`, title: decision.request_id })),
  );
  return h('tr', { onclick: open }, cells);
}

function updateRow(row, decision) {
  const over = decision.served_by && decision.replica && decision.served_by !== decision.replica;
  const replica = over ? `${decision.replica} → ${decision.served_by}` : decision.replica || '–';
  const late = decision.ttft_s > 0.2 && decision.ttft_s > 2 * decision.predicted_ttft_s;
  text(row.children[0].firstChild, clock(decision.at_unix_s));
  const told = [
    decision.model,
    decision.tenant || '–',
    replica,
    decision.reason || '–',
    count(decision.prompt_tokens),
    decision.replica ? count(decision.matched_tokens + (decision.restorable_tokens || 0)) : '–',
    decision.cached_tokens >= 0 ? count(decision.cached_tokens) : '–',
    decision.replica ? seconds(decision.predicted_ttft_s) : '–',
    decision.ttft_s >= 0 ? seconds(decision.ttft_s) : '–',
    ended(decision) ? seconds(decision.duration_s) : 'in flight',
    status(decision),
    decision.cache,
  ];
  told.forEach((value, index) => text(row.children[index + 1], value));
  attribute(row.children[9], 'data-level', late ? 'warn' : null);
  attribute(row.children[11], 'data-level', decision.status >= 500 ? 'bad' : decision.status >= 400 ? 'warn' : null);
  attribute(row.children[3], 'data-level', over ? 'warn' : null);
}

function status(decision) {
  if (!ended(decision)) return '…';
  return decision.status ? String(decision.status) : 'left';
}
