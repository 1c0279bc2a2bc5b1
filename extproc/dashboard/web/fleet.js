// The first view: what is wrong, how the fleet does, and each replica.

import { SLICE_S, mean, total } from './buckets.js';
import { lineChart } from './charts.js';
import { attribute, h, keyed, text } from './dom.js';
import { Flow } from './flow.js';
import { clock, count, percent, plural, rate, seconds, short } from './format.js';
import { problems, trouble } from './problems.js';
import { COLUMNS, createRow, updateRow } from './replica_row.js';

const CHART_S = 600;
const LEAST_SLICES = 24;
const PAGE = 60;
const SMOOTH = 2; // slices before the one drawn that count with it
const SORTS = {
  attention: ['trouble first', null],
  name: ['name', (a, b) => a.replica.name.localeCompare(b.replica.name, 'en', { numeric: true })],
  rate: ['requests/s', (a, b) => (b.flow?.requests_per_s || 0) - (a.flow?.requests_per_s || 0)],
  wait: ['wait', (a, b) => b.replica.wait_s - a.replica.wait_s],
  cache: ['KV cache in use', (a, b) => b.replica.kv_usage - a.replica.kv_usage],
};

export function fleetView(live) {
  const list = h('ul', { class: 'problems', 'aria-label': 'What needs attention' });
  const figures = figureStrip();
  const charts = [
    lineChart({
      title: 'Time to first token',
      format: seconds,
      empty: 'No request was timed yet',
      lines: [
        { name: 'p50', className: 'second' },
        { name: 'p95', className: 'first' },
      ],
    }),
    lineChart({
      title: 'Hit rate',
      format: percent,
      most: 1,
      empty: 'No engine has told yet',
      lines: [{ name: 'prompt tokens from a KV cache', className: 'first' }],
    }),
    lineChart({
      title: 'Requests',
      format: rate,
      empty: 'No requests yet',
      lines: [
        { name: 'per second', className: 'first' },
        { name: 'in flight', className: 'second' },
      ],
    }),
  ];
  const fleet = fleetPanel(live);
  const element = h(
    'div',
    { class: 'fleet-view' },
    h('h1', { class: 'unseen' }, 'Fleet'),
    list,
    figures.element,
    fleet.element,
    h(
      'div',
      { class: 'charts' },
      charts.map((each) => each.element),
    ),
  );
  return { element, update, title: 'Fleet' };

  function update() {
    const unixS = live.at_unix_s || Date.now() / 1000;
    showProblems(list, live);
    figures.update(unixS, live);
    fleet.update();
    const slices = begun(live.buckets.last(unixS, CHART_S));
    const times = slices.map((slice) => slice.at_unix_s);
    const totals = slices.map((_, place) => total(slices.slice(Math.max(0, place - SMOOTH), place + 1)));
    charts[0].update(times, [totals.map((each) => each.p50_s), totals.map((each) => each.p95_s)]);
    charts[1].update(times, [totals.map((each) => each.hit_rate)]);
    charts[2].update(times, [slices.map(requestsPerS), slices.map((slice) => mean(slice, 'inflight'))]);
  }
}

/** Without the time of which nothing is known, but two minutes at least. */
function begun(slices) {
  const first = slices.findIndex((slice) => slice.polls || slice.ended || slice.timed);
  return slices.slice(Math.min(first < 0 ? slices.length : first, slices.length - LEAST_SLICES));
}

/** As sampled; before this page was opened, by the decisions that the gateway keeps. */
function requestsPerS(slice) {
  return slice.polls ? mean(slice, 'requests_per_s') : slice.ended ? slice.ended / SLICE_S : NaN;
}

function showProblems(list, live) {
  if (!live.at_unix_s) return;
  const found = problems(live);
  if (!found.length) found.push({ level: 'ok', text: calm(live) });
  keyed(
    list,
    found,
    (each) => each.level + each.text,
    () => h('li', {}, h('b', {}), ' ', h('span', {})),
    (item, each) => {
      attribute(item, 'class', each.level);
      text(item.children[0], each.text);
      text(item.children[1], each.detail ?? '');
    },
  );
}

function calm({ replicas, decisions }) {
  const serving = replicas.length === 1 ? 'The one replica serves' : `All ${replicas.length} replicas serve`;
  return decisions.length ? `${serving}, and nothing needs attention` : `${serving}; there were no requests yet`;
}

function figureStrip() {
  const names = ['Requests/s', 'In flight', 'TTFT p50', 'TTFT p95', 'Hit rate', 'Failed', 'Queued'];
  const cells = names.map((name) => h('div', {}, h('dt', {}, name), h('dd', {}, h('b', {}), h('small', {}))));
  const say = (place, main, sub) => {
    text(cells[place].querySelector('b'), main);
    text(cells[place].querySelector('small'), sub);
  };
  function update(unixS, live) {
    const slices = live.buckets.last(unixS, 900);
    const now = total(slices.slice(-12));
    const sum = (name) => live.replicas.reduce((all, each) => all + (each[name] || 0), 0);
    say(
      0,
      rate(live.requests_per_s),
      live.stats ? `${short(live.stats.requests)} since ${clock(live.stats.started_unix_s).slice(0, 5)}` : '',
    );
    say(1, count(live.status?.requests_inflight ?? sum('inflight')), `on ${plural(live.replicas.length, 'replica')}`);
    say(2, seconds(now.p50_s), 'last minute');
    say(3, seconds(now.p95_s), `${count(now.timed)} timed`);
    say(4, percent(now.hit_rate), 'of prompt tokens');
    say(5, percent(now.error_rate, 1), `${count(now.failed)} in a minute`);
    attribute(cells[5], 'data-level', now.error_rate >= 0.01 ? 'bad' : null);
    say(6, short(sum('queued_tokens')), 'tokens to compute');
  }
  return { element: h('dl', { class: 'figures' }, cells), update };
}

