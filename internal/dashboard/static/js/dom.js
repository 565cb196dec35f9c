// Elements, and how a page is brought up to date without losing focus, scroll or selection. Text is only ever set as text.

// el makes an element. Properties that begin with "on" are handlers; false, null and undefined leave an attribute out.
export function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name.startsWith('on')) node[name] = value;
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((c) => c != null && c !== false).map((c) => (c instanceof Node ? c : String(c))));
  return node;
}

// SVG shapes are needed in one form only: a line through points.
export function sparkline(values, label) {
  const w = 96, h = 22, ns = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(ns, 'svg');
  svg.setAttribute('viewBox', `0 0 ${w} ${h}`);
  svg.setAttribute('class', 'spark');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  if (values.length > 1) {
    const most = Math.max(...values, 1e-9);
    const line = document.createElementNS(ns, 'polyline');
    line.setAttribute('points', values.map((v, i) => `${(i * w / (values.length - 1)).toFixed(1)},${(h - 1 - (v / most) * (h - 2)).toFixed(1)}`).join(' '));
    svg.append(line);
  }
  return svg;
}

const handlers = ['onclick', 'oninput', 'onchange', 'onkeydown', 'onsubmit'];

// patch makes the children of a node those that are given, changing as little as it can. A node with data-keep belongs to somebody
// else and is left alone.
export function patch(parent, ...children) {
  const next = children.flat(Infinity).filter((c) => c != null && c !== false)
    .map((c) => (c instanceof Node ? c : document.createTextNode(String(c))));
  next.forEach((wanted, i) => {
    const have = parent.childNodes[i];
    if (!have) parent.append(wanted);
    else if (same(have, wanted)) update(have, wanted);
    else parent.replaceChild(wanted, have);
  });
  while (parent.childNodes.length > next.length) parent.lastChild.remove();
}

function same(a, b) {
  return a === b || (a.nodeType === b.nodeType && a.nodeName === b.nodeName
    && (a.nodeType !== Node.ELEMENT_NODE || a.getAttribute('data-key') === b.getAttribute('data-key')));
}

function update(have, wanted) {
  if (have === wanted) return;
  if (have.nodeType !== Node.ELEMENT_NODE) {
    if (have.data !== wanted.data) have.data = wanted.data;
    return;
  }
  if (have.hasAttribute('data-keep')) return;
  for (const { name, value } of wanted.attributes) if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  for (const { name } of [...have.attributes]) if (!wanted.hasAttribute(name) && name !== 'open') have.removeAttribute(name);
  for (const name of handlers) if (have[name] !== wanted[name]) have[name] = wanted[name];
  if ('value' in wanted && wanted.tagName === 'PROGRESS') have.value = wanted.value;
  patch(have, ...wanted.childNodes);
}

// slot is a place for a node that lives on while the page around it is drawn anew; mount puts it there.
export const slot = (id, props) => el('div', { id, 'data-keep': '', ...props });
export function mount(id, node) {
  const at = document.getElementById(id);
  if (at && node.parentNode !== at) at.replaceChildren(node);
}

// toast says something that passes.
export function toast(text, kind = 'good') {
  const note = el('p', { class: `toast ${kind}` }, text);
  document.getElementById('toasts').append(note);
  setTimeout(() => note.remove(), kind === 'bad' ? 12000 : 5000);
}
