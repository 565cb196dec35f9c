// The range map: every range of a job is a cell, in key order, coloured by its state and how far it is. One pixel of a small bitmap is
// one cell, so that 100,000 of them cost no more than a small picture.
import { el, patch } from './dom.js';
import { count, many, ago, words } from './format.js';
import { get, jobPath } from './session.js';

export const states = ['queued', 'released', 'running', 'done', 'failed', 'dropped', 'skipped'];
const trouble = 128, gapFrom = 7, tallest = 340, largest = 18, detailAfter = 120;

export const stateOf = (cell) => states[cell >> 8];
export const percentOf = (cell) => cell & 127;

export class RangeMap {
  // onSelect is told the index of the range that a person chose.
  constructor(job, { onSelect }) {
    this.job = job;
    this.onSelect = onSelect;
    this.cells = new Int16Array(0);
    this.first = 0;
    this.round = 0;
    this.at = -1; // the cell that the keyboard is on
    this.canvas = el('canvas', {
      id: 'map', tabindex: 0, role: 'application', 'aria-roledescription': 'range map', 'aria-describedby': 'map-help',
      'aria-label': 'Ranges of the job in key order',
    });
    this.marker = el('div', { class: 'marker', hidden: true });
    this.tip = el('div', { class: 'tip', hidden: true, id: 'map-tip' });
    this.said = el('p', { class: 'hidden', 'aria-live': 'polite', id: 'map-said' });
    this.legend = el('ul', { class: 'legend', id: 'map-legend' });
    this.frame = el('div', { class: 'map' }, this.canvas, this.marker, this.tip);
    this.node = el('div', null, this.frame, this.legend, this.said,
      el('p', { class: 'muted small', id: 'map-help' }, 'Hover or tap a cell for its range. With the keyboard: arrows move, Home and End jump, T goes to the next trouble, R to the next running one, Enter shows it below.'));
    this.bitmap = document.createElement('canvas');
    this.canvas.onpointermove = (e) => this.hover(this.cellAt(e), e.pointerType);
    this.canvas.onpointerleave = () => this.hide();
    this.canvas.onclick = (e) => this.select(this.cellAt(e));
    this.canvas.onkeydown = (e) => this.key(e);
    this.canvas.onblur = () => this.hide();
    this.resized = new ResizeObserver(() => requestAnimationFrame(() => this.layout()));
    this.resized.observe(this.frame);
  }

  stop() { this.resized.disconnect(); }

  // update lays what the stream tells over the cells that are known.
  update(map) {
    const began = performance.now();
    const grown = map.total !== this.cells.length || map.first !== this.first || map.round !== this.round;
    if (map.whole || map.total !== this.cells.length) {
      const cells = new Int16Array(map.total);
      if (!map.whole) cells.set(this.cells.subarray(0, map.total));
      this.cells = cells;
    }
    this.first = map.first;
    this.round = map.round;
    const sized = grown && this.layoutOnly();
    for (let i = 0; i < map.runs.length; i += 3) {
      const [start, n, cell] = [map.runs[i], map.runs[i + 1], map.runs[i + 2]];
      this.cells.fill(cell, start, start + n);
      if (!sized && !map.whole) this.paint(start, start + n);
    }
    if (sized || map.whole) this.paint(0, this.cells.length);
    this.draw();
    this.tellLegend();
    const took = performance.now() - began;
    if (!map.whole) this.worst = Math.max(this.worst ?? 0, took);
    this.updates = (this.updates ?? 0) + 1;
    Object.assign(this.canvas.dataset, { took: took.toFixed(2), worst: (this.worst ?? 0).toFixed(2), updates: this.updates });
    this.canvas.dataset.cells = this.cells.length;
  }

