// Numbers as people read them. A value that is not known is a dash.

const DASH = '–';
const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

const known = (value) => typeof value === 'number' && Number.isFinite(value);

export const count = (value) => (known(value) ? whole.format(value) : DASH);

/** 1,234 · 12.3k · 4.56M, in about four characters. */
export function short(value) {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toFixed(size >= 1e10 ? 1 : 2)}G`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(size >= 1e7 ? 1 : 2)}M`;
  if (size >= 1e4) return `${(value / 1e3).toFixed(size >= 1e5 ? 0 : 1)}k`;
  return size >= 100 || Number.isInteger(value) ? whole.format(value) : value.toFixed(1);
}

/** A length of time: 0.4 ms, 36 ms, 1.24 s, 3 min 10 s. */
export function seconds(value) {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  if (size === 0) return '0 s';
  if (size < 0.001) return `${(value * 1e6).toFixed(0)} µs`;
  if (size < 0.01) return `${(value * 1000).toFixed(1)} ms`;
  if (size < 0.9995) return `${(value * 1000).toFixed(0)} ms`;
  if (size < 10) return `${value.toFixed(2)} s`;
  if (size < 100) return `${value.toFixed(1)} s`;
  return duration(value);
}

/** A long time: 42 s, 5 min 3 s, 2 h 5 min, 3 d 4 h. */
export function duration(value) {
  if (!known(value)) return DASH;
  const total = Math.max(0, Math.round(value));
  for (const [size, unit, next, part] of [
    [86400, 'd', 3600, 'h'],
    [3600, 'h', 60, 'min'],
    [60, 'min', 1, 's'],
  ]) {
    if (total < size) continue;
    const rest = Math.floor((total % size) / next);
    return rest ? `${Math.floor(total / size)} ${unit} ${rest} ${part}` : `${Math.floor(total / size)} ${unit}`;
  }
  return `${total} s`;
}

export const percent = (share, digits = 0) => (known(share) ? `${(share * 100).toFixed(digits)} %` : DASH);

export function rate(perSecond) {
  if (!known(perSecond)) return DASH;
  return perSecond >= 100 ? whole.format(perSecond) : perSecond.toFixed(1);
}

export const usd = (value) => (known(value) ? `$${value.toFixed(Math.abs(value) < 1 && value !== 0 ? 4 : 2)}` : DASH);

export const clock = (unixS) =>
  known(unixS) && unixS > 0 ? new Date(unixS * 1000).toLocaleTimeString('en-GB', { hour12: false }) : DASH;

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
