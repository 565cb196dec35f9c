// The page of one job.
import { el, patch, slot, mount, toast } from './dom.js';
import { count, many, short, percent, eta, duration, time, words } from './format.js';
import { get, jobPath } from './session.js';
import { jobVerdict, verdict, lagBars } from './verdict.js';
import { button, problem } from './dialog.js';
import * as controls from './controls.js';
import { RangeMap, describe } from './rangemap.js';
import { Charts, reasonClass } from './charts.js';
import { planView } from './plan.js';
import { Tabs } from './tabs.js';

export class JobPage {
  constructor(database, id, { reopen }) {
    this.ref = { database, id };
    this.reopen = reopen;
    this.round = -1;
  }

  start(root) {
    document.title = 'Job · Backfleet';
    this.root = root;
    this.abort = new AbortController();
    document.addEventListener('changed', () => this.tabs?.refresh(), { signal: this.abort.signal });
    patch(root, el('p', { class: 'muted' }, 'Reading the job …'));
  }

  stop() {
    this.stopped = true;
    this.abort.abort();
    this.map?.stop();
    this.charts?.stop();
    clearInterval(this.timer);
  }

  repaint() {
    this.map?.repaint();
    this.charts?.repaint();
  }

  event(name, data) {
    if (name === 'map') {
      this.lastMap = data;
      if (this.map) this.showMap(data);
      return;
    }
    if (name !== 'fleet') return;
    const db = data.databases.find((d) => d.name === this.ref.database);
    if (!db) { this.fail({ message: `Database ${this.ref.database} is not known here` }); return; }
    if (!db.reachable) {
      if (!this.job) patch(this.root, el('h1', null, 'Job'), verdict(['bad', 'Unreachable', db.error]));
      else { this.db = db; this.draw(); }
      return;
    }
    const j = db.jobs.find((x) => x.id === this.ref.id || x.name === this.ref.id);
    this.db = db;
    if (j) {
      this.ended = false;
      this.show(j);
      if (j.point) this.charts?.add(j.point);
    } else if (!this.ended || db.ended.find((x) => x.id === this.job?.id)?.revision > this.job?.revision) {
      this.readEnded();
    }
  }

  // readEnded asks for a job that the stream does not tell of any more.
  async readEnded() {
    if (this.reading || this.missing) return;
    this.reading = true;
    try {
      const j = await get(jobPath(this.ref), { signal: this.abort.signal });
      this.ended = true;
      if (!this.stopped) {
        this.show(j);
        this.tabs.refresh();
      }
    } catch (e) {
      if (!this.stopped) this.fail(e);
    } finally {
      this.reading = false;
    }
  }

  fail(e) {
    this.missing = e.status === 404;
    if (this.job) return;
    patch(this.root, el('h1', null, 'Job'), el('div', { class: 'bad card', role: 'alert' }, problem(e)), el('p', null, el('a', { href: '#/' }, 'Back to the fleet')));
  }

  show(j) {
    const first = !this.job, before = this.job;
    this.job = j;
    if (first) {
      document.title = `${j.name} · Backfleet`;
      this.map = new RangeMap(j, { onSelect: (index) => this.chooseRange(index) });
      this.charts = new Charts(j);
      this.tabs = new Tabs(this);
    }
    this.charts.job = j;
    this.map.job = j;
    this.draw();
    if (first && this.lastMap) this.showMap(this.lastMap);
    if (before && (before.state !== j.state || before.revision !== j.revision || before.quarantined !== j.quarantined)) this.tabs.refresh();
  }

  showMap(data) {
    this.map.update(data);
    this.drawRounds();
  }

