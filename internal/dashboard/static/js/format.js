// How numbers and times read.
import { el } from './dom.js';

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

export const count = (n) => grouped.format(n ?? 0);

export function short(n) {
  if (n == null || !Number.isFinite(n)) return '–';
  const size = Math.abs(n);
  if (size >= 1e9) return `${trim(n / 1e9)}G`;
  if (size >= 1e6) return `${trim(n / 1e6)}M`;
  if (size >= 1e4) return `${trim(n / 1e3)}k`;
  return size >= 100 || Number.isInteger(n) ? grouped.format(n) : trim(n);
}

const trim = (n) => (Math.abs(n) >= 100 ? n.toFixed(0) : Math.abs(n) >= 10 ? n.toFixed(1) : n.toFixed(2)).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');

// percent never says 100 before all is done.
export function percent(share) {
  if (share >= 1) return '100 %';
  return `${Math.min(Math.floor(share * 1000) / 10, 99.9).toFixed(share < 0.1 ? 1 : 0)} %`;
}

export function bytes(n) {
  if (n == null) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  while (Math.abs(n) >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return `${trim(n)} ${units[i]}`;
}

// parseDuration reads Go's form, as in 1h20m3.5s or 25ms, in seconds.
export function parseDuration(text) {
  if (typeof text === 'number') return text / 1e9;
  const units = { h: 3600, m: 60, s: 1, ms: 1e-3, 'µs': 1e-6, us: 1e-6, ns: 1e-9 };
  let sum = 0;
  for (const [, n, unit] of String(text ?? '').matchAll(/([\d.]+)(h|ms|µs|us|ns|m|s)/g)) sum += Number(n) * units[unit];
  return sum;
}

// duration is two units of a time in seconds.
export function duration(s) {
  if (!Number.isFinite(s)) return '–';
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${trim(s)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  const m = Math.round(s / 60);
  if (s < 600) return `${Math.floor(s / 60)}m ${Math.floor(s % 60)}s`;
  if (m < 60) return `${m} min`;
  if (m < 48 * 60) return `${Math.floor(m / 60)}h ${m % 60}m`;
  return `${Math.floor(m / 1440)}d ${Math.floor((m % 1440) / 60)}h`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

// time is a moment in the viewer's zone, with UTC on hover.
export function time(at, { seconds = false } = {}) {
  const t = at instanceof Date ? at : new Date(at);
  if (Number.isNaN(t.getTime())) return '–';
  const hour = (seconds ? clockSeconds : clock).format(t);
  const text = Math.abs(t - Date.now()) < 12 * 3600e3 && t.getDate() === new Date().getDate() ? hour : `${day.format(t)} ${hour}`;
  return el('time', { datetime: t.toISOString(), title: `${t.toISOString().replace('T', ' ').replace(/\.\d+Z/, '')} UTC` }, text);
}

export const ago = (at) => duration(Math.max(0, (Date.now() - new Date(at)) / 1000));

// eta tells a forecast as a range of time and of moments: [how long, when]; the second is null where it is not known.
// While batches are held the time does not run: it is what is left after that.
export function eta(of, held) {
  if (!of) return ['not known here', null];
  const low = parseDuration(of.low), high = parseDuration(of.high);
  if (!(high > 0)) return [of.note || 'not known yet', null];
  const span = duration(low) === duration(high) ? `about ${duration(high)}` : `${duration(low)} to ${duration(high)}`;
  if (held) return ['held', [`then ${span}`], of.note];
  const from = new Date(Date.now() + low * 1000), to = new Date(Date.now() + high * 1000);
  const [a, b] = [time(from), time(to)];
  return [span, a.textContent === b.textContent ? ['about ', b] : [a, '–', b], of.note];
}

// many counts things: many(2, 'range') is "2 ranges".
export const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

export const words = (state) => String(state).replaceAll('_', ' ');
