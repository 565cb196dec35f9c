// A plan, a forecast and a report as a person reads them.
import { el } from './dom.js';
import { count, many, bytes, duration, parseDuration, short, time, percent, words } from './format.js';

const row = (name, ...value) => value.flat(3).some((v) => v != null && v !== false && v !== '') && el('div', null, el('dt', null, name), el('dd', null, value));
const between = (a, show) => (a.low === a.high ? show(a.low) : `${show(a.low)} to ${show(a.high)}`);
const times = (t) => (parseDuration(t.high) > 0 ? between({ low: parseDuration(t.low), high: parseDuration(t.high) }, duration) : 'the windows never let it end');

const moments = ({ earliest, latest }) => {
  const [a, b] = [time(earliest), time(latest)];
  return [...(a.textContent === b.textContent ? ['about ', b] : [a, ' to ', b]), ', if it begins now'];
};

export function planView(p) {
  const grave = { danger: 'bad', warning: 'slow', note: 'muted' };
  return [
    el('h2', null, `Plan of ${p.spec.name}`),
    (p.warnings ?? []).length > 0 && el('ul', { class: 'findings', id: 'findings' }, p.warnings.map((w) => el('li', null,
      el('span', { class: `state ${grave[w.severity]}` }, w.severity), ' ', el('b', null, w.subject), ': ', w.text, w.fix && el('em', null, ` ${w.fix}`)))),
    p.forecast ? forecastView(p.forecast) : el('p', { class: 'muted' }, 'No forecast: no sample batches were run.'),
    el('dl', { class: 'wide' },
      row('Table', `${p.table.schema}.${p.table.name} of database ${p.spec.database}, about ${count(p.rows)} rows, ${bytes(p.table_bytes)} and ${bytes(p.index_bytes)} of indexes`),
      row('Matches where', p.matching == null ? 'every row' : `about ${count(p.matching)} rows`),
      row('Ranges', p.walk?.order === 'block' ? `${count(p.ranges)} by block: ${p.walk.why}` : `${count(p.ranges)} by ${p.key.map((k) => k.name).join(', ')} (${p.key_index})`),
      row('Writes', p.columns.map((c) => el('div', null, el('code', null, `${c.name} = ${c.expression}`)))),
      p.statement && row('Statement', el('pre', null, p.spec.statement)),
      p.statement && row('Writes', p.statement.writes.map((w) => el('div', null, el('code', null, w.relation), `: ${w.operation}${w.on_conflict ? `, on conflict do ${w.on_conflict}` : ''}`))),
      p.statement && row('Reads', p.statement.reads.map((r) => el('div', null, el('code', null, r.relation), r.locked ? ', its rows locked' : ', its rows not locked'))),
      !p.statement && row('HOT', p.hot.possible ? `possible, fill factor ${p.hot.fillfactor}, ${p.hot.passes} pass${p.hot.passes === 1 ? '' : 'es'}` : `not possible: ${(p.hot.blocking ?? []).join(', ')}`),
      row('Replicas', (p.replicas ?? []).map((r) => el('div', null, `${r.name}: ${r.state}, ${duration(r.lag_seconds)} behind${r.ignored ? ', ignored' : ''}`)), !(p.replicas ?? []).length && 'none'),
      row('Triggers', (p.triggers ?? []).map((t) => `${t.name} (${t.timing})`).join(', ')),
      row('Connections', `${p.connections.in_use} of ${p.connections.max} in use, the job needs ${p.connections.need}`),
      row('Doing a row twice', p.idempotent ? 'leaves what doing it once leaves' : 'would change it again; each row is done exactly once'),
      row('Spec hash', el('code', null, p.spec_hash.slice(0, 16)))),
  ];
}

function forecastView(f) {
  return el('section', { class: 'forecast' },
    el('p', { class: 'big' }, el('strong', null, times(f.duration)), ' from the first batch to the proof'),
    el('dl', { class: 'wide' },
      row('Done', f.finish.latest && moments(f.finish)),
      row('Limited by', `${f.limited_by}, at ${between(f.rows_per_second, short)} rows/s`),
      row('Rows written', `${between(f.rows_written, count)} of ${count(f.keys)} that are walked`),
      row('WAL', between(f.wal_bytes, bytes)),
      (f.heap_growth_bytes.high > 0 || f.index_growth_bytes.high > 0) && row('Growth', `table ${between(f.heap_growth_bytes, bytes)}, indexes ${between(f.index_growth_bytes, bytes)}`),
      row('Assumed', (f.assumes ?? []).map((a) => el('div', null, a))),
      row('From', `${f.sample.batches} sample batches, rolled back: ${count(f.sample.rows)} rows in ${duration(parseDuration(f.sample.took))}, ${percent(f.sample.hot)} HOT`)));
}

export function reportView(r) {
  return [
    el('p', { class: `verdict ${r.verified ? 'good' : 'idle'}` }, el('span', { class: 'mark', 'aria-hidden': 'true' }, r.verified ? '✓' : '–'),
      el('strong', null, r.verified ? 'Verified' : 'Not verified'), el('span', { class: 'why' }, r.promise)),
    el('dl', { class: 'wide' },
      row('State', words(r.state), r.reason ? `: ${r.reason}` : ''),
      row('Rows written', `${count(r.rows_written)} in ${many(r.batches, 'batch', 'batches')}, ${many(r.retries, 'retry', 'retries')}, ${many(r.takeovers, 'takeover')}`),
      row('Duration', duration(parseDuration(r.duration)), r.rows_per_second ? `, ${short(r.rows_per_second)} rows/s on average` : ''),
      row('Residual', r.residual == null ? 'the job has no where' : count(r.residual)),
      row('Check failures', r.check_failures == null ? 'the job has no check' : count(r.check_failures)),
      row('Verification', `${many(r.verify_rounds, 'round')}, ${many(r.rows_repaired, 'row')} repaired`),
      row('Coverage', (r.coverage ?? []).map((c) => el('div', null, `${c.relation}: ${many(c.ranges, 'range')}, `,
        (c.gaps ?? []).length ? el('span', { class: 'slow' }, `${c.gaps.length} open: ${c.gaps.slice(0, 3).join('; ')}${c.gaps.length > 3 ? ' …' : ''}`) : 'gap-free'))),
      row('Failing keys', (r.failing_keys ?? []).map((k) => el('code', null, JSON.stringify(k), ' '))),
      row('Quarantined', count(r.quarantined?.length ?? 0)),
      row('Against the forecast', r.forecast && r.outcome && `forecast ${times(r.forecast.duration)}, ${r.ended_at ? 'took' : 'so far'} ${duration(parseDuration(r.outcome.duration))}`),
      row('Workers', (r.workers ?? []).map((w) => el('div', null, `${w.worker}: ${many(w.ranges, 'range')}, ${many(w.rows, 'row')}`)))),
  ];
}
