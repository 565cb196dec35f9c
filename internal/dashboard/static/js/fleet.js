// The fleet page: every database, job and worker.
import { el, patch, sparkline } from './dom.js';
import { count, short, percent, eta, time, words, ago } from './format.js';
import { databaseVerdict, verdict, lagBars } from './verdict.js';
import { button } from './dialog.js';
import * as controls from './controls.js';

const remembered = 60; // rates of a job, for its line

export class FleetPage {
  constructor() { this.rates = new Map(); }

  start(root) {
    document.title = 'Fleet · Backfleet';
    this.root = root;
    patch(root, el('h1', null, 'Fleet'), el('p', { class: 'muted' }, 'Reading the fleet …'));
  }

  event(name, data) {
    if (name !== 'fleet') return;
    for (const db of data.databases) {
      for (const j of db.jobs) {
        const list = this.rates.get(j.id) ?? [];
        list.push(j.rows_per_second);
        this.rates.set(j.id, list.slice(-remembered));
      }
    }
    const jobs = data.databases.flatMap((db) => db.jobs.map((j) => ({ j, db })));
    const ended = data.databases.flatMap((db) => db.ended).sort((a, b) => (a.ended_at < b.ended_at ? 1 : -1));
    patch(this.root,
      el('h1', null, 'Fleet'),
      el('section', { class: 'databases', 'aria-label': 'Databases' }, data.databases.map((db) => this.database(db))),
      el('section', { class: 'card', id: 'jobs' }, el('h2', null, `Jobs at work (${jobs.length})`),
        jobs.length ? this.jobs(jobs) : el('p', { class: 'muted' }, 'None. ', el('a', { href: '#/new' }, 'Plan a new one'), '.')),
      el('section', { class: 'card', id: 'workers' }, el('h2', null, 'Workers'), this.workers(data.databases)),
      el('section', { class: 'card', id: 'ended' }, el('h2', null, `Ended jobs (${ended.length})`), this.ended(ended)));
  }

  database(db) {
    const v = databaseVerdict(db), t = db.throttle;
    if (!db.reachable) {
      return el('article', { class: `card database ${v[0]}`, 'data-key': db.name, id: `database-${db.name}` }, el('h2', null, db.name), verdict(v));
    }
    const rate = db.jobs.reduce((sum, j) => sum + (j.rows_per_second ?? 0), 0);
    const budget = db.jobs.reduce((sum, j) => sum + (j.point?.budget ?? 0), 0);
    const lags = db.lag ?? db.jobs.map((j) => j.lag).find(Boolean);
    const strictest = db.jobs.map((j) => j.limits.throttle).sort((a, b) => (a.lag.target < b.lag.target ? -1 : 1))[0];
    return el('article', { class: `card database ${v[0]}`, 'data-key': db.name, id: `database-${db.name}` },
      el('div', { class: 'head' }, el('h2', null, db.name), el('span', { class: 'muted' }, `PostgreSQL ${db.server_version}`),
        el('div', { class: 'spacer' }),
        t.brake
          ? button('Release', 'operator', () => controls.release(db.name), { id: `release-${db.name}`, kind: 'primary' })
          : button('Hold', 'operator', () => controls.hold(db.name), { id: `hold-${db.name}`, kind: 'danger', title: 'Stop every batch of this database' }),
        button('Caps', 'operator', () => controls.caps(db), { id: `caps-${db.name}` }),
        t.rules.override
          ? button('End override', 'operator', () => controls.endOverride(db), { id: `override-${db.name}` })
          : button('Override', 'operator', () => controls.override(db), { id: `override-${db.name}`, title: 'Set the rate of every job for a time, in place of windows' })),
      verdict(v),
      t.rules.override && el('p', { class: 'notice', id: `overridden-${db.name}` }, `${t.rules.override.by} lets every job run at ${Math.round(t.rules.override.rate * 100)} % of its rate until `, time(t.rules.override.until), ', in place of windows.'),
      lagBars(lags, strictest),
      el('dl', { class: 'facts' },
        fact('Rate', `${short(rate)} rows/s`),
        fact('Budget', budget > 0 ? `${short(budget)} rows/s` : 'no limit', 'What the governor gives the fleet now'),
        fact('Workers', db.here ? `${db.workers.length}, ${db.slots} slots` : 'told by the leader only'),
        fact('Leader', t.leader ? (db.here ? 'this coordinator' : t.leader.owner) : 'nobody', t.leader?.owner)),
      this.signals(t));
  }