  draw() {
    const j = this.job, v = jobVerdict(j, this.db), open = !ended(j);
    document.title = `${v[1]} ${open ? percent(j.fraction) : ''} · ${j.name} · Backfleet`;
    patch(this.root,
      el('div', { class: 'head title', 'data-key': 'title' },
        el('h1', null, j.name), el('span', { class: `state ${j.state}`, id: 'state' }, words(j.state)), el('span', { class: 'muted' }, `${j.table} of database ${j.database}${j.order === 'block' ? ', by block' : ''}`),
        el('div', { class: 'spacer' }), el('div', { class: 'buttons', role: 'group', 'aria-label': 'Controls' }, this.controls(j))),
      el('section', { class: `card summary ${v[0]}`, 'data-key': 'summary', 'aria-label': 'Summary' }, verdict(v, { id: 'verdict' }), this.summary(j, open, v[0] === 'held')),
      el('section', { class: 'card', 'data-key': 'map' }, el('div', { class: 'head' }, el('h2', null, 'Ranges'), slot('rounds', { class: 'buttons' })),
        slot('map-slot'), slot('range', { 'aria-live': 'polite' })),
      el('section', { class: 'card', 'data-key': 'charts' }, el('h2', null, 'History'), slot('charts-slot')),
      el('section', { class: 'card', 'data-key': 'lost' }, el('h2', null, 'Time lost, by reason'), this.lost(j)),
      el('section', { class: 'card', 'data-key': 'tabs', 'aria-label': 'More of this job' }, slot('tabs-slot')));
    mount('map-slot', this.map.node);
    mount('charts-slot', this.charts.node);
    mount('tabs-slot', this.tabs.node);
    this.drawRounds();
  }

  controls(j) {
    const done = ended(j), paused = ['paused', 'failed'].includes(j.state);
    return [
      j.state === 'awaiting_approval' && button('Approve', 'admin', () => controls.approve(this.job, planView).catch((e) => toast(e.message, 'bad')), { id: 'approve', kind: 'primary' }),
      paused ? button('Resume', 'operator', () => controls.resume(this.job), { id: 'resume', kind: 'primary' })
        : !done && j.state !== 'awaiting_approval' && button('Pause', 'operator', () => controls.pause(this.job), { id: 'pause' }),
      !done && j.state !== 'awaiting_approval' && button('Limits', 'operator', () => controls.limits(this.job), { id: 'limits' }),
      button('Retry', 'operator', () => controls.retry(this.job), { id: 'retry', disabled: !(j.quarantined > 0 || j.ranges.failed > 0), title: 'Try rows in quarantine and failed ranges again' }),
      (j.state === 'complete' || j.state === 'complete_with_errors') && button('Verify', 'operator', () => controls.verify(this.job), { id: 'verify' }),
      button('Clone', 'admin', () => controls.clone(this.job), { id: 'clone', title: 'A new job from this one’s spec' }),
      (!done || j.state === 'failed') && button('Cancel', 'operator', () => controls.cancel(this.job), { id: 'cancel', kind: 'danger' }),
    ];
  }

  summary(j, open, held) {
    const [left, when, note] = eta(j.eta, held), budget = j.point?.budget, s = j.stream;
    return [
      el('div', { class: 'progress' }, el('progress', { max: 1, value: j.fraction, 'aria-label': 'Progress of this phase' }),
        el('span', { class: 'big' }, percent(j.fraction)),
        el('span', { class: 'muted' }, `${j.verify_round ? `verification ${j.verify_round}: ` : ''}${count(j.ranges.done)} of ${count(j.ranges.total)}${j.planned ? '' : '+'} ranges`)),
      el('dl', { class: 'facts tiles' },
        open && tile('Ends in', left, when ?? note, 'eta'),
        open && tile('Rate', `${short(j.rows_per_second)} rows/s`, budget > 0 ? `budget ${short(budget)} rows/s` : null, 'rate'),
        tile('Rows written', short(j.rows_written), `of about ${short(j.rows_estimated)} in the table`, 'rows'),
        tile('In quarantine', count(j.quarantined), `of at most ${count(j.limits.on_error.quarantine_rows)}`, 'quarantined', j.quarantined > 0 && 'slow'),
        tile('Failed ranges', count(j.ranges.failed), `${count(j.retries)} retries so far`, 'failed', j.ranges.failed > 0 && 'bad'),
        open && tile('JetStream', s ? `${count(s.pending)} pending` : '–', s ? `${count(s.ack_pending)} with workers, the ledger says ${count(s.expected)} in all` : 'known to the leader only', 'stream'),
        tile('Weight', count(j.limits.weight), `at most ${count(j.limits.workers.max)} workers`),
        tile('Submitted', time(j.submitted_at), `by ${j.submitted_by}`)),
      open && lagBars(this.db?.lag ?? j.lag, j.limits.throttle),
      (j.limiting ?? []).length > 1 && el('details', { class: 'more' }, el('summary', null, `${j.limiting.length - 1} more that would hold it back`),
        el('ul', null, j.limiting.slice(1).map((r) => el('li', null, el('i', { class: `swatch ${reasonClass(r.signal)}` }), r.text)))),
      j.as_of && el('p', { class: 'muted small' }, 'Rate, lag and what limits it are of ', time(j.as_of, { seconds: true }), ': another coordinator leads this database.'),
      (j.workers ?? []).length > 0 && el('details', { class: 'more', id: 'carriers' }, el('summary', null, `${many(j.workers.length, 'range is', 'ranges are')} being carried`),
        el('ul', null, j.workers.map((w) => el('li', { 'data-key': w.range }, `${w.worker}: range ${w.range}, ${count(w.rows)} rows`, w.last_error && el('span', { class: 'bad' }, ` ${w.last_error}`))))),
    ];
  }

