// What is asked for only when somebody looks: quarantine, audit log, spec, forecast and report.
import { el, patch } from './dom.js';
import { count, time, words } from './format.js';
import { get, jobPath } from './session.js';
import { problem, button } from './dialog.js';
import * as controls from './controls.js';
import { planView, reportView } from './plan.js';
import { yaml } from './yaml.js';

const tabs = [['quarantine', 'Quarantine'], ['events', 'Audit log'], ['spec', 'Spec'], ['forecast', 'Plan'], ['report', 'Report']];

export class Tabs {
  constructor(page) {
    this.page = page;
    this.list = el('div', { role: 'tablist', 'aria-label': 'More of this job' }, tabs.map(([name, label]) => el('button', {
      role: 'tab', type: 'button', id: `tab-${name}`, 'aria-controls': 'tab', onclick: () => this.choose(name), onkeydown: (e) => this.key(e),
    }, label)));
    this.panel = el('div', { role: 'tabpanel', id: 'tab', tabindex: 0 });
    this.node = el('div', null, this.list, this.panel);
    this.choose(page.job.state === 'complete' || page.job.state === 'complete_with_errors' ? 'report' : 'quarantine');
  }

  key(e) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step) return;
    const at = tabs.findIndex(([name]) => name === this.name);
    const [name] = tabs[(at + step + tabs.length) % tabs.length];
    this.choose(name);
    document.getElementById(`tab-${name}`).focus();
  }

  choose(name) {
    this.name = name;
    for (const tab of this.list.children) {
      const on = tab.id === `tab-${name}`;
      tab.setAttribute('aria-selected', String(on));
      tab.tabIndex = on ? 0 : -1;
    }
    this.panel.setAttribute('aria-labelledby', `tab-${name}`);
    patch(this.panel, el('p', { class: 'muted' }, 'Reading …'));
    this.refresh();
  }

  async refresh() {
    const name = this.name, job = this.page.job, abort = this.page.abort.signal;
    try {
      const shown = await this[name](job, (path, more) => get(jobPath(job, path, more), { signal: abort }));
      if (name === this.name && !abort.aborted) patch(this.panel, shown);
    } catch (e) {
      if (name === this.name && !abort.aborted) patch(this.panel, el('div', { class: 'bad', role: 'alert' }, problem(e)));
    }
  }

  async quarantine(job, read) {
    const { rows } = await read('/quarantine', '&limit=1000');
    const skip = ['paused', 'failed'].includes(job.state) && button('Skip a row …', 'operator', () => controls.skipRow(this.page.job), { id: 'skip-row' });
    if (!rows.length) return [el('p', { class: 'muted' }, 'No row was set aside.'), skip];
    return [
      el('div', { class: 'head' }, el('p', null, job.quarantined === 1 ? 'One row was set aside with its error; all others go on.' : `${count(job.quarantined)} rows were set aside with their errors; all others go on.`), el('div', { class: 'spacer' }),
        button('Retry all', 'operator', () => controls.retry(this.page.job), { id: 'retry-all', kind: 'primary' }), skip),
      table('Rows in quarantine', ['Key', 'Error', 'SQLSTATE', 'Attempts', 'Relation', 'By'], rows.map((r) => [
        el('code', null, keyText(r.key)), el('span', { class: 'why' }, r.error), el('code', null, r.sqlstate), count(r.attempts), r.relation, r.by])),
    ];
  }

  async events(job, read) {
    const { events } = await read('/events', '&limit=200');
    return table('Audit log, the newest first', ['When', 'Who', 'What', 'Detail'], events.map((e) => [time(e.at, { seconds: true }), e.by, el('b', null, words(e.action)), detail(e.detail)]));
  }

  async spec(job, read) {
    const s = await read('/spec');
    return [
      el('p', { class: 'muted' }, 'As submitted, with defaults; hash ', el('code', null, s.spec_hash.slice(0, 16)), '. Limits that were changed since are shown as they are now.'),
      el('pre', { tabindex: 0, id: 'spec-text', 'aria-label': 'Spec' }, yaml({ ...s.spec, ...s.limits })),
    ];
  }

  async forecast(job, read) {
    try {
      const { plan } = await read('/plan');
      return [el('p', { class: 'muted' }, 'What was found at the submit. A job that awaits approval begins only as this says.'), planView(plan)];
    } catch (e) {
      if (e.status !== 404) throw e;
      return el('p', { class: 'muted' }, 'No plan was kept at the submit.');
    }
  }

  async report(job, read) { return reportView(await read('/report')); }
}

const keyText = (key) => (Array.isArray(key) ? key.join(', ') : String(key));

function table(label, heads, rows) {
  return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label }, el('table', null,
    el('thead', null, el('tr', null, heads.map((h) => el('th', { scope: 'col' }, h)))),
    el('tbody', null, rows.map((cells) => el('tr', null, cells.map((c) => el('td', null, c)))))));
}

function detail(d) {
  const entries = Object.entries(d ?? {}), show = (v) => (v === null || v === '' ? 'none' : typeof v === 'object' ? JSON.stringify(v) : String(v));
  const rest = entries.filter(([k]) => k !== 'old' && k !== 'new').map(([k, v]) => el('span', { class: 'pair' }, `${words(k)}: ${show(v)} `));
  return el('span', { class: 'why' }, 'old' in (d ?? {}) || 'new' in (d ?? {}) ? el('span', { class: 'pair' }, `${show(d.old ?? null)} → ${show(d.new ?? null)} `) : null, rest);
}
