// The live stream: server-sent events read with fetch, so that the token goes along as a header.
import { token, session } from './session.js';

const firstPause = 500, mostPause = 15000, silence = 30000;

// Stream reads events until it is closed. It says how it fares: 'connecting', 'live', 'lost' with the seconds to the
// next try, or 'refused' with the reason: then it asks no more.
export class Stream {
  constructor({ onEvent, onState }) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.query = '';
    this.generation = 0;
    window.addEventListener('online', () => this.now?.());
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.now?.(); });
  }

  // open begins anew with other questions; it is a no-op where they are the same.
  open(query = '') {
    if (this.running && query === this.query) return;
    this.close();
    this.query = query;
    this.running = true;
    this.run(++this.generation);
  }

  close() {
    this.running = false;
    this.generation++;
    this.abort?.abort();
  }

  async run(generation) {
    let pause = firstPause;
    const current = () => generation === this.generation;
    while (current()) {
      this.onState('connecting');
      const began = Date.now();
      try {
        await this.read(current);
        if (Date.now() - began > 5000) pause = firstPause;
        if (!current()) return;
        if (Date.now() - began > 60000) continue; // the server ends a stream now and then so that the token is shown again
      } catch (e) {
        if (!current()) return;
        if (e.status === 401) { session.unauthorised(e.message); return; }
        if (e.status === 403 || e.status === 404) { this.onState('refused', 0, e.message); return; }
        if (Date.now() - began > 5000) pause = firstPause;
      }
      const wait = pause * (0.75 + Math.random() / 2);
      pause = Math.min(pause * 2, mostPause);
      await this.sleep(wait, current);
    }
  }

  async sleep(wait, current) {
    const until = Date.now() + wait;
    let wake = false;
    this.now = () => { wake = true; };
    while (Date.now() < until && !wake && current()) {
      this.onState('lost', Math.ceil((until - Date.now()) / 1000));
      await new Promise((done) => setTimeout(done, Math.min(250, until - Date.now() + 1)));
    }
    this.now = null;
  }

  async read(current) {
    this.abort = new AbortController();
    const abort = this.abort;
    let timer = setTimeout(() => abort.abort(), silence);
    try {
      const answer = await fetch(`/v1/stream${this.query}`, {
        headers: { Authorization: `Bearer ${token() ?? ''}`, Accept: 'text/event-stream' }, signal: abort.signal, cache: 'no-store',
      });
      if (!answer.ok) {
        const body = await answer.json().catch(() => ({}));
        throw Object.assign(new Error(body.detail || `the server answered ${answer.status}`), { status: answer.status });
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done || !current()) return;
        clearTimeout(timer);
        timer = setTimeout(() => abort.abort(), silence);
        text += value;
        let end;
        while ((end = text.indexOf('\n\n')) >= 0) {
          const lines = text.slice(0, end).split('\n');
          text = text.slice(end + 2);
          let name = 'message', data = '';
          for (const line of lines) {
            if (line.startsWith('event: ')) name = line.slice(7);
            else if (line.startsWith('data: ')) data += line.slice(6);
          }
          if (!data) continue;
          this.onState('live');
          this.onEvent(name, JSON.parse(data));
        }
      }
    } finally {
      clearTimeout(timer);
      abort.abort();
    }
  }
}
