// One replica in the fleet: made once, then only what changes is touched.

import { sparkline } from './charts.js';
import { attribute, h, svg, text } from './dom.js';
import { count, percent, plural, rate, seconds, short } from './format.js';

const STATES = { serving: 'serving', draining: 'draining', in_doubt: 'in doubt', removed: 'removed' };

export const COLUMNS = [
  'Replica',
  'Requests/s',
  'KV cache',
  'Host tier',
  'In flight',
  'Queue',
  'Speed',
  'Warm',
  'TTFT',
];

export function createRow() {
  const cell = (name, label, ...children) =>
    h('div', { class: `cell ${name}`, role: 'cell', 'data-label': label }, ...children);
  const two = () => [h('b', {}), h('small', {})];
  const row = h(
    'div',
    { class: 'replica', role: 'row' },
    h(
      'div',
      { class: 'cell name', role: 'rowheader' },
      h('span', { class: 'dot' }),
      h('span', { class: 'who' }, ...two()),
    ),
    cell('rate', 'Requests/s', ...two()),
    cell('kv', 'KV cache', meter(), ...two()),
    cell('host', 'Host tier', ...two()),
    cell('inflight', 'In flight', ...two()),
    cell('queue', 'Queue', ...two()),
    cell('speed', 'Speed', ...two()),
    cell('warm', 'Warm', ...two()),
    cell(
      'ttft',
      'TTFT',
      svg(
        'svg',
        { viewBox: '0 0 100 24', class: 'spark', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        svg('path', {}),
      ),
      ...two(),
    ),
  );
  row.parts = Object.fromEntries([...row.children].map((each) => [each.classList[1], each]));
  return row;
}

function behind(replica) {
  if (replica.remote_tier_tokens) return `remote ${short(replica.remote_tier_tokens)}`;
  return replica.host_tier_tokens ? 'tokens' : 'none';
}

function meter() {
  return h('div', { class: 'meter' }, h('i', { class: 'held' }), h('i', { class: 'used' }));
}

/** `slowest_s`: of all replicas' first tokens, so that the little lines share a scale. */
export function updateRow(row, { replica, flow, level, slowest_s }) {
  const { parts } = row;
  const say = (name, main, sub = '') => {
    text(parts[name].querySelector('b'), main);
    text(parts[name].querySelector('small'), sub);
  };
  attribute(row, 'id', `replica-${replica.name}`);
  attribute(row, 'class', `replica ${replica.state} ${level >= 1.5 ? 'troubled' : ''}`);
  say('name', replica.name, whereabouts(replica));
  attribute(parts.name, 'title', `${replica.address} · ${replica.pool} · ${(replica.models ?? []).join(', ')}`);
  say('rate', rate(flow?.requests_per_s ?? NaN), `${short(replica.routed)} in all`);
  updateCache(parts.kv, replica, say);
  say('host', replica.host_tier_tokens ? short(replica.host_tier_tokens) : '–', behind(replica));
  say(
    'inflight',
    count(replica.inflight),
    replica.others_inflight ? `+${count(replica.others_inflight)} past us` : failing(replica, flow) || 'requests',
  );
  attribute(parts.inflight, 'data-level', flow?.failed_lately || replica.failures ? 'warn' : null);
  say('queue', seconds(replica.wait_s), `${short(replica.queued_tokens)} tokens`);
  attribute(parts.queue, 'data-level', replica.wait_s >= 2 ? 'warn' : null);
  say('speed', `${short(replica.prefill_tokens_per_s)}/s`, `base ${seconds(replica.base_s)}`);
  say('warm', percent(replica.warm_share), 'of its prompts');
  const times_s = replica.recent_ttft_s ?? [];
  attribute(parts.ttft.querySelector('path'), 'd', sparkline(times_s, slowest_s));
  const sorted = [...times_s].sort((a, b) => a - b);
  say('ttft', seconds(sorted[Math.floor(sorted.length / 2)]), times_s.length ? 'median' : 'not timed yet');
}

function whereabouts(replica) {
  const said = [];
  if (replica.state !== 'serving') said.push(STATES[replica.state] ?? replica.state);
  said.push(replica.address);
  if (replica.from === 'admin') said.push('added over admin');
  else if (replica.changed) said.push('changed over admin');
  return said.join(' · ');
}

function failing(replica, flow) {
  const failures = replica.failures || flow?.failed_lately;
  return failures ? plural(failures, 'failure') : '';
}

function updateCache(cell, replica, say) {
  const known = replica.capacity_tokens > 0;
  const held = known ? Math.min(1, replica.index_tokens / replica.capacity_tokens) : 0;
  const used = Math.min(1, replica.kv_usage || 0);
  cell.querySelector('.held').style.width = percent(held, 1).replace(' ', '');
  cell.querySelector('.used').style.width = percent(used, 1).replace(' ', '');
  attribute(cell, 'data-level', used >= 0.95 ? 'warn' : null);
  attribute(
    cell,
    'title',
    `Believed to hold ${count(replica.index_tokens)} of ${known ? count(replica.capacity_tokens) : 'unknown'} tokens; ${percent(used)} in use by requests`,
  );
  say(
    'kv',
    known ? percent(held) : short(replica.index_tokens),
    known ? `${short(replica.index_tokens)} of ${short(replica.capacity_tokens)}` : 'capacity unknown',
  );
}
