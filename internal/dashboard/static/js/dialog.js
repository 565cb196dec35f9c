// Dialogs: every change is confirmed in one, which says what will happen.
import { el, toast } from './dom.js';
import { may } from './session.js';

// ask shows a dialog and calls act with its fields' values when it is confirmed. The dialog stays open where act fails, and says why.
export function ask({ title, text, fields = [], confirm, danger, act, wide }) {
  const controls = fields.map((f) => ({ f, node: control(f) }));
  const wrong = el('div', { class: 'bad', role: 'alert', id: 'dialog-error' });
  const go = el('button', { class: danger ? 'danger' : 'primary', type: 'submit' }, confirm);
  const dialog = el('dialog', { 'aria-labelledby': 'dialog-title', class: wide ? 'wide' : null },
    el('form', {
      method: 'dialog',
      onsubmit: async (e) => {
        e.preventDefault();
        const values = Object.fromEntries(controls.map(({ f, node }) => [f.name, f.type === 'check' ? node.checked : node.value.trim()]));
        go.disabled = true;
        wrong.replaceChildren();
        try {
          const said = await act(values);
          dialog.close();
          if (said) toast(said);
        } catch (error) {
          wrong.replaceChildren(...problem(error));
        } finally {
          go.disabled = false;
        }
      },
    },
    el('h2', { id: 'dialog-title' }, title),
    text && el('div', { class: 'text' }, text),
    controls.map(({ f, node }) => el('p', { class: f.type === 'check' ? 'field check' : 'field' },
      el('label', { for: node.id }, f.label), node, f.hint && el('small', { id: `${node.id}-hint` }, f.hint))),
    wrong,
    el('div', { class: 'buttons' }, el('button', { type: 'button', class: 'quiet', id: 'dialog-cancel', onclick: () => dialog.close() }, 'Leave it'), go)));
  document.body.append(dialog);
  dialog.addEventListener('close', () => dialog.remove());
  dialog.showModal();
  (controls.find(({ f }) => f.focus)?.node ?? controls[0]?.node ?? dialog.querySelector('#dialog-cancel')).focus();
  return dialog;
}

function control(f) {
  const id = `field-${f.name}`, hint = f.hint ? `${id}-hint` : null;
  if (f.type === 'select') {
    return el('select', { id, 'aria-describedby': hint }, f.options.map(([value, text]) => el('option', { value, selected: value === f.value }, text)));
  }
  if (f.type === 'text') {
    const area = el('textarea', { id, rows: f.rows ?? 4, spellcheck: 'false', 'aria-describedby': hint });
    area.value = f.value ?? '';
    return area;
  }
  const node = el('input', {
    id, type: f.type === 'check' ? 'checkbox' : f.type ?? 'text', required: f.required, pattern: f.pattern, placeholder: f.placeholder, min: f.min, max: f.max, step: f.step,
    maxlength: f.maxlength, autocomplete: 'off', spellcheck: 'false', 'aria-describedby': hint,
  });
  if (f.type === 'check') node.checked = Boolean(f.value);
  else node.value = f.value ?? '';
  return node;
}

// problem is an error of the API for a person.
export function problem(error) {
  const refusals = error.refusals ?? [];
  return [
    el('p', null, error.status === 403 ? 'You may not do this: ' : '', error.message, error.hint ? `. ${error.hint}` : ''),
    refusals.length > 0 && el('ul', null, refusals.map((r) => el('li', null, r.field ? el('code', null, r.field) : '', r.field ? ': ' : '', r.why, r.fix ? `; ${r.fix}` : ''))),
  ].filter(Boolean);
}

// button is one that opens a dialog, for those who have the role.
export function button(label, role, onclick, { id, kind, title, disabled } = {}) {
  const allowed = may(role);
  return el('button', {
    type: 'button', id, class: kind, disabled: !allowed || disabled, onclick,
    title: allowed ? title : `Needs the role ${role}`,
  }, label);
}