  lost(j) {
    const all = j.lost ?? [];
    if (!all.length) return el('p', { class: 'muted', id: 'lost' }, 'Nothing was lost so far, or nobody watched.');
    return el('ul', { class: 'bars', id: 'lost' }, all.map((l) => el('li', { 'data-key': l.signal },
      el('span', { class: 'name' }, el('i', { class: `swatch ${reasonClass(l.signal)}` }), words(l.signal)),
      el('meter', { min: 0, max: 1, value: l.share, 'aria-label': `${words(l.signal)}: ${percent(l.share)}` }),
      el('span', { class: 'value' }, percent(l.share)), el('span', { class: 'muted' }, `${duration(l.seconds)} of full speed`))));
  }

  // drawRounds lets a person look at the fill again while the job is being verified.
  drawRounds() {
    const box = document.getElementById('rounds');
    if (!box) return;
    const last = this.job.verify_round ?? 0, shown = this.map.round;
    patch(box, last > 0 && [...Array(last + 1).keys()].map((r) => el('button', {
      type: 'button', class: 'quiet', 'aria-pressed': String(r === shown), onclick: () => { this.round = r; this.reopen(r); },
    }, r ? `Verification ${r}` : 'Fill')));
  }

  // chooseRange shows all of one range below the map.
  async chooseRange(index) {
    const box = document.getElementById('range');
    try {
      const d = await get(jobPath(this.ref, `/ranges/${index}`), { signal: this.abort.signal });
      const row = (name, ...v) => v.flat(3).some((x) => x != null && x !== '' && x !== false) && el('div', null, el('dt', null, name), el('dd', null, v));
      patch(box, el('div', { class: 'range' },
        el('div', { class: 'head' }, el('h3', null, `Range ${d.range}`), el('span', { class: 'muted' }, describe(this.map.cells[index - this.map.first] ?? 0)), el('div', { class: 'spacer' }),
          this.job.order !== 'block' && ['queued', 'released', 'running', 'failed'].includes(d.state) && button('Skip …', 'operator', () => controls.skipRange(this.job, index), { id: 'skip-range', kind: 'danger' }),
          el('button', { type: 'button', class: 'quiet', id: 'close-range', onclick: () => { box.replaceChildren(); this.map.canvas.focus(); } }, 'Close')),
        d.last_error && el('p', { class: 'bad', id: 'range-error' }, d.last_error),
        el('dl', { class: 'wide' },
          row('Keys', el('code', null, d.span), ` of ${d.relation}`), row('Checkpoint', d.checkpoint && el('code', null, JSON.stringify(d.checkpoint))),
          row('Rows', `${count(d.rows_written)} written, ${count(d.keys_walked)} keys walked, ${count(d.batches)} batches`),
          row('Attempts', `${d.attempts} since it moved last, ${d.claims} claims, ${count(d.retries)} retries, generation ${d.generation}, fence ${d.fence}`),
          row('Owner', d.owner, d.lease_until && [', lease until ', time(d.lease_until, { seconds: true })]),
          row('Quarantine', d.quarantined > 0 && `${count(d.quarantined)} rows`),
          row('Proof', d.kind === 'verify' && `residual ${count(d.residual)}, check failures ${count(d.check_failures)}`),
          row('Time', d.started_at && ['began ', time(d.started_at, { seconds: true })], d.ended_at && [', ended ', time(d.ended_at, { seconds: true })]))));
    } catch (e) {
      if (!this.stopped) patch(box, el('div', { class: 'bad' }, problem(e)));
    }
  }
}

const ended = (j) => ['complete', 'complete_with_errors', 'failed', 'cancelled'].includes(j.state);
const tile = (name, text, more, id, kind) => el('div', { id: id && `fact-${id}` }, el('dt', null, name), el('dd', { class: kind || null }, text, more && el('small', null, more)));
