// A new job: the spec, what it would do, and only then the go.
import { el, patch, toast } from './dom.js';
import { request, may, unique } from './session.js';
import { ask, problem } from './dialog.js';
import { planView } from './plan.js';
import { draft, drafted, forget } from './draft.js';

const example = `name: users-email-norm
database: main
table: public.users
set: {email_norm: lower(email)}
where: email_norm IS NULL AND email IS NOT NULL
`;

export class SubmitPage {
  start(root) {
    document.title = 'New job · Backfleet';
    const spec = el('textarea', { id: 'spec', rows: 16, spellcheck: 'false', autocomplete: 'off', placeholder: example, oninput: () => this.changed() });
    spec.value = drafted();
    this.spec = spec;
    const sample = el('input', { type: 'checkbox', id: 'sample', checked: true });
    this.sample = sample;
    this.result = el('div', { id: 'plan', 'aria-live': 'polite' });
    this.planButton = el('button', { class: 'primary', type: 'submit', id: 'do-plan' }, 'Plan it');
    this.go = el('button', { class: 'primary', type: 'button', id: 'do-submit', disabled: true, onclick: () => this.submit() }, 'Submit the job …');
    patch(root,
      el('h1', null, 'New job'),
      !may('admin') && el('p', { class: 'notice', id: 'not-admin' }, 'Planning and submitting need the role admin: they run the spec’s SQL with the fleet’s privileges.'),
      el('div', { class: 'split', 'data-key': 'submit' },
        el('form', { class: 'card', onsubmit: (e) => { e.preventDefault(); this.plan(); } },
          el('label', { for: 'spec' }, 'Spec (YAML)'), spec,
          el('p', { class: 'field check' }, sample, el('label', { for: 'sample' }, 'Run sample batches, which are rolled back, for the forecast')),
          el('div', { class: 'buttons' }, this.planButton, this.go),
          el('p', { class: 'muted small' }, 'A plan changes nothing. You see it before anything can be submitted, and a changed spec must be planned anew.')),
        el('section', { class: 'card', 'aria-label': 'Plan' }, this.result)));
    patch(this.result, el('p', { class: 'muted' }, 'The plan will stand here: ranges, cost, forecast and warnings.'));
  }

  changed() {
    draft(this.spec.value);
    this.planned = null;
    this.go.disabled = true;
  }

  async plan() {
    const text = this.spec.value;
    this.planButton.disabled = true;
    this.go.disabled = true;
    patch(this.result, el('p', { class: 'muted' }, 'Looking at the live database …'));
    try {
      const plan = await request('POST', `/v1/plans?file=spec.yaml${this.sample.checked ? '' : '&no_sample=true'}`, text);
      if (this.spec.value !== text) return;
      this.planned = { text, plan };
      this.go.disabled = false;
      patch(this.result, planView(plan));
    } catch (e) {
      patch(this.result, el('div', { class: 'bad', role: 'alert', id: 'plan-error' }, el('h2', null, 'Refused'), problem(e)));
    } finally {
      this.planButton.disabled = false;
    }
  }

  submit() {
    if (!this.planned) return;
    const { text, plan } = this.planned;
    const once = { headers: { 'Idempotency-Key': unique() } }; // sent twice, it is one job
    ask({
      title: `Submit ${plan.spec.name}?`,
      text: `It will update ${plan.table.schema}.${plan.table.name} of database ${plan.spec.database} in ${plan.ranges} ranges, and begins at once.`,
      fields: [{ name: 'again', type: 'check', label: 'Make a new job even if one of this name and spec has ended' }],
      confirm: 'Submit',
      act: async ({ again }) => {
        const got = await request('POST', `/v1/jobs?file=spec.yaml${again ? '&again=true' : ''}${this.sample.checked ? '' : '&no_sample=true'}`, text, once);
        if (!got.created) throw new Error(`A job of this name and spec is there already (${got.job.state}), and nothing was done`);
        for (const w of got.warnings ?? []) toast(w, 'bad');
        forget();
        location.hash = `#/jobs/${got.job.database}/${got.job.id}`;
        return `${got.job.name} is submitted.`;
      },
    });
  }
}
