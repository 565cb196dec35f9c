// The one line that matters at night: whether it is safe, what holds it back, when it ends.
import { el } from './dom.js';
import { ago, short, time, parseDuration, duration } from './format.js';

// own are the signals of what a person set for a job, or of the fleet's size: no pressure of the database.
const own = ['cap', 'row cap', 'wal cap', 'WAL cap', 'window', 'workers', 'slots'];

// databaseVerdict sums a database up: [kind, word, why]. Kinds are good, slow, held, bad and idle.
export function databaseVerdict(db) {
  if (!db.reachable) return ['bad', 'Unreachable', db.error];
  const t = db.throttle, active = db.jobs.filter((j) => ['running', 'verifying', 'planning'].includes(j.state));
  if (t.brake) return ['held', 'Held by a person', brakeText(t.brake)];
  if (!t.leader) return ['bad', 'Nobody leads', 'No coordinator leads this database: no batch starts. Start one, or look at its log.'];
  if (!active.length) return ['idle', 'Idle', 'No job is running.'];
  if (t.go && !t.go.ok) return ['held', 'Held', [t.go.reason?.text ?? 'no reason was given', db.held_since && ` · for ${ago(db.held_since)}`]];
  const waiting = active.filter((j) => j.state !== 'planning' && !(j.rows_per_second > 0));
  const limited = active.find((j) => j.limiting?.[0]), first = limited?.limiting[0];
  const of = first && own.includes(first.signal) && active.length > 1 ? `${limited.name}: ${first.text}` : first?.text;
  const pressed = active.flatMap((j) => j.limiting ?? []).find((r) => !own.includes(r.signal));
  if (waiting.length === active.length) return ['slow', 'Waiting', of ?? active[0].reason ?? 'no batch has ended yet'];
  if (pressed && active.some((j) => j.limiting?.[0] === pressed)) return ['slow', 'Slowed', pressed.text];
  return ['good', 'Running', first ? ['What limits it: ', of] : 'Nothing holds it back.'];
}

export const brakeText = (b) => [b.by, ' holds every batch until ', time(b.until), b.reason ? `: ${b.reason}` : ''];

// jobVerdict sums a job up in the same way. db may be absent where only the job is known.
export function jobVerdict(j, db) {
  switch (j.state) {
    case 'complete': return ['good', 'Complete', 'Every range is done and the proof holds.'];
    case 'complete_with_errors': return ['slow', 'Complete with errors', 'The proof holds but for rows in quarantine: see them below.'];
    case 'failed': return ['bad', 'Failed', j.reason || 'No reason was stored.'];
    case 'cancelled': return ['idle', 'Cancelled', j.reason || 'What was written stays.'];
    case 'paused': return ['held', 'Paused', j.reason || 'No batch starts until somebody resumes it.'];
    case 'awaiting_approval': return ['held', 'Awaits approval', j.reason || 'A second person must approve it.'];
    case 'planning': return ['slow', 'Planning', j.reason || 'The bound is frozen and the first ranges are being found.'];
  }
  const why = j.limiting?.[0];
  if (db && db.reachable) {
    const [kind, word, text] = databaseVerdict(db);
    if (['Held by a person', 'Held', 'Nobody leads'].includes(word)) return [kind, word, text];
  }
  const doing = j.state === 'verifying' ? 'Verifying' : 'Running';
  if (why?.hard) return ['held', 'Held', why.text];
  if (!(j.rows_per_second > 0) && j.state === 'running') return ['slow', 'Waiting', why?.text ?? (j.reason || 'No batch has ended yet.')];
  if (why && !own.includes(why.signal)) return ['slow', `${doing}, slowed`, why.text];
  return ['good', doing, why ? ['What limits it: ', why.text] : j.reason || 'Nothing holds it back.'];
}

const marks = { good: '✓', slow: '◐', held: '■', bad: '✕', idle: '–' };

export function verdict([kind, word, why], props = {}) {
  return el('p', { class: `verdict ${kind}`, ...props },
    el('span', { class: 'mark', 'aria-hidden': 'true' }, marks[kind]), el('strong', null, word), el('span', { class: 'why' }, why));
}

// lagBars shows each replica's lag against the target and the threshold that stops.
export function lagBars(lags, limits) {
  const target = parseDuration(limits?.lag?.target ?? '1s'), hard = parseDuration(limits?.lag?.hard ?? '10s');
  const names = Object.keys(lags ?? {}).sort();
  if (!names.length) return el('p', { class: 'muted' }, 'No replica is seen.');
  return el('ul', { class: 'lags', 'aria-label': 'Lag by replica' }, names.map((name) => {
    const lag = lags[name], kind = lag.missing ? 'bad' : lag.seconds >= hard ? 'bad' : lag.seconds > target ? 'slow' : 'good';
    const text = lag.missing ? 'missing' : duration(lag.seconds);
    const m = el('meter', { class: kind, min: 0, max: Math.max(target * 2, 0.001), value: Math.min(lag.seconds, target * 2), 'aria-label': `${name}: ${text}, target ${duration(target)}` });
    return el('li', { title: `${name}: lag ${text}, ${short(lag.bytes ?? 0)} bytes behind; target ${duration(target)}, stops at ${duration(hard)}` },
      el('span', { class: 'name' }, name), m, el('span', { class: `value ${kind}` }, text), el('span', { class: 'muted' }, `of ${duration(target)}`));
  }));
}
