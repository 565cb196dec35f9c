// The frame of every page: who looks, whether the stream is live, and which page is shown.
import { el, patch, toast } from './dom.js';
import { takeToken, decoded, token, signIn, signOut, who, session } from './session.js';
import { Stream } from './stream.js';
import { FleetPage } from './fleet.js';
import { JobPage } from './job.js';
import { SubmitPage } from './submit.js';

takeToken();

const main = document.getElementById('main');
const changes = new Map(); // by job or database: what the viewer's own last change answered
const app = { page: null, fleet: null, link: { state: 'connecting', wait: 0, since: 0 } };

const stream = new Stream({
  onState(state, wait, message) {
    if (state === 'lost' && app.link.state === 'live') app.link.since = Date.now();
    // While it tries again the link stays lost, until something comes.
    if (state === 'connecting' && app.link.state === 'lost') return;
    app.link = { ...app.link, state, wait };
    if (state === 'refused') app.page?.fail?.({ message });
    frame();
  },
  onEvent(name, data) {
    if (name === 'hello') {
      Object.assign(who, data);
      frame();
    } else if (name === 'fleet') {
      overlay(data);
      app.fleet = data;
    }
    app.page?.event?.(name, data);
  },
});

session.unauthorised = (why) => {
  if (!token() && app.page instanceof LoginPage) return;
  const had = Boolean(token());
  leave();
  stream.close();
  show(new LoginPage(had ? `The server says: ${why}. Sign in with another token.` : ''));
};

// leave forgets who looked, and what was shown.
function leave() {
  signOut();
  Object.assign(who, { name: '', role: '' });
  app.fleet = null;
}

// frame draws what stands above every page.
function frame() {
  const signedIn = Boolean(token());
  const here = (path) => (location.hash === path || (path === '#/' && !location.hash) ? 'page' : null);
  patch(document.getElementById('top'),
    el('a', { class: 'brand', href: '#/' }, el('img', { src: '/dashboard/icon.svg', alt: '', width: 22, height: 22 }), 'Backfleet'),
    signedIn && el('nav', { 'aria-label': 'Pages' },
      el('a', { href: '#/', 'aria-current': here('#/') }, 'Fleet'),
      el('a', { href: '#/new', 'aria-current': here('#/new') }, 'New job')),
    el('div', { class: 'spacer' }),
    signedIn && link(),
    el('button', { class: 'quiet', id: 'theme', type: 'button', onclick: nextTheme, title: 'Switch between the system’s colours, light and dark' }, `Theme: ${theme()}`),
    signedIn && who.name && el('span', { class: 'who', title: `You are ${who.name}, with the role ${who.role}` }, `${who.name} · ${who.role}`),
    signedIn && el('button', { class: 'quiet', id: 'sign-out', type: 'button', onclick: () => { leave(); stream.close(); show(new LoginPage('')); } }, 'Sign out'));
  const lost = signedIn && app.link.state === 'lost';
  document.body.classList.toggle('stale', lost);
  patch(document.getElementById('alert'), lost && el('p', { class: 'alarm' },
    el('strong', null, 'Connection lost. '),
    app.link.since ? `What you see is ${Math.round((Date.now() - app.link.since) / 1000)} s old. ` : 'Nothing was heard yet. ',
    app.link.wait ? `Trying again in ${app.link.wait} s.` : ''));
}

function link() {
  const text = { live: 'Live', connecting: 'Connecting', lost: 'Lost', refused: 'Stopped' }[app.link.state];
  return el('span', { class: `link ${app.link.state}`, id: 'link' }, text);
}

const themes = ['system', 'light', 'dark'];
const theme = () => localStorage.getItem('backfleet.theme') ?? 'system';
function applyTheme() {
  if (theme() === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme();
  app.page?.repaint?.();
}
function nextTheme() {
  localStorage.setItem('backfleet.theme', themes[(themes.indexOf(theme()) + 1) % themes.length]);
  applyTheme();
  frame();
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', applyTheme);

class LoginPage {
  constructor(why) { this.why = why; }

  start(root) {
    const field = el('input', { id: 'token', type: 'password', autocomplete: 'off', spellcheck: 'false', required: true });
    const enter = (e) => {
      e.preventDefault();
      signIn(field.value.trim());
      route();
    };
    patch(root, el('section', { class: 'login card', 'data-key': 'login' },
      el('h1', null, 'Sign in'),
      this.why && el('p', { class: 'bad', role: 'alert' }, this.why),
      el('form', { onsubmit: enter },
        el('label', { for: 'token' }, 'API token'),
        field,
        el('button', { class: 'primary', type: 'submit' }, 'Sign in')),
      el('p', { class: 'muted' }, 'The token is in the file ', el('code', null, 'api.token'),
        ' of the server’s state directory, or comes from whoever keeps the tokens. It stays in this tab only.')));
    field.focus();
  }
}

function show(page) {
  app.page?.stop?.();
  app.page = page;
  main.replaceChildren();
  frame();
  page.start(main);
  if (app.fleet && !(page instanceof LoginPage)) page.event?.('fleet', app.fleet);
}

function route() {
  takeToken();
  if (!token()) {
    stream.close();
    show(new LoginPage(''));
    return;
  }
  const [, name, ...rest] = location.hash.replace(/^#/, '').split('/').map(decoded);
  switch (name) {
    case 'jobs':
      stream.open(`?job=${encodeURIComponent(rest[1])}&database=${encodeURIComponent(rest[0])}`);
      show(new JobPage(rest[0], rest[1], { reopen: (round) => stream.open(`?job=${encodeURIComponent(rest[1])}&database=${encodeURIComponent(rest[0])}&round=${round}`) }));
      break;
    case 'new':
      stream.open();
      show(new SubmitPage());
      break;
    default:
      stream.open();
      show(new FleetPage());
  }
  main.focus({ preventScroll: true });
}

// What the viewer changed is shown at once, and no frame that was read before takes it back.
document.addEventListener('changed', ({ detail: now }) => {
  if (now.revision) changes.set(now.id ?? now.database, now);
  if (!app.fleet) return;
  overlay(app.fleet);
  app.page?.event?.('fleet', app.fleet);
});
function overlay(fleet) {
  for (const db of fleet.databases) {
    for (const j of db.jobs) newer(j, changes.get(j.id), (now) => now);
    if (db.throttle) newer(db.throttle, changes.get(db.name), ({ rules, revision }) => ({ rules, revision }));
  }
}
function newer(into, now, of) {
  if (now && now.revision > into.revision) Object.assign(into, of(now));
}
window.addEventListener('hashchange', route);
// What a browser says of a layout that takes one more turn is no error.
window.addEventListener('error', (e) => !e.message.startsWith('ResizeObserver') && toast(`The page met an error: ${e.message}. Reload it.`, 'bad'));
setInterval(() => { if (app.link.state === 'lost') frame(); }, 1000);
applyTheme();
route();