function fleetPanel(live) {
  const flow = new Flow();
  const rows = h('div', { class: 'rows', role: 'rowgroup' });
  const header = h(
    'div',
    { class: 'replica head', role: 'row' },
    COLUMNS.map((name) => h('div', { class: 'cell', role: 'columnheader' }, name)),
  );
  const table = h(
    'div',
    { class: 'replicas', role: 'table', 'aria-label': 'Replicas' },
    h('div', { role: 'rowgroup' }, header),
    rows,
  );
  const sort = h(
    'select',
    { 'aria-label': 'Order of replicas', onchange: update },
    Object.entries(SORTS).map(([value, [label]]) => h('option', { value }, label)),
  );
  const search = h('input', {
    type: 'search',
    placeholder: 'Find a replica',
    'aria-label': 'Find a replica',
    oninput: update,
  });
  const summary = h('span', { class: 'when' });
  const tiles = h('div', { class: 'tiles', 'aria-hidden': 'true' });
  const more = h('button', {
    type: 'button',
    class: 'more',
    onclick: () => {
      shown += PAGE;
      update();
    },
  });
  const nothing = h(
    'div',
    { class: 'empty' },
    h('b', {}, 'No replicas'),
    ' Name some under ',
    h('code', {}, 'providers'),
    ' in the configuration; they appear here within a second.',
  );
  const tools = h('div', { class: 'tools' }, search, h('label', {}, 'Order ', sort));
  const stage = h('div', { class: 'stage' }, flow.element, table);
  const element = h(
    'section',
    { class: 'panel fleet', 'aria-label': 'Fleet' },
    h('div', { class: 'panel-head' }, h('h2', {}, 'Replicas'), summary, meterLegend(), tools),
    tiles,
    stage,
    nothing,
    more,
  );
  const narrow = matchMedia('(max-width: 1080px)');
  let shown = PAGE;

  function ordered() {
    const wanted = search.value.trim().toLowerCase();
    const all = live.replicas.map((replica) => {
      const traffic = live.flows.get(replica.name);
      return { replica, flow: traffic, level: trouble(replica, traffic) };
    });
    const matching = wanted
      ? all.filter(({ replica }) =>
          `${replica.name} ${replica.address} ${replica.models} ${replica.state}`.toLowerCase().includes(wanted),
        )
      : all;
    const few = live.replicas.length <= 12; // then a row that stays in its place is worth more than one on top
    const rule = SORTS[sort.value][1] ?? (few ? null : (a, b) => Math.ceil(b.level) - Math.ceil(a.level));
    return rule ? matching.sort(rule) : matching;
  }

  function update() {
    const all = ordered();
    const page = all.slice(0, shown);
    const slowest_s = Math.max(0.001, ...live.replicas.map((each) => Math.max(0, ...(each.recent_ttft_s ?? []))));
    keyed(
      rows,
      page,
      ({ replica }) => replica.name,
      createRow,
      (row, each) => updateRow(row, { ...each, slowest_s }),
    );
    nothing.hidden = !live.at_unix_s || live.replicas.length > 0;
    stage.hidden = !page.length;
    tools.hidden = live.replicas.length < 6;
    more.hidden = all.length <= shown;
    text(more, `Show ${Math.min(PAGE, all.length - shown)} more of ${all.length}`);
    text(summary, summarise(live.replicas));
    showTiles(all);
    const box = rows.getBoundingClientRect();
    const top = flow.element.parentElement.getBoundingClientRect().top;
    const targets = page.map(({ replica, flow: traffic }, place) => {
      const at = rows.children[place].getBoundingClientRect();
      return {
        name: replica.name,
        state: replica.state,
        requests_per_s: traffic?.requests_per_s,
        y: at.top - top + at.height / 2,
      };
    });
    flow.update(narrow.matches ? [] : targets, box.bottom - top);
  }

  function showTiles(all) {
    tiles.hidden = all.length <= 40;
    keyed(
      tiles,
      tiles.hidden ? [] : all,
      ({ replica }) => replica.name,
      () => h('i', {}),
      (tile, { replica, flow: traffic, level }) => {
        attribute(tile, 'class', `${replica.state} ${level >= 1.5 && replica.state === 'serving' ? 'warn' : ''}`);
        attribute(
          tile,
          'title',
          `${replica.name}: ${rate(traffic?.requests_per_s ?? NaN)} requests/s, wait ${seconds(replica.wait_s)}, KV cache ${percent(replica.kv_usage)} in use`,
        );
        tile.style.setProperty('--fill', percent(Math.min(1, replica.kv_usage || 0)).replace(' ', ''));
      },
    );
  }

  return { element, update };
}

const meterLegend = () =>
  h(
    'p',
    { class: 'legend' },
    'KV cache: ',
    h('span', { class: 'first' }, h('i', {}), 'in use by requests'),
    h('span', { class: 'second' }, h('i', {}), 'believed to be held'),
  );

function summarise(replicas) {
  const states = ['serving', 'draining', 'in_doubt', 'removed'];
  const counts = states.map((state) => [
    state.replace('_', ' '),
    replicas.filter((each) => each.state === state).length,
  ]);
  return counts
    .filter(([, number]) => number)
    .map(([state, number]) => `${number} ${state}`)
    .join(' · ');
}
