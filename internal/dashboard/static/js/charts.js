// Charts of a job's history, with the limiting reason as a coloured band under each.
import uPlot from '/dashboard/vendor/uplot/uPlot.js';
import { el, patch } from './dom.js';
import { short, bytes, duration, words, parseDuration, time } from './format.js';
import { get, jobPath } from './session.js';

const binary = [...Array(45).keys()].map((n) => 2 ** n);
const spans = [['15 min', 900], ['1 h', 3600], ['6 h', 21600], ['all', 0]];
const most = 600, kept = 5000, height = 170, bandHeight = 7;

// reasonClass gives each reason a colour, the same every time: those of one kind share one, and the rest are spread over four.
const kinds = [
  [/^$/, 'none'], [/^(lag|backlog|replay|presence|state|base delay) of |^replica lag$/, 'lag'], [/^(row |wal )?cap$/i, 'cap'], [/^window$/, 'window'],
  [/^(workers|slots)$/, 'workers'], [/^(brake|leader|ledger|replicas)$/, 'hold'],
];
export function reasonClass(signal) {
  const kind = kinds.find(([pattern]) => pattern.test(signal));
  if (kind) return `reason-${kind[1]}`;
  let h = 0;
  for (const c of signal) h = (h * 31 + c.charCodeAt(0)) >>> 0;
  return `reason-other${h % 4}`;
}

export class Charts {
  constructor(job) {
    this.job = job;
    this.points = [];
    this.span = job.ended_at ? 0 : 900;
    this.plots = [];
    this.head = el('div', { class: 'head', role: 'group', 'aria-label': 'Time shown' });
    this.when = el('span', { class: 'muted small', id: 'chart-time' });
    this.band = el('ul', { class: 'legend', id: 'reasons' });
    this.grid = el('div', { class: 'charts' });
    this.node = el('div', { id: 'charts' }, this.head, this.grid, this.band);
    this.resized = new ResizeObserver(() => requestAnimationFrame(() => this.resize()));
    this.resized.observe(this.grid);
    this.buttons();
    this.load();
  }

  buttons() {
    patch(this.head, spans.map(([label, s]) => el('button', {
      type: 'button', class: 'quiet', 'aria-pressed': String(this.span === s), id: `span-${s}`, onclick: () => { this.span = s; this.buttons(); this.load(); },
    }, label)), this.when);
  }

  stop() {
    this.resized.disconnect();
    this.abort?.abort();
    for (const p of this.plots) p.plot.destroy();
  }

  async load() {
    this.abort?.abort();
    const abort = this.abort = new AbortController();
    const since = this.span ? `&since=${new Date(Date.now() - this.span * 1000).toISOString()}` : '';
    try {
      const { points } = await get(jobPath(this.job, '/samples', `&points=${most}${since}`), { signal: abort.signal });
      this.points = points.map(parsed);
      this.draw();
    } catch (e) {
      if (!abort.signal.aborted) patch(this.grid, el('p', { class: 'bad' }, `The history cannot be read: ${e.message}`));
    }
  }

  // add appends the newest sample, as the stream tells it.
  add(point) {
    const p = parsed(point), last = this.points.at(-1);
    if (last && p.t <= last.t) return;
    this.points.push(p);
    if (this.span) while (this.points.length && this.points[0].t < p.t - this.span) this.points.shift();
    if (this.points.length > kept) { this.load(); return; }
    this.draw();
  }

  repaint() {
    for (const p of this.plots) p.plot.destroy();
    this.plots = [];
    this.draw();
  }

  colour(name) {
    const probe = el('i', { class: 'probe' });
    this.node.append(probe);
    probe.style.color = `var(--${name})`;
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  }

