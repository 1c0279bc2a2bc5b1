// What somebody on call should look at, worst first. Values in, sentences out.

import { total } from './buckets.js';
import { clock, count, percent, plural, seconds } from './format.js';

const LONG_WAIT_S = 2;
const FULL = 0.95;
const LEVELS = ['bad', 'warn', 'note'];
const ENOUGH = 30;
/** Warnings of the gateway that say what is said here in more detail. */
const SEEN_HERE = /^(Draining: |Not known to serve: |No Envoy is connected|The configuration file is not valid)/;

/** `[{level, text, detail, replica}]`; `level` is bad, warn or note. */
export function problems(live) {
  const found = [...ofGateway(live), ...ofReplicas(live), ...ofTraffic(live), ...ofTenants(live)];
  return found.sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
}

/** How bad one replica is: 0 nothing to see, higher is worse. The fleet is sorted by it. */
export function trouble(replica, flow) {
  if (replica.state === 'in_doubt') return 4 + (flow?.failed_lately ?? 0) / 1000;
  if (flow?.failed_lately) return 3;
  if (replica.wait_s >= LONG_WAIT_S) return 2 + Math.min(0.9, replica.wait_s / 100);
  if (replica.kv_usage >= FULL) return 1.5;
  return replica.state === 'serving' ? 0 : 1;
}

function* ofGateway({ status }) {
  if (!status) return;
  if (!status.ready) yield { level: 'bad', text: 'The gateway is not ready', detail: 'It serves nothing yet.' };
  if (status.envoys === 0)
    yield { level: 'bad', text: 'No Envoy is connected', detail: 'Requests do not reach the processor.' };
  if (status.config_error) {
    const since = clock(status.config_loaded_unix_s);
    yield {
      level: 'bad',
      text: 'The configuration could not be loaded',
      detail: `${status.config_error} The one of ${since} stays in force.`,
    };
  }
  for (const warning of status.warnings ?? []) {
    if (!SEEN_HERE.test(warning)) yield { level: 'note', text: warning };
  }
}

function* ofReplicas({ replicas, flows }) {
  const named = (found) => names(found.map((each) => each.name));
  const one = (found) => (found.length === 1 ? found[0].name : undefined);
  if (!replicas.length) yield { level: 'bad', text: 'There are no replicas', detail: 'Every request is refused.' };
  else if (!replicas.some((each) => each.state === 'serving')) {
    yield { level: 'bad', text: 'No replica serves', detail: 'Every request is refused.' };
  }
  const doubted = replicas.filter((each) => each.state === 'in_doubt');
  if (doubted.length) {
    const text = `${plural(doubted.length, 'replica')} in doubt`;
    const reason = doubted.some((each) => each.failures) ? 'failed lately' : 'not heard of yet';
    yield {
      level: 'bad',
      text,
      detail: `${named(doubted)}: ${reason}; others are asked first.`,
      replica: one(doubted),
    };
  }
  const failing = replicas.filter((each) => each.state !== 'in_doubt' && flows.get(each.name)?.failed_lately);
  if (failing.length) {
    const failures = failing.reduce((sum, each) => sum + flows.get(each.name).failed_lately, 0);
    yield {
      level: 'warn',
      text: `${plural(failures, 'failure')} in the last minute`,
      detail: named(failing),
      replica: one(failing),
    };
  }
  const waiting = replicas.filter((each) => each.wait_s >= LONG_WAIT_S).sort((a, b) => b.wait_s - a.wait_s);
  if (waiting.length) {
    const text = `Prompts wait up to ${seconds(waiting[0].wait_s)}`;
    yield { level: 'warn', text, detail: named(waiting), replica: one(waiting) };
  }
  const full = replicas.filter((each) => each.kv_usage >= FULL);
  if (full.length) {
    const detail = `${named(full)}: running requests fill it; new ones wait for memory.`;
    yield { level: 'warn', text: `KV cache is full on ${plural(full.length, 'replica')}`, detail, replica: one(full) };
  }
  const draining = replicas.filter((each) => each.state === 'draining');
  if (draining.length) {
    const inflight = draining.reduce((sum, each) => sum + each.inflight, 0);
    const detail = `${named(draining)}: ${plural(inflight, 'request')} still in flight.`;
    yield { level: 'note', text: `${plural(draining.length, 'replica')} draining`, detail, replica: one(draining) };
  }
}

function* ofTraffic({ buckets, at_unix_s }) {
  const slices = buckets.last(at_unix_s || Date.now() / 1000, 900);
  const now = total(slices.slice(-12));
  const before = total(slices.slice(0, -12));
  if (now.ended >= ENOUGH && now.error_rate >= 0.01) {
    const level = now.error_rate >= 0.05 ? 'bad' : 'warn';
    yield {
      level,
      text: `${percent(now.error_rate, 1)} of requests fail`,
      detail: `${count(now.failed)} of ${count(now.ended)} in the last minute.`,
    };
  }
  if (now.timed < ENOUGH || before.timed < ENOUGH) return;
  if (now.p95_s >= 0.5 && now.p95_s >= 2.5 * before.p95_s) {
    yield {
      level: 'warn',
      text: `TTFT p95 is ${seconds(now.p95_s)}`,
      detail: `It was ${seconds(before.p95_s)} in the minutes before.`,
    };
  }
  if (before.hit_rate >= 0.1 && now.hit_rate < before.hit_rate / 2) {
    yield {
      level: 'warn',
      text: `Hit rate fell to ${percent(now.hit_rate)}`,
      detail: `It was ${percent(before.hit_rate)} in the minutes before.`,
    };
  }
}

function* ofTenants({ tenants }) {
  const spent = tenants.filter((each) => each.budget_usd > 0 && each.spent_usd >= each.budget_usd);
  if (spent.length) {
    yield {
      level: 'note',
      text: `${plural(spent.length, 'tenant')} out of budget`,
      detail: names(spent.map((each) => each.name)),
    };
  }
}

function names(all) {
  return all.length <= 4 ? all.join(', ') : `${all.slice(0, 3).join(', ')} and ${all.length - 3} more`;
}
