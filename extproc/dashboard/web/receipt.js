// One decision in full: why it went there, what each replica would have cost, and what came of it.

import { get } from './api.js';
import { h, put } from './dom.js';
import { clock, count, percent, seconds } from './format.js';
import { ended } from './live.js';

const TERMS = {
  base_s: ['base', 'to the first token with nothing to compute and nothing ahead'],
  wait_s: ['wait', 'until the prompt would be computed'],
  own_s: ['own', 'computing what no cache holds'],
  restore_s: ['restore', 'getting back what the tiers behind it hold'],
  copy_s: ['copy', 'what keeping a further copy costs others'],
  batch_s: ['batch', 'slower steps of a larger batch'],
  credit_s: ['credit', 'what a copy here saves others; taken off'],
};
const SHOWN = 12;

export class Receipt {
  #content = h('div', { class: 'receipt' });
  #close = h(
    'button',
    { type: 'button', class: 'quiet close', 'aria-label': 'Close', onclick: () => this.element.close() },
    '✕',
  );
  element = h('dialog', { class: 'drawer', 'aria-label': 'Decision' }, this.#close, this.#content);
  #wanted = 0;

  /** `closed` is called when somebody closes it. */
  constructor(closed) {
    this.element.addEventListener('close', closed);
    this.element.addEventListener('click', (event) => event.target === this.element && this.element.close());
  }

  async open(id) {
    this.#wanted = id;
    put(this.#content, h('p', { class: 'empty' }, 'Loading…'));
    if (!this.element.open) this.element.showModal();
    try {
      const decision = await get(`/admin/decisions/${id}`);
      if (this.#wanted === id) put(this.#content, render(decision));
    } catch (error) {
      const said =
        error.status === 404
          ? 'This decision is not kept any more: the gateway keeps the latest 10,000, until it is started again.'
          : error.message;
      if (this.#wanted === id) put(this.#content, h('p', { class: 'empty' }, h('b', {}, 'No receipt. '), said));
    }
  }

  hide() {
    this.#wanted = 0;
    if (this.element.open) this.element.close();
  }
}

function render(decision) {
  const receipt = decision.receipt ?? {};
  const rows = receipt.replicas ?? [];
  return [
    h('p', { class: 'when' }, `${clock(decision.at_unix_s)} · decision ${count(Number(decision.id))}`),
    h('h2', {}, headline(decision)),
    h('p', { class: 'why' }, why(decision, rows)),
    facts(decision),
    h('h3', {}, 'Predicted against actual'),
    versus(decision),
    rows.length
      ? [
          h('h3', {}, 'What each replica would have cost'),
          legend(rows),
          bars(decision, receipt),
          h('h3', {}, 'In numbers'),
          numbers(rows),
        ]
      : null,
  ];
}

function headline(decision) {
  if (!decision.replica) return `Answered from the ${decision.cache} cache`;
  if (decision.served_by && decision.served_by !== decision.replica)
    return `${decision.replica} was chosen, ${decision.served_by} served`;
  return `Went to ${decision.replica}`;
}

function why(decision, rows) {
  const held = decision.matched_tokens + (decision.restorable_tokens || 0);
  const share = `${count(held)} of ${count(decision.prompt_tokens)} prompt tokens`;
  const warmest = rows.reduce((best, each) => (!best || each.matched_tokens > best.matched_tokens ? each : best), null);
  const strategy = decision.receipt?.strategy ? ` (${decision.receipt.strategy}: ${decision.reason})` : '';
  if (!decision.replica) return 'No replica was asked.';
  if (decision.reason === 'warm') return `Warm: it was believed to hold ${share}${strategy}.`;
  if (decision.reason === 'spread')
    return `Spread: no replica held half of the prompt, so it went where the answer was expected soonest${strategy}.`;
  if (decision.reason === 'saturated' && warmest)
    return `Saturated: ${warmest.name} holds ${count(warmest.matched_tokens)} tokens of it, but waiting there would cost more than computing here${strategy}.`;
  return `${decision.reason || 'Chosen'}${strategy}; believed to hold ${share}.`;
}

function facts(decision) {
  const outcome = !ended(decision)
    ? 'in flight'
    : decision.status
      ? `${decision.status} after ${seconds(decision.duration_s)}`
      : 'the client left';
  const all = {
    Model: decision.model,
    Tenant: decision.tenant || 'none',
    Outcome: outcome,
    'Response cache': decision.cache,
    'Request id': h('code', {}, decision.request_id),
  };
  return h(
    'dl',
    { class: 'facts' },
    Object.entries(all).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
  );
}

function versus(decision) {
  const timed = decision.ttft_s >= 0;
  const counted = decision.cached_tokens >= 0;
  const slowest = Math.max(decision.predicted_ttft_s, decision.ttft_s, 1e-9);
  const predicted = decision.matched_tokens + (decision.restorable_tokens || 0);
  const most = Math.max(decision.prompt_tokens, 1);
  const line = (name, share, value, className) =>
    h('div', { class: 'pair' }, h('span', {}, name), bar(share, className), h('b', {}, value));
  return h(
    'div',
    { class: 'versus' },
    line('TTFT predicted', decision.predicted_ttft_s / slowest, seconds(decision.predicted_ttft_s), 'before'),
    line('TTFT actual', timed ? decision.ttft_s / slowest : 0, timed ? seconds(decision.ttft_s) : 'not timed', 'after'),
    line('Cached predicted', predicted / most, `${count(predicted)} (${percent(predicted / most)})`, 'before'),
    line(
      'Cached actual',
      counted ? decision.cached_tokens / most : 0,
      counted
        ? `${count(decision.cached_tokens)} (${percent(decision.cached_tokens / most)})`
        : 'the engine did not say',
      'after',
    ),
  );
}

function bar(share, className) {
  const fill = h('i', { class: className });
  fill.style.width = `${Math.max(0, Math.min(100, share * 100)).toFixed(1)}%`;
  return h('span', { class: 'track' }, fill);
}

/** The terms of a replica in seconds; where the strategy has others of its own, those of the predicted TTFT. */
export function termsOf(line) {
  const terms = Object.entries(line.terms ?? {}).filter(([name]) => TERMS[name]);
  if (terms.length) return Object.fromEntries(terms);
  const restore_s = line.restore_s || 0;
  return {
    base_s: line.base_s,
    wait_s: line.wait_s,
    own_s: Math.max(0, line.ttft_s - line.base_s - line.wait_s - restore_s),
    restore_s,
  };
}

function legend(rows) {
  const used = new Set(
    rows.flatMap((each) =>
      Object.entries(termsOf(each))
        .filter(([, value]) => value)
        .map(([name]) => name),
    ),
  );
  const items = Object.entries(TERMS).filter(([name]) => used.has(name));
  return h(
    'p',
    { class: 'legend terms' },
    items.map(([name, [label, meaning]]) => h('span', { title: meaning }, h('i', { class: name }), label)),
  );
}

function bars(decision, receipt) {
  const lines = receipt.replicas;
  const positive = (line) => Object.values(termsOf(line)).reduce((sum, value) => sum + Math.max(0, value), 0);
  const most = Math.max(...lines.map(positive), 1e-9);
  const list = h(
    'ol',
    { class: 'bars' },
    lines.slice(0, SHOWN).map((line) => candidate(line, most, decision)),
  );
  const hidden = lines.length - SHOWN;
  if (hidden > 0) {
    const button = h(
      'button',
      {
        type: 'button',
        onclick: () => {
          list.append(...lines.slice(SHOWN).map((line) => candidate(line, most, decision)));
          button.remove();
        },
      },
      `Show ${hidden} more`,
    );
    return [list, button];
  }
  return receipt.not_shown ? [list, h('p', { class: 'when' }, `${receipt.not_shown} more were considered.`)] : list;
}

function candidate(line, most, decision) {
  const terms = termsOf(line);
  const credit_s = Math.max(0, -(terms.credit_s ?? 0));
  const said = Object.entries(terms)
    .filter(([, value]) => value)
    .map(([name, value]) => `${TERMS[name][0]} ${seconds(value)}`)
    .join(', ');
  const track = h('span', { class: 'track stack', role: 'img', 'aria-label': said, title: said });
  let from = 0;
  for (const name of Object.keys(TERMS)) {
    const value = terms[name];
    if (!(value > 0)) continue;
    track.append(segment(name, from, value, most));
    from += value;
  }
  if (credit_s) track.append(segment('credit_s', from - credit_s, credit_s, most));
  const served = line.name === decision.served_by && line.name !== decision.replica ? h('small', {}, ' served') : null;
  const name = h(
    'span',
    { class: 'who' },
    line.name,
    line.name === decision.replica ? h('small', {}, ' chosen') : null,
    served,
    line.note ? h('small', {}, ` ${line.note}`) : null,
  );
  return h(
    'li',
    { class: line.name === decision.replica ? 'chosen' : null },
    name,
    track,
    h('b', {}, line.terms?.base_s === undefined ? seconds(line.ttft_s) : seconds(line.cost)),
  );
}

function segment(name, from, size, most) {
  const piece = h('i', { class: name });
  piece.style.left = `${((100 * from) / most).toFixed(2)}%`;
  piece.style.width = `${((100 * size) / most).toFixed(2)}%`;
  return piece;
}

function numbers(rows) {
  const columns = [
    ['Replica', (each) => each.name],
    ['TTFT', (each) => seconds(each.ttft_s)],
    ['Wait', (each) => seconds(each.wait_s)],
    ['Matched', (each) => count(each.matched_tokens)],
    ['Uncached', (each) => count(each.uncached_tokens)],
    ['Tokens/s', (each) => count(each.tokens_per_s)],
    ['In flight', (each) => count(each.inflight)],
    ['Cost', (each) => each.cost.toPrecision(3)],
  ];
  const line = (each) =>
    h(
      'tr',
      {},
      columns.map(([, tell], place) =>
        h(place ? 'td' : 'th', { class: place ? 'number' : null, scope: place ? null : 'row' }, tell(each)),
      ),
    );
  const head = h(
    'tr',
    {},
    columns.map(([name], place) => h('th', { scope: 'col', class: place ? 'number' : null }, name)),
  );
  return h(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Candidates in numbers' },
    h('table', {}, h('thead', {}, head), h('tbody', {}, rows.slice(0, SHOWN).map(line))),
  );
}
