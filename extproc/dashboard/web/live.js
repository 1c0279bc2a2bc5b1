// What the page knows of the gateway: the latest answers, and what follows from one answer to the next. All of it bounded.

import { get } from './api.js';
import { Buckets } from './buckets.js';
import { History } from './history.js';

export const KEPT_DECISIONS = 10_000;
const ASKED_DECISIONS = 500;
const REACH = 250;
const MOST_OPEN = 2000;
const FAILURES_KEPT_S = 60;
const SMOOTHING = 0.35;

export class Live {
  status = null;
  stats = null;
  caches = null;
  tenants = [];
  replicas = [];
  flows = new Map(); // replica -> {routed, failures, requests_per_s, recent: [[unix_s, failures]]}
  decisions = new History(KEPT_DECISIONS);
  buckets = new Buckets();
  at_unix_s = 0; // by the gateway's clock, like all times here
  requests_per_s = NaN;
  #open = new Map(); // decisions whose request has not ended
  #newest = 0;
  #missed = false;
  #ahead_s = 0; // the gateway's clock of the browser's
  #complete = false; // whether all that the gateway keeps is here

  /** Asks for what changes all the time. */
  async refresh() {
    const [replicas, decisions] = await Promise.all([get('/admin/replicas'), this.#askDecisions()]);
    this.takeReplicas(replicas.replicas ?? [], Date.now() / 1000 + this.#ahead_s);
    this.takeDecisions(decisions.decisions ?? []);
    if (!this.#complete) await this.#askOlder();
  }

  /** Asks for what changes slowly. */
  async refreshFigures() {
    await this.#askOpen();
    const [status, stats, caches, tenants] = await Promise.all(
      ['/admin/status', '/admin/stats', '/admin/caches', '/admin/tenants'].map((path) => get(path)),
    );
    if (this.status && status.started_unix_s !== this.status.started_unix_s) this.#restart();
    this.#ahead_s = status.started_unix_s + status.uptime_s - Date.now() / 1000;
    Object.assign(this, { status, stats, caches, tenants: tenants.tenants ?? [] });
  }

  /** Folds an answer of /admin/replicas in; rates are of what was routed since the one before. */
  takeReplicas(replicas, unixS) {
    const spanS = this.at_unix_s ? unixS - this.at_unix_s : 0;
    const flows = new Map();
    for (const replica of replicas) flows.set(replica.name, flow(this.flows.get(replica.name), replica, unixS, spanS));
    const rates = [...flows.values()].map((each) => each.requests_per_s).filter(Number.isFinite);
    this.requests_per_s = rates.length ? rates.reduce((sum, each) => sum + each, 0) : NaN;
    Object.assign(this, { replicas, flows, at_unix_s: unixS });
    const sum = (name) => replicas.reduce((all, each) => all + (each[name] || 0), 0);
    const sample = { inflight: sum('inflight'), queued_tokens: sum('queued_tokens') };
    this.buckets.addSample(unixS, { ...sample, requests_per_s: this.requests_per_s || 0 });
  }

  /** Folds decisions in, newest first as the API has them. One that is known already is brought up to date. */
  takeDecisions(received) {
    for (let place = received.length - 1; place >= 0; place -= 1) {
      const decision = { ...received[place], id: Number(received[place].id) };
      const known = this.#open.get(decision.id);
      if (known) Object.assign(known, decision);
      else if (decision.id > this.#newest) this.decisions.append(decision);
      else continue;
      this.#newest = Math.max(this.#newest, decision.id);
      this.#settle(known ?? decision);
    }
  }

  /** Whether more was decided between two answers than one answer holds. */
  get sampled() {
    return this.#missed;
  }

  #askDecisions() {
    const firstOpen = this.#open.keys().next().value;
    const after_id = firstOpen ? Math.max(firstOpen - 1, this.#newest - REACH) : this.#newest;
    return get('/admin/decisions', { limit: ASKED_DECISIONS, after_id }).then((answer) => {
      const last = answer.decisions?.at(-1);
      this.#missed = Boolean(
        this.#newest && last && Number(last.id) > after_id + 1 && answer.decisions.length >= ASKED_DECISIONS,
      );
      return answer;
    });
  }

  /** Of requests that run for long, the ones that were not looked at for the longest time. */
  async #askOpen() {
    const [oldest] = this.#open.keys();
    if (!oldest || oldest >= this.#newest - REACH) return;
    const around = { limit: 2 * REACH, after_id: oldest - 1, before_id: oldest + 2 * REACH };
    const { decisions } = await get('/admin/decisions', around);
    const found = new Map(decisions.map((each) => [Number(each.id), each]));
    for (const [id, known] of [...this.#open]) {
      if (id >= around.before_id) continue;
      this.#open.delete(id);
      if (found.has(id)) this.#settle(Object.assign(known, found.get(id), { id }));
    }
  }

  /** A page of those from before this page was opened, so that neither side has much to do at once. */
  async #askOlder() {
    const before_id = this.decisions.oldest()?.id;
    const { decisions } = before_id
      ? await get('/admin/decisions', { limit: ASKED_DECISIONS, before_id })
      : { decisions: [] };
    const older = decisions.map((each) => ({ ...each, id: Number(each.id) })).reverse();
    this.decisions.prepend(older);
    for (const decision of older) this.#settle(decision);
    this.#complete = Boolean(before_id && decisions.length < ASKED_DECISIONS) || this.decisions.full;
  }

  #settle(decision) {
    this.buckets.addDecision(decision, ended(decision));
    if (ended(decision)) {
      this.#open.delete(decision.id);
    } else {
      this.#open.set(decision.id, decision);
      if (this.#open.size > MOST_OPEN) this.#open.delete(this.#open.keys().next().value);
    }
  }

  #restart() {
    this.decisions.clear();
    this.#open.clear();
    this.#newest = 0;
    this.#complete = false;
  }
}

/** Whether all is known of it that will be. */
export const ended = (decision) => decision.duration_s >= 0;

function flow(before, replica, unixS, spanS) {
  const routed = Number(replica.routed) || 0;
  const failures = Number(replica.failures) || 0;
  const recent = (before?.recent ?? []).filter(([at]) => at > unixS - FAILURES_KEPT_S);
  if (before && failures > before.failures) recent.push([unixS, failures - before.failures]);
  let requests_per_s = before?.requests_per_s ?? NaN;
  if (before && spanS > 0 && routed >= before.routed) {
    const latest = (routed - before.routed) / spanS;
    requests_per_s = Number.isFinite(requests_per_s) ? requests_per_s + SMOOTHING * (latest - requests_per_s) : latest;
    if (requests_per_s < 0.02) requests_per_s = 0;
  }
  return { routed, failures, requests_per_s, recent, failed_lately: recent.reduce((sum, [, each]) => sum + each, 0) };
}