  // signals lists what was read last, those near their thresholds first.
  signals(t) {
    if (!t.signals.length) return null;
    const near = (s) => {
      const at = s.soft ?? s.hard;
      return s.now && at > 0 ? (s.below ? at / Math.max(s.now.value, 1e-9) : s.now.value / at) : 0;
    };
    const list = [...t.signals].sort((a, b) => near(b) - near(a));
    return el('details', { class: 'signals' }, el('summary', null, `Signals (${list.length})`),
      el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Signals' }, el('table', null,
        el('thead', null, el('tr', null, ['Signal', 'Now', 'Slows at', 'Stops at'].map((h) => el('th', { scope: 'col' }, h)))),
        el('tbody', null, list.map((s) => el('tr', { 'data-key': s.name },
          el('th', { scope: 'row' }, words(s.name)),
          el('td', { class: near(s) >= 1 ? 'slow' : null }, s.now ? (s.now.error ? el('span', { class: 'bad' }, s.now.error) : [value(s.now.value, s.unit), s.now.detail && el('small', null, ` ${s.now.detail}`)]) : '–'),
          el('td', null, s.soft == null ? '–' : value(s.soft, s.unit)),
          el('td', null, s.hard == null ? '–' : value(s.hard, s.unit))))))));
  }

  jobs(jobs) {
    return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Jobs' }, el('table', { class: 'jobs' },
      el('thead', null, el('tr', null, ['Job', 'State', 'Progress', 'Rate', 'Ends in', 'Held back by', 'Weight', ''].map((h) => el('th', { scope: 'col' }, h || el('span', { class: 'hidden' }, 'Actions'))))),
      el('tbody', null, jobs.map(({ j, db }) => {
        const [left, when] = eta(j.eta, databaseVerdict(db)[0] === 'held');
        return el('tr', { 'data-key': j.id, id: `job-${j.name}` },
          el('th', { scope: 'row', 'data-label': 'Job' }, el('a', { href: `#/jobs/${j.database}/${j.id}` }, j.name), el('small', null, `${j.database} · ${j.table}`)),
          el('td', { 'data-label': 'State' }, el('div', null, el('span', { class: `state ${j.state}` }, words(j.state)))),
          el('td', { 'data-label': 'Progress' }, el('div', null, el('progress', { max: 1, value: j.fraction, 'aria-label': `Progress of ${j.name}` }), ' ', percent(j.fraction),
            j.quarantined > 0 && el('small', { class: 'bad' }, `${count(j.quarantined)} in quarantine`), j.verify_round > 0 && el('small', null, `verification ${j.verify_round}`))),
          el('td', { 'data-label': 'Rate', class: 'num' }, el('div', null, `${short(j.rows_per_second)}/s`, sparkline(this.rates.get(j.id) ?? [], `Rate of ${j.name} in the last minute`))),
          el('td', { 'data-label': 'Ends in' }, el('div', null, left, when && el('small', null, when))),
          el('td', { 'data-label': 'Held back by', class: 'why' }, j.limiting?.[0]?.text ?? j.reason ?? '–'),
          el('td', { 'data-label': 'Weight', class: 'num' }, el('div', null, button(String(j.limits.weight), 'operator', () => controls.weight(j), { id: `weight-${j.name}`, kind: 'quiet', title: `Change the weight of ${j.name}` }))),
          el('td', { class: 'actions' }, j.state === 'awaiting_approval' ? el('a', { href: `#/jobs/${j.database}/${j.id}` }, 'See its plan') : ['paused', 'failed'].includes(j.state)
            ? button('Resume', 'operator', () => controls.resume(j), { id: `resume-${j.name}` })
            : button('Pause', 'operator', () => controls.pause(j), { id: `pause-${j.name}` })));
      }))));
  }

  workers(databases) {
    const known = databases.filter((db) => db.here);
    const all = new Map();
    for (const db of known) for (const w of db.workers) all.set(w.worker, { ...w, databases: [...(all.get(w.worker)?.databases ?? []), db.name] });
    const names = new Map(databases.flatMap((db) => db.jobs.map((j) => [j.id, j])));
    const others = databases.filter((db) => db.reachable && !db.here && db.throttle.leader);
    return [
      others.length > 0 && el('p', { class: 'muted' }, `${others.map((db) => db.name).join(', ')}: led by another coordinator, whose page lists its workers.`),
      all.size ? el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Workers' }, el('table', null,
        el('thead', null, el('tr', null, ['Worker', 'Databases', 'Busy', 'Carries', 'Build'].map((h) => el('th', { scope: 'col' }, h)))),
        el('tbody', null, [...all.values()].map((w) => el('tr', { 'data-key': w.worker },
          el('th', { scope: 'row' }, w.worker), el('td', null, w.databases.join(', ')), el('td', { class: 'num' }, `${w.holding?.length ?? 0} of ${w.slots}`),
          el('td', null, (w.holding ?? []).map((h) => el('span', { class: 'chip' }, `${names.get(h.job)?.name ?? h.job} range ${h.range}`, h.waits && el('b', { class: 'slow' }, ' waits for a lock'))),
            !(w.holding ?? []).length && el('span', { class: 'muted' }, 'nothing')),
          el('td', { class: 'muted' }, w.build)))))) : known.length > 0 && el('p', { class: 'muted' }, 'No worker was heard lately.'),
    ];
  }

  ended(jobs) {
    if (!jobs.length) return el('p', { class: 'muted' }, 'None yet.');
    return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Ended jobs' }, el('table', null,
      el('thead', null, el('tr', null, ['Job', 'State', 'Ended', 'Submitted by', 'Reason'].map((h) => el('th', { scope: 'col' }, h)))),
      el('tbody', null, jobs.map((j) => el('tr', { 'data-key': j.id },
        el('th', { scope: 'row' }, el('a', { href: `#/jobs/${j.database}/${j.id}` }, j.name), el('small', null, `${j.database} · ${j.table}`)),
        el('td', null, el('span', { class: `state ${j.state}` }, words(j.state))),
        el('td', null, j.ended_at ? [time(j.ended_at), el('small', null, `${ago(j.ended_at)} ago`)] : '–'),
        el('td', null, j.submitted_by), el('td', { class: 'why' }, j.reason || '–'))))));
  }
}

const fact = (name, text, title) => el('div', { title }, el('dt', null, name), el('dd', null, text));

function value(v, unit) {
  switch (unit) {
    case 'share': return `${(v * 100).toFixed(0)} %`;
    case 'verdict': return v ? 'stop' : 'go';
    default: return `${short(v)}${unit ? ` ${unit}` : ''}`;
  }
}