  // colours reads the theme's colours, and what a cell of each state, progress and trouble becomes.
  colours() {
    const probe = el('i', { class: 'probe' });
    this.frame.append(probe);
    const read = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
    };
    const of = states.map((s) => read(`map-${s}`)), amber = read('map-trouble');
    this.background = read('map-back');
    probe.remove();
    const mix = (a, b, t) => a.map((v, i) => Math.round(v + (b[i] - v) * t));
    const word = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r; // little-endian RGBA
    this.palette = new Int32Array(states.length << 8);
    states.forEach((_, s) => {
      for (let p = 0; p < 128; p++) {
        let colour = of[s];
        if (s === 2) colour = mix(of[2], of[3], Math.min(p, 100) / 100 * 0.55);
        this.palette[(s << 8) | p] = word(colour);
        this.palette[(s << 8) | trouble | p] = word(s === 4 ? of[4] : mix(colour, amber, 0.7));
      }
    });
  }

  layoutOnly() {
    const width = this.frame.clientWidth, n = Math.max(this.cells.length, 1);
    if (!width) return false;
    let size = Math.min(largest, Math.floor(Math.sqrt(width * tallest / n)));
    while (size > 1 && Math.ceil(n / Math.floor(width / size)) * size > tallest) size--;
    size = Math.max(size, 1);
    this.ratio = window.devicePixelRatio || 1;
    this.size = size;
    this.columns = Math.max(1, Math.floor(width / size));
    this.rows = Math.ceil(n / this.columns);
    this.bitmap.width = this.columns;
    this.bitmap.height = this.rows;
    this.image = this.bitmap.getContext('2d').createImageData(this.columns, this.rows);
    this.pixels = new Int32Array(this.image.data.buffer);
    this.canvas.width = Math.round(this.columns * size * this.ratio);
    this.canvas.height = Math.round(this.rows * size * this.ratio);
    this.canvas.style.width = `${this.columns * size}px`;
    this.canvas.style.height = `${this.rows * size}px`;
    if (!this.palette) this.colours();
    return true;
  }

  layout() {
    if (!this.layoutOnly()) return;
    this.paint(0, this.cells.length);
    this.draw();
  }

  // repaint follows a change of the theme.
  repaint() {
    this.palette = null;
    this.layout();
  }

  paint(from, to) {
    if (!this.pixels) return;
    for (let i = from; i < to; i++) this.pixels[i] = this.palette[this.cells[i]];
  }

  draw() {
    if (!this.image) return;
    this.bitmap.getContext('2d').putImageData(this.image, 0, 0);
    const c = this.canvas.getContext('2d'), step = this.size * this.ratio;
    c.imageSmoothingEnabled = false;
    c.clearRect(0, 0, this.canvas.width, this.canvas.height);
    c.drawImage(this.bitmap, 0, 0, this.canvas.width, this.canvas.height);
    if (this.size < gapFrom) return;
    c.fillStyle = `rgb(${this.background})`;
    const gap = Math.max(1, Math.round(this.ratio));
    for (let x = 1; x <= this.columns; x++) c.fillRect(Math.round(x * step) - gap, 0, gap, this.canvas.height);
    for (let y = 1; y <= this.rows; y++) c.fillRect(0, Math.round(y * step) - gap, this.canvas.width, gap);
  }

  tellLegend() {
    const counts = new Array(states.length).fill(0);
    let bad = 0;
    for (const c of this.cells) {
      counts[c >> 8]++;
      if (c & trouble) bad++;
    }
    patch(this.legend, states.map((s, i) => (counts[i] > 0 || i < 5) && el('li', { 'data-key': s }, el('i', { class: `swatch ${s}` }), `${words(s)} `, el('b', null, count(counts[i])))),
      !this.cells.length && el('li', { 'data-key': 'empty', class: 'muted' }, this.round ? 'Nothing was to be counted in this round.' : 'No range is planned yet.'),
      el('li', { 'data-key': 'trouble' }, el('i', { class: 'swatch trouble' }), 'met an error ', el('b', null, count(bad))));
    this.canvas.setAttribute('aria-label', `Ranges of the job in key order: ${states.map((s, i) => counts[i] && `${count(counts[i])} ${s}`).filter(Boolean).join(', ') || 'none yet'}`);
  }

  cellAt(e) {
    const box = this.canvas.getBoundingClientRect();
    const x = Math.floor((e.clientX - box.left) / this.size), y = Math.floor((e.clientY - box.top) / this.size);
    const i = y * this.columns + x;
    return x >= 0 && x < this.columns && i >= 0 && i < this.cells.length ? i : -1;
  }

  hover(i) {
    if (i < 0) { this.hide(); return; }
    this.mark(i);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.detail(i), detailAfter);
  }

  mark(i) {
    this.marked = i;
    const x = (i % this.columns) * this.size, y = Math.floor(i / this.columns) * this.size, cell = this.cells[i];
    const s = Math.max(this.size, 6), off = (s - this.size) / 2;
    this.marker.hidden = false;
    this.marker.style.transform = `translate(${x - off}px, ${y - off}px)`;
    this.marker.style.width = this.marker.style.height = `${s}px`;
    this.tip.hidden = false;
    patch(this.tip, el('b', null, `Range ${this.first + i}`), ` ${describe(cell)}`);
    const right = x > this.columns * this.size / 2;
    this.tip.style.transform = `translate(${right ? x - 8 : x + this.size + 8}px, ${y + this.size + 4}px) ${right ? 'translateX(-100%)' : ''}`;
  }

  hide() {
    clearTimeout(this.timer);
    this.marker.hidden = this.tip.hidden = true;
    this.marked = -1;
  }

  // detail asks for what the map does not hold.
  async detail(i) {
    try {
      const d = await get(jobPath(this.job, `/ranges/${this.first + i}`));
      if (this.marked !== i) return;
      const text = rangeText(d);
      patch(this.tip, el('b', null, `Range ${d.range}`), ` ${describe(this.cells[i])}`, text.map((t) => el('div', null, t)),
        d.last_error && el('div', { class: 'bad' }, d.last_error));
      if (document.activeElement === this.canvas) this.said.textContent = `Range ${d.range}, ${text.join(', ')} ${d.last_error ?? ''}`;
    } catch { /* the tip keeps what the map holds */ }
  }

  select(i) {
    if (i < 0) return;
    this.at = i;
    this.onSelect(this.first + i);
  }

  key(e) {
    const n = this.cells.length, page = this.columns * 10;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page };
    let to = Math.max(this.at, 0);
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key in moves) to += this.at < 0 ? 0 : moves[e.key];
    else if (e.key === 'Home') to = 0;
    else if (e.key === 'End') to = n - 1;
    else if (e.key === 't' || e.key === 'T') to = this.next((c) => c & trouble || c >> 8 === 4);
    else if (e.key === 'r' || e.key === 'R') to = this.next((c) => c >> 8 === 2);
    else if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); this.select(this.at); return; } else return;
    e.preventDefault();
    if (!n) return;
    this.at = Math.min(Math.max(to, 0), n - 1);
    this.said.textContent = `Range ${this.first + this.at}, ${describe(this.cells[this.at])}`;
    this.hover(this.at);
  }

  next(is) {
    const n = this.cells.length;
    for (let step = 1; step <= n; step++) {
      const i = (Math.max(this.at, -1) + step) % n;
      if (is(this.cells[i])) return i;
    }
    return this.at;
  }
}

export function describe(cell) {
  const state = stateOf(cell);
  return `${words(state)}${state === 'running' || (state !== 'done' && percentOf(cell) > 0) ? ` ${percentOf(cell)} %` : ''}${cell & trouble ? ', met an error' : ''}`;
}

const rangeText = (d) => [
  `${many(d.rows_written, 'row')} written in ${many(d.batches, 'batch', 'batches')}`,
  `${many(d.claims, 'claim')}, ${many(d.attempts, 'attempt')} since it moved last, ${many(d.retries, 'retry', 'retries')}${d.quarantined ? `, ${many(d.quarantined, 'row')} in quarantine` : ''}`,
  d.owner ? `${d.state === 'running' ? 'carried' : 'last carried'} by ${d.owner}` : 'nobody has carried it yet',
  d.started_at ? `began ${ago(d.started_at)} ago` : '',
].filter(Boolean);
