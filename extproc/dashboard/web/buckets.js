// What decisions came to, in slices of time: all that the charts need, in a fixed amount of memory.

export const SLICE_S = 5;
export const SLICES = 180;
const SAMPLES = 64;

/** Fifteen minutes of slices. The oldest slice is used again for the newest. */
export class Buckets {
  #slots = new Array(SLICES);
  #latest = 0;

  /** The slice of a time; undefined for a time that is too long ago. */
  at(unixS) {
    const index = Math.floor(unixS / SLICE_S);
    const slot = this.#slots[index % SLICES];
    this.#latest = Math.max(this.#latest, index);
    if (slot?.index === index) return slot;
    if (index <= this.#latest - SLICES || slot?.index > index) return undefined;
    return (this.#slots[index % SLICES] = empty(index));
  }

  /** Counts a decision once its first token was timed, and once its request has ended; safe to call again. */
  addDecision(decision, ended) {
    const slice = this.at(decision.at_unix_s);
    if (slice && decision.ttft_s >= 0 && !decision.timed) addTime(slice, decision);
    if (slice && ended) addEnd(slice, decision);
  }

  /** Notes what was in force when the gateway was asked: requests per second, in flight, queued tokens. */
  addSample(unixS, sample) {
    const slice = this.at(unixS);
    if (!slice) return;
    slice.polls += 1;
    for (const [name, value] of Object.entries(sample)) slice.sums[name] = (slice.sums[name] ?? 0) + value;
  }

  /** The slices of the last `spanS` seconds before `unixS`, oldest first; a slice without anything is `empty`. */
  last(unixS, spanS) {
    const end = Math.floor(unixS / SLICE_S);
    const from = end - Math.min(SLICES - 1, Math.ceil(spanS / SLICE_S)) + 1;
    return Array.from({ length: end - from + 1 }, (_, place) => {
      const slot = this.#slots[(from + place) % SLICES];
      return slot?.index === from + place ? slot : empty(from + place);
    });
  }
}

function addTime(slice, decision) {
  decision.timed = true;
  if (slice.ttfts_s.length < SAMPLES) slice.ttfts_s.push(decision.ttft_s);
  else slice.ttfts_s[slice.timed % SAMPLES] = decision.ttft_s;
  slice.timed += 1;
}

function addEnd(slice, decision) {
  slice.ended += 1;
  if (decision.status >= 500) slice.failed += 1;
  if (decision.cached_tokens < 0 || !decision.prompt_tokens) return;
  slice.prompt_tokens += decision.prompt_tokens;
  slice.cached_tokens += Math.min(decision.cached_tokens, decision.prompt_tokens);
}

function empty(index) {
  return {
    index,
    at_unix_s: index * SLICE_S,
    ended: 0,
    failed: 0,
    prompt_tokens: 0,
    cached_tokens: 0,
    timed: 0,
    ttfts_s: [],
    polls: 0,
    sums: {},
  };
}

/** What several slices come to together. Shares and times are NaN where nothing is known. */
export function total(slices) {
  const sum = (name) => slices.reduce((all, slice) => all + slice[name], 0);
  const ttfts_s = slices.flatMap((slice) => slice.ttfts_s).sort((a, b) => a - b);
  const prompt_tokens = sum('prompt_tokens');
  const ended = sum('ended');
  return {
    ended,
    timed: sum('timed'),
    failed: sum('failed'),
    p50_s: quantile(ttfts_s, 0.5),
    p95_s: quantile(ttfts_s, 0.95),
    hit_rate: prompt_tokens ? sum('cached_tokens') / prompt_tokens : NaN,
    error_rate: ended ? sum('failed') / ended : NaN,
  };
}

/** Mean of what was sampled in a slice; NaN for none. */
export const mean = (slice, name) => (slice.polls ? (slice.sums[name] ?? 0) / slice.polls : NaN);

/** Nearest rank, of values in order. */
export function quantile(sorted, share) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : NaN;
}
