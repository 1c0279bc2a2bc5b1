// Caches and tenants: what was answered without a replica, what was not computed again, and who spends what.

import { attribute, h, keyed, put, text } from './dom.js';
import { clock, count, percent, short, usd } from './format.js';

export function usageView(live) {
  const totals = h('dl', { class: 'figures' });
  const exact = h('dl', { class: 'facts' });
  const semantic = h('dl', { class: 'facts' });
  const tenants = h('tbody', {});
  const models = h('tbody', {});
  const head = (...names) =>
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        names.map((name, place) => h('th', { scope: 'col', class: place ? 'number' : null }, name)),
      ),
    );
  const noTenants = h(
    'div',
    { class: 'empty' },
    h('b', {}, 'No tenants.'),
    ' Name some under ',
    h('code', {}, 'tenants'),
    ', or give API keys one under ',
    h('code', {}, 'auth'),
    '.',
  );
  const noModels = h('div', { class: 'empty' }, 'No requests yet.');
  const table = (label, headings, body) =>
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label }, h('table', {}, headings, body));
  const tenantTable = table(
    'Tenants',
    head(
      'Tenant',
      'Spent',
      'Budget',
      '',
      'Window ends',
      'Requests',
      'Limited',
      'Over budget',
      'Tokens in',
      'cached',
      'out',
    ),
    tenants,
  );
  const modelTable = table('Models', head('Model', 'Requests', 'Errors', 'Tokens in', 'cached', 'out', 'Cost'), models);
  const element = h(
    'div',
    { class: 'usage' },
    h('h1', { class: 'unseen' }, 'Caches and tenants'),
    totals,
    h('div', { class: 'halves' }, panel('Exact cache', exact), panel('Semantic cache', semantic)),
    panel('Tenants', tenantTable, noTenants),
    panel('Models', modelTable, noModels),
  );
  return { element, update, title: 'Usage' };

  function update() {
    const { stats, caches } = live;
    if (!stats) return;
    const hits = stats.cache ?? {};
    put(
      totals,
      [
        ['Requests', short(stats.requests), `since ${clock(stats.started_unix_s)}`],
        [
          'Answered by a cache',
          percent(hits.hit_rate),
          `${short((hits.exact || 0) + (hits.semantic || 0))} of ${short((hits.exact || 0) + (hits.semantic || 0) + (hits.misses || 0))} looked up`,
        ],
        [
          'Prompt tokens cached',
          percent(stats.tokens?.input ? stats.tokens.cached / stats.tokens.input : NaN),
          `${short(stats.tokens?.cached)} of ${short(stats.tokens?.input)}`,
        ],
        ['Output tokens', short(stats.tokens?.output), ''],
        ['Cost', usd(stats.cost_usd), 'at configured prices'],
        [
          'Refused',
          short(stats.rate_limited + stats.budget_rejected),
          `${short(stats.rate_limited)} limits, ${short(stats.budget_rejected)} budgets`,
        ],
        ['Failovers', short(stats.failovers), 'tries elsewhere'],
      ].map(([name, value, note]) =>
        h('div', {}, h('dt', {}, name), h('dd', {}, h('b', {}, value), h('small', {}, note))),
      ),
    );
    showExact(exact, caches?.exact);
    showSemantic(semantic, caches?.semantic);
    noTenants.hidden = live.tenants.length > 0;
    tenantTable.hidden = !live.tenants.length;
    const ordered = [...live.tenants].sort((a, b) => b.spent_usd - a.spent_usd).slice(0, 200);
    keyed(
      tenants,
      ordered,
      (each) => each.name,
      () => line(11, 3),
      showTenant,
    );
    const all = stats.models ?? [];
    noModels.hidden = all.length > 0;
    modelTable.hidden = !all.length;
    keyed(
      models,
      all.slice(0, 200),
      (each) => each.model,
      () => line(7),
      showModel,
    );
  }
}

const panel = (title, ...children) =>
  h('section', { class: 'panel' }, h('div', { class: 'panel-head' }, h('h2', {}, title)), children);