  draw() {
    if (!this.grid.clientWidth) return;
    if (this.points.length < 2) {
      patch(this.grid, el('p', { class: 'muted', 'data-key': 'empty' }, this.points.length ? 'One sample so far; charts begin with the second.' : 'No samples in this time. One is kept every few seconds while the job runs.'));
      this.plots = [];
      return;
    }
    const replicas = [...new Set(this.points.flatMap((p) => Object.keys(p.lags)))].sort();
    const shape = replicas.join('\n');
    if (!this.plots.length || shape !== this.shape) {
      for (const p of this.plots) p.plot.destroy();
      this.shape = shape;
      this.grid.replaceChildren();
      this.plots = this.specs(replicas).map((spec) => this.plot(spec));
    }
    const x = this.points.map((p) => p.t);
    for (const { plot, spec, value } of this.plots) {
      plot.setData([x, ...spec.series.map((s) => this.points.map(s.of))]);
      patch(value, this.latest(spec));
    }
    this.tellBand();
  }

  specs(replicas) {
    const target = parseDuration(this.job.limits?.throttle.lag.target ?? '1s');
    const of = (name, colour, get, show = short, more = {}) => ({ name, colour, of: get, show, ...more });
    const table0 = this.points.find((p) => p.table_bytes != null), index0 = table0?.index_bytes;
    return [
      { title: 'Rate and budget', unit: 'rows/s', series: [of('rate', 'line1', (p) => p.rate), of('budget', 'line2', (p) => p.budget || null, short, { dash: [5, 4] })] },
      { title: 'Replica lag', unit: 's', show: duration, series: [
        ...replicas.map((r, i) => of(r, `line${i % 4 + 1}`, (p) => p.lags[r] ?? null, duration)),
        ...(replicas.length ? [] : [of('worst', 'line1', (p) => p.lag, duration)]),
        of('target', 'muted', () => target, duration, { dash: [2, 3] })] },
      { title: 'Batch time', unit: 'ms', series: [of('SQL time', 'line1', (p) => (p.batch ? p.batch.seconds * 1000 : null), (v) => `${short(v)} ms`),
        of('target', 'muted', () => parseDuration(this.job.limits?.batch.target ?? '25ms') * 1000, (v) => `${short(v)} ms`, { dash: [2, 3] })] },
      { title: 'Batch size', unit: 'rows', series: [of('rows', 'line1', (p) => p.batch?.rows ?? null)] },
      { title: 'Checkpoints', unit: 'a second', series: [of('committed', 'line1', (p) => p.batch?.per_second ?? null)] },
      { title: 'JetStream lag', unit: 'ranges', series: [of('pending', 'line1', (p) => p.pending ?? null), of('with workers', 'line2', (p) => (p.pending == null ? null : p.ack_pending ?? 0))] },
      { title: 'HOT updates', unit: '% of updates', range: [0, 100], series: [of('HOT', 'line3', (p) => (p.hot == null ? null : p.hot * 100), (v) => `${v.toFixed(0)} %`)] },
      { title: 'Growth', unit: 'since the first point', show: bytes, incrs: binary, series: [
        of('table', 'line1', (p) => (p.table_bytes == null || !table0 ? null : p.table_bytes - table0.table_bytes), bytes),
        of('indexes', 'line2', (p) => (p.index_bytes == null || index0 == null ? null : p.index_bytes - index0), bytes)] },
    ];
  }

