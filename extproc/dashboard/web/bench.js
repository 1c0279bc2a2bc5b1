// From the JSON of a benchmark to rows that can be compared: words are what rows differ in, numbers are what was measured.

const DIMENSIONS = [
  'policy',
  'target',
  'variant',
  'strategy',
  'arm',
  'mode',
  'kind',
  'backend',
  'name',
  'case',
  'workload',
  'cache',
  'load',
  'what',
];
const GROUPS = ['workload', 'scenario', 'case', 'name', 'what', 'backend', 'model', 'replica'];
const MEASURES = [
  'ttft_mean_s',
  'ttft_p50_s',
  'ttft_p95_s',
  'mean_ratio',
  'p50_ms',
  'ttft_p50_ms',
  'median_us',
  'cpu_us',
];
const BEFORE = [
  'round_robin',
  'random',
  'least_busy',
  'envoy',
  'direct',
  'routed',
  'off',
  'blind',
  'baseline',
  'before',
  'cold',
  'without',
];
const AFTER = ['kvgate', 'prefix_kv_aware', 'hit', 'on', 'aware', 'after', 'warm', 'with'];
const MORE_IS_BETTER = /(hit|saved|reuse|first|agree|met)|per_s($|_)|_per_second|throughput|goodput/;

/** Raises Error where it is not a benchmark's document. */
export function readBench(text, name) {
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    throw new Error(`${name} is not JSON.`);
  }
  if (!document || typeof document !== 'object' || Array.isArray(document))
    throw new Error(`${name} is not the JSON of a benchmark.`);
  const tables = Object.fromEntries(
    tablesOf(document).filter(([, rows]) => rows.some((row) => Object.keys(row.numbers).length)),
  );
  if (!Object.keys(tables).length && !document.aims) throw new Error(`${name} holds no results.`);
  const { benchmark = 'unnamed', taken_at: takenAt = '', commit = '', machine = {}, aims = [] } = document;
  return { name, benchmark, takenAt, commit, machine, aims: Array.isArray(aims) ? aims : [], tables };
}

function tablesOf(document) {
  const found = [];
  for (const [key, value] of Object.entries(document)) {
    if (key === 'aims') continue;
    if (key === 'standings')
      found.push([
        key,
        Object.entries(value).flatMap(([workload, rows]) => rows.map((row) => flat({ workload, ...row }))),
      ]);
    else if (key === 'hits' && Array.isArray(value)) found.push([key, value.flatMap(split).map(flat)]);
    else if (
      Array.isArray(value) &&
      value.length &&
      value.every((row) => row && typeof row === 'object' && !Array.isArray(row))
    )
      found.push([key, value.map(flat)]);
  }
  return found.sort(([a], [b]) => (b === 'runs') - (a === 'runs'));
}

/** One row with both times -> a row for each. */
function split({ backend, hit_p50_ms, routed_p50_ms }) {
  return [
    { backend, kind: 'routed', p50_ms: routed_p50_ms },
    { backend, kind: 'hit', p50_ms: hit_p50_ms },
  ];
}

function flat(row) {
  const words = {};
  const numbers = {};
  let cdf = null;
  const take = (object) => {
    for (const [key, value] of Object.entries(object)) {
      if (typeof value === 'string') words[key] = value;
      else if (typeof value === 'boolean') words[key] = value ? 'yes' : 'no';
      else if (key === 'load' || key === 'repeat' || key === 'seed') words[key] = String(value);
      else if (typeof value === 'number') numbers[key] = value;
      else if (key === 'ttft_cdf_s') cdf = value;
      else if (typeof value?.median === 'number') numbers[key] = value.median;
      else if (key === 'outcome' || key === 'result' || key === 'summary') take(value);
    }
  };
  take(row);
  return { words, numbers, cdf };
}

/** What may be compared in these rows, most telling first. */
export function dimensions(rows) {
  const values = new Map();
  for (const { words } of rows)
    for (const [name, value] of Object.entries(words))
      (values.get(name) ?? values.set(name, new Set()).get(name)).add(value);
  const place = (name) =>
    name === 'file' ? -1 : DIMENSIONS.includes(name) ? DIMENSIONS.indexOf(name) : DIMENSIONS.length;
  return [...values]
    .filter(([, each]) => each.size > 1 && each.size <= 64)
    .map(([name, each]) => ({ name, values: [...each] }))
    .sort((a, b) => place(a.name) - place(b.name));
}

export function measures(rows) {
  const names = [...new Set(rows.flatMap(({ numbers }) => Object.keys(numbers)))];
  const place = (name) => (MEASURES.includes(name) ? MEASURES.indexOf(name) : MEASURES.length);
  return names.sort((a, b) => place(a) - place(b));
}

/** Which values a reader most likely wants to compare. */
export function pair(values) {
  const before = BEFORE.find((each) => values.includes(each)) ?? values[0];
  const after =
    AFTER.find((each) => values.includes(each) && each !== before) ?? values.find((each) => each !== before) ?? before;
  return { before, after };
}

export const groupOf = (all, compared) =>
  GROUPS.find((name) => name !== compared && all.some((each) => each.name === name)) ??
  all.find((each) => each.name !== compared)?.name ??
  '';

/** `[{group, before, after, rows}]`: means of a measure by group; NaN where there is no row. */
export function compare(rows, { by, before, after, group, measure }) {
  const groups = new Map();
  for (const row of rows) {
    const value = row.numbers[measure];
    const side = row.words[by] === before ? 'before' : row.words[by] === after ? 'after' : null;
    if (!side || !Number.isFinite(value)) continue;
    const name = group ? (row.words[group] ?? '') : 'all';
    const sums = groups.get(name) ?? groups.set(name, { before: [], after: [] }).get(name);
    sums[side].push(value);
  }
  const mean = (values) => (values.length ? values.reduce((sum, each) => sum + each, 0) / values.length : NaN);
  return [...groups].map(([name, sums]) => ({
    group: name,
    before: mean(sums.before),
    after: mean(sums.after),
    rows: Math.max(sums.before.length, sums.after.length),
  }));
}

export const moreIsBetter = (measure) => MORE_IS_BETTER.test(measure);

/** Mean curve of the first tokens of some rows: `[seconds]` at equal shares; null without any. */
export function curve(rows) {
  const curves = rows.map((row) => row.cdf).filter(Boolean);
  if (!curves.length) return null;
  return curves[0].map((_, place) => curves.reduce((sum, each) => sum + (each[place] ?? 0), 0) / curves.length);
}
