// The viewer's token, and requests that carry it.

const key = 'backfleet.token';

// token comes with a link that `backfleet run` prints, once; it is taken out of the address bar before anything else happens.
export function takeToken() {
  const found = location.hash.match(/^#token=(.+)$/);
  if (!found) return;
  sessionStorage.setItem(key, decoded(found[1]));
  history.replaceState(null, '', `${location.pathname}#/`);
}

// decoded is a part of an address; one that was cut off in the middle of an escape stays as it is.
export function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

export const token = () => sessionStorage.getItem(key);
export const signIn = (text) => sessionStorage.setItem(key, text);
export const signOut = () => sessionStorage.removeItem(key);

// who is the viewer, as the stream says.
export const who = { name: '', role: '' };

const ranks = ['viewer', 'operator', 'admin'];
export const may = (role) => ranks.indexOf(who.role) >= ranks.indexOf(role);

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || `the server answered ${status}`);
    this.status = status;
    this.hint = body.hint || '';
    this.refusals = body.refusals || [];
    this.kind = body.kind || '';
  }
}

// unauthorised is told when a token is not known any more.
export const session = { unauthorised: () => {} };

// request calls the API. A body that is text is YAML.
export async function request(method, path, body, { signal, headers } = {}) {
  const options = { method, signal, cache: 'no-store', headers: { Authorization: `Bearer ${token() ?? ''}`, Accept: 'application/json', ...headers } };
  if (body !== undefined) {
    options.headers['Content-Type'] = typeof body === 'string' ? 'application/yaml' : 'application/json';
    options.body = typeof body === 'string' ? body : JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (e) {
    if (signal?.aborted) throw e;
    throw new Problem(0, { detail: 'the server cannot be reached', hint: 'Nothing is known of what became of this request; look before you repeat it.' });
  }
  const text = await answer.text();
  let json = {};
  try { json = text ? JSON.parse(text) : {}; } catch { /* not Backfleet's answer */ }
  if (answer.status === 401) session.unauthorised(json.detail);
  if (!answer.ok) throw new Problem(answer.status, json);
  return json;
}

// unique is a key under which a request may be sent again: it is then done once.
export const unique = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');

export const get = (path, options) => request('GET', path, undefined, options);
export const jobPath = (job, rest = '', more = '') =>
  `/v1/jobs/${encodeURIComponent(job.id)}${rest}?database=${encodeURIComponent(job.database)}${more}`;
export const databasePath = (name, rest) => `/v1/databases/${encodeURIComponent(name)}${rest}`;