  plot(spec) {
    const value = el('span', { class: 'now' });
    const box = el('div', { class: 'plot' });
    const figure = el('figure', { class: 'chart' }, el('figcaption', null, el('b', null, spec.title), ` ${spec.unit} `, value), box);
    this.grid.append(figure);
    const axis = { stroke: this.colour('muted'), grid: { stroke: this.colour('line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    const plot = new uPlot({
      width: Math.max(box.clientWidth, 200), height, legend: { show: false }, padding: [8, 8, 0, 0],
      cursor: { sync: { key: `job-${this.job.id}` }, points: { size: 5 }, drag: { x: false, y: false } },
      scales: { x: { time: true }, y: { range: spec.range ?? ((_, lo, hi) => [Math.min(0, lo ?? 0), Math.max(hi ?? 1, 1e-3) * 1.08]) } },
      axes: [{ ...axis, size: 30, space: 72, gap: bandHeight + 4, values: (u, all) => all.map((t) => tick(t, u.scales.x.max - u.scales.x.min)) }, { ...axis, size: 56, incrs: spec.incrs, values: (_, all) => all.map((v) => (spec.show ? spec.show(v) : short(v))) }],
      series: [{}, ...spec.series.map((s) => ({ label: s.name, stroke: this.colour(s.colour), width: s.dash ? 1.5 : 2, dash: s.dash, spanGaps: true, points: { show: false } }))],
      hooks: {
        draw: [(u) => this.drawBand(u)],
        setCursor: [(u) => {
          const p = u.cursor.idx == null ? null : this.points[u.cursor.idx];
          patch(value, p ? this.at(spec, p) : this.latest(spec));
          patch(this.when, p && ['at ', time(p.at, { seconds: true }), ` (${new Date(p.at).toISOString().slice(11, 19)} UTC), limited by ${p.limiting ? words(p.limiting) : 'nothing'}`]);
        }],
      },
    }, [[], ...spec.series.map(() => [])], box);
    plot.root.setAttribute('role', 'img');
    plot.root.setAttribute('aria-label', `Chart of ${spec.title.toLowerCase()}`);
    return { plot, spec, value, box };
  }

  latest(spec) {
    const p = this.points.at(-1);
    return p ? this.at(spec, p) : [];
  }

  at(spec, p) {
    if (!p) return [];
    return spec.series.map((s) => {
      const v = s.of(p);
      return el('span', { class: 'series', 'data-key': s.name }, el('i', { class: `swatch ${s.colour}${s.dash ? ' dash' : ''}` }), `${s.name} ${v == null ? '–' : s.show(v)} `);
    });
  }

  drawBand(u) {
    const { ctx, bbox } = u, h = bandHeight * devicePixelRatio, y = bbox.top + bbox.height + 2 * devicePixelRatio;
    ctx.save();
    for (let i = 0; i < this.points.length; i++) {
      const from = i ? (this.points[i - 1].t + this.points[i].t) / 2 : this.points[i].t;
      const to = i + 1 < this.points.length ? (this.points[i].t + this.points[i + 1].t) / 2 : this.points[i].t;
      const x0 = Math.max(u.valToPos(from, 'x', true), bbox.left), x1 = Math.min(u.valToPos(to, 'x', true), bbox.left + bbox.width);
      if (x1 <= x0) continue;
      ctx.fillStyle = this.bandColour(this.points[i].limiting);
      ctx.fillRect(x0, y, x1 - x0 + 0.5, h);
    }
    ctx.restore();
  }

  bandColour(signal) {
    this.bands ??= new Map();
    if (!this.plots.length) this.bands.clear();
    const name = reasonClass(signal);
    if (!this.bands.has(name)) this.bands.set(name, this.colour(name));
    return this.bands.get(name);
  }

  tellBand() {
    const seen = [...new Set(this.points.map((p) => p.limiting))].sort();
    patch(this.band, el('li', { class: 'muted', 'data-key': '' }, 'The band under each chart is what limited the job:'), seen.map((s) => el('li', { 'data-key': s || 'none' }, el('i', { class: `swatch ${reasonClass(s)}` }), s ? words(s) : 'nothing')));
  }

  resize() {
    if (!this.plots.length) { this.draw(); return; }
    for (const { plot, box } of this.plots) {
      const width = Math.max(box.clientWidth, 200);
      if (Math.abs(width - plot.width) > 1) plot.setSize({ width, height });
    }
  }
}

const minutes = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const seconds = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const days = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const tick = (t, span) => (span < 240 ? seconds : span < 86400 ? minutes : days).format(new Date(t * 1000));

function parsed(p) {
  return { ...p, t: new Date(p.at).getTime() / 1000, rate: p.rows_per_second, lags: p.lags ?? {}, limiting: p.limiting ?? '' };
}