function line(columns, meterAt = -1) {
  const cell = (place) =>
    h(
      place ? 'td' : 'th',
      { class: place ? 'number' : null, scope: place ? null : 'row' },
      place === meterAt ? h('span', { class: 'track' }, h('i', { class: 'after' })) : null,
    );
  return h(
    'tr',
    {},
    Array.from({ length: columns }, (_, place) => cell(place)),
  );
}

function tell(row, values) {
  values.forEach((value, place) => value !== null && text(row.children[place], value));
}

function showTenant(row, tenant) {
  const bounded = tenant.budget_usd > 0;
  const share = bounded ? tenant.spent_usd / tenant.budget_usd : 0;
  const tokens = tenant.tokens ?? {};
  tell(row, [
    tenant.name,
    usd(tenant.spent_usd),
    tenant.budget_usd >= 0 ? usd(tenant.budget_usd) : 'unlimited',
    null,
    bounded ? clock(tenant.window_ends_unix_s) : '–',
    count(tenant.requests),
    count(tenant.rate_limited),
    count(tenant.budget_rejected),
    short(tokens.input),
    short(tokens.cached),
    short(tokens.output),
  ]);
  row.children[3].querySelector('i').style.width = `${Math.min(100, share * 100).toFixed(0)}%`;
  attribute(row.children[3], 'data-level', share >= 1 ? 'bad' : share >= 0.9 ? 'warn' : null);
  row.children[3].firstChild.hidden = !bounded;
  attribute(row.children[3], 'title', bounded ? `${percent(share)} of the budget` : null);
}

function showModel(row, model) {
  const statuses = Object.entries(model.requests_by_status ?? {});
  const sum = (keep) =>
    statuses.filter(([status]) => keep(Number(status))).reduce((all, [, number]) => all + number, 0);
  const errors = sum((status) => status >= 500);
  tell(row, [
    model.model,
    count(sum(() => true)),
    count(errors),
    short(model.tokens?.input),
    short(model.tokens?.cached),
    short(model.tokens?.output),
    usd(model.cost_usd),
  ]);
  attribute(
    row.children[1],
    'title',
    statuses.map(([status, number]) => `${status === '0' ? 'client left' : status}: ${count(number)}`).join(', '),
  );
  attribute(row.children[2], 'data-level', errors ? 'bad' : null);
}

const redis = (value, tellIt) => (value < 0 ? 'in Redis' : tellIt(value));

function showExact(list, cache) {
  if (!cache?.enabled) return put(list, h('div', {}, h('dt', {}, 'State'), h('dd', {}, 'off')));
  const looked = cache.hits + cache.misses;
  return facts(list, {
    'Hit rate': percent(looked ? cache.hits / looked : NaN),
    Hits: count(cache.hits),
    Misses: count(cache.misses),
    Stored: count(cache.stored),
    Evicted: count(cache.evicted),
    Entries: redis(cache.entries, count),
    Held: redis(cache.held_bytes, (bytes) => `${short(bytes)}B`),
    Dropped: count(cache.dropped + cache.garbage),
  });
}

function showSemantic(list, cache) {
  if (!cache?.enabled) return put(list, h('div', {}, h('dt', {}, 'State'), h('dd', {}, 'off')));
  const hits = cache.same + cache.learned;
  const refused = Object.entries(cache.refused ?? {})
    .map(([what, number]) => `${what} ${count(number)}`)
    .join(', ');
  return facts(list, {
    'Hit rate': percent(hits + cache.misses ? hits / (hits + cache.misses) : NaN),
    'Same words': count(cache.same),
    'By experience': count(cache.learned),
    Explored: count(cache.explored),
    Agreed: percent(cache.explored ? cache.agreed / cache.explored : NaN),
    Stored: count(cache.stored),
    'No vector': count(cache.without_vector),
    'Turned away': refused || 'none',
  });
}

function facts(list, all) {
  return put(
    list,
    Object.entries(all).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
  );
}
