// What an operator may do to a job or a database. Each asks first.
import { el } from './dom.js';
import { get, request, jobPath, databasePath, unique } from './session.js';
import { draft } from './draft.js';
import { yaml } from './yaml.js';
import { ask } from './dialog.js';
import { duration, parseDuration } from './format.js';

const reason = { name: 'reason', label: 'Why (stands in the audit log)', maxlength: 500, placeholder: 'deploy, incident 1234 …' };

// A change carries the revision that its author saw: if somebody was faster, it is refused instead of laid over theirs.
const seen = (of) => ({ headers: { 'If-Match': `"${of.revision}"` } });
const change = async (job, verb, body) => changed(await request('POST', jobPath(job, `/${verb}`), body, seen(job)));

// changed tells the page at once what a change made of a job or a throttle: the stream does so only a moment later.
function changed(now) {
  document.dispatchEvent(new CustomEvent('changed', { detail: now }));
}

export const pause = (job) => ask({
  title: `Pause ${job.name}?`,
  text: 'Workers hand every range back at its committed checkpoint and start no more batches. Nothing is lost; resume goes on from there.',
  fields: [reason], confirm: 'Pause',
  act: async ({ reason: why }) => { await change(job, 'pause', { reason: why || undefined }); return `${job.name} is paused.`; },
});

export const resume = (job) => ask({
  title: `Resume ${job.name}?`, text: 'Batches start again from the committed checkpoints, under the same limits.', confirm: 'Resume',
  act: async () => { await change(job, 'resume', {}); return `${job.name} goes on.`; },
});

export const cancel = (job) => ask({
  title: `Cancel ${job.name}?`,
  text: 'The job ends for good. What it has written stays, and there will be no proof. Its name is free for a new job.',
  fields: [{ name: 'name', label: `Type the job’s name, ${job.name}, to confirm`, required: true, focus: true }, reason], confirm: 'Cancel the job', danger: true,
  act: async ({ name, reason: why }) => {
    if (name !== job.name) throw new Error(`The name is ${job.name}, not ${name}`);
    await change(job, 'cancel', { reason: why || undefined });
    return `${job.name} is cancelled.`;
  },
});

// approve shows the plan that the approval is bound to: the hash of what was read is what is sent.
export const approve = async (job, planView) => {
  const { plan, plan_hash: hash } = await get(jobPath(job, '/plan'));
  ask({
    title: `Approve ${job.name}?`, wide: true,
    text: el('div', null, el('p', null, `${job.submitted_by} submitted it. It begins at once when you approve it, and only as this plan says; you may not approve what you submitted.`), planView(plan)),
    confirm: 'Approve',
    act: async () => { changed(await request('POST', jobPath(job, '/approve'), { plan_hash: hash }, seen(job))); return `${job.name} is approved.`; },
  });
};

export const verify = (job) => ask({
  title: `Verify ${job.name} again?`, text: 'The residual and the check are counted again over the whole table, through the same fleet and under the same limits.', confirm: 'Verify',
  act: async () => { await change(job, 'verify', {}); return `${job.name} is being verified.`; },
});

export const retry = (job) => ask({
  title: `Retry what failed in ${job.name}?`, text: 'Rows in quarantine are tried again, one by one, and failed ranges are queued again.', confirm: 'Retry',
  act: async () => {
    const r = await request('POST', jobPath(job, '/retry'), undefined, seen(job));
    changed({});
    return `${r.rows_done} rows done, ${r.ranges_queued} ranges queued, ${r.still_failing.length} rows still fail.`;
  },
});

export const skipRange = (job, index) => ask({
  title: `Skip range ${index} of ${job.name}?`,
  text: 'Its rows are left as they are, and the job can then only end complete with errors: the report lists what was skipped.',
  fields: [{ ...reason, required: true }], confirm: 'Skip the range', danger: true,
  act: async ({ reason: why }) => { await change(job, 'skip', { range: index, reason: why }); return `Range ${index} is skipped.`; },
});

export const skipRow = (job) => ask({
  title: `Skip a row of ${job.name}?`, text: 'The row is set aside and listed with its reason; the job then ends complete with errors.',
  fields: [{ name: 'key', label: 'Key, one line for each key column', type: 'text', rows: 2, focus: true }, { ...reason, required: true }], confirm: 'Skip the row', danger: true,
  act: async ({ key, reason: why }) => { await change(job, 'skip', { key: key.split('\n'), reason: why }); return 'The row is skipped.'; },
});

// The limits that a person changes most have fields of their own; any other is a line of path=value.
const common = [
  ['throttle.max_rows_per_second', 'Most rows a second (0: no cap)', (l) => l.throttle.max_rows_per_second ?? 0],
  ['throttle.max_wal_bytes_per_second', 'Most WAL a second (20MiB; 0: no cap)', (l) => l.throttle.max_wal_bytes_per_second ?? 0],
  ['throttle.max_growth', 'Most growth of the table (1.3; 0: no bound)', (l) => l.throttle.max_growth ?? 0],
  ['throttle.lag.target', 'Lag target', (l) => l.throttle.lag.target],
  ['workers.max', 'Most workers', (l) => l.workers.max],
  ['batch.target', 'Time of a batch', (l) => l.batch.target],
  ['weight', 'Weight beside other jobs', (l) => l.weight],
];

export const limits = (job) => ask({
  title: `Limits of ${job.name}`, text: 'They take effect within a second. Only what you change is sent, so that a change of somebody else stays.',
  fields: [
    ...common.map(([path, label, of]) => ({ name: path, label, value: String(of(job.limits)) })),
    { name: 'more', label: 'Any other: one path=value a line', type: 'text', rows: 2, placeholder: 'batch.max_rows=5000' },
  ],
  confirm: 'Set the limits',
  act: async (values) => {
    const set = {};
    for (const [path, , of] of common) if (values[path] !== String(of(job.limits))) set[path] = values[path];
    for (const line of values.more.split('\n').filter(Boolean)) {
      const at = line.indexOf('=');
      if (at < 1) throw new Error(`${line}: write path=value`);
      set[line.slice(0, at).trim()] = line.slice(at + 1).trim();
    }
    if (!Object.keys(set).length) throw new Error('Nothing was changed');
    const answer = await request('PATCH', jobPath(job, '/limits'), set, seen(job));
    changed(answer.job);
    return [...answer.changes.map((c) => `${c.path}: ${c.old || 'none'} → ${c.new}`), ...(answer.warnings ?? [])].join('; ') || 'The limits were so already.';
  },
});

export const weight = (job) => ask({
  title: `Weight of ${job.name}`, text: 'Jobs of one database share its budget by weight.',
  fields: [{ name: 'weight', label: 'Weight, 1 to 1000', type: 'number', min: 1, max: 1000, value: job.limits.weight, required: true }], confirm: 'Set the weight',
  act: async ({ weight: w }) => { changed((await request('PATCH', jobPath(job, '/limits'), { weight: w }, seen(job))).job); return `${job.name} has weight ${w}.`; },
});

export const hold = (name) => ask({
  title: `Hold database ${name}?`, text: el('p', null, 'No batch of any job starts there until the time is over or somebody releases it. The same from psql, without the fleet: ',
    el('code', null, "SELECT backfleet.hold('10 minutes')")),
  fields: [{ name: 'for', label: 'For how long', value: '10m', required: true, hint: 'Such as 10m or 2h; it ends by itself.', focus: true }, reason], confirm: 'Hold every batch', danger: true,
  act: async (v) => {
    if (!(parseDuration(v.for) > 0)) throw new Error(`${v.for}: write a time such as 10m`);
    await request('POST', databasePath(name, '/hold'), { for: v.for, reason: v.reason || undefined });
    return `${name} is held for ${duration(parseDuration(v.for))}.`;
  },
});

export const release = (name) => ask({
  title: `Release database ${name}?`, text: 'Batches may start again at once, under the limits in force.', confirm: 'Release',
  act: async () => { await request('DELETE', databasePath(name, '/hold')); return `${name} is released.`; },
});

export const override = (db) => ask({
  title: `Override the windows of ${db.name}`, text: 'For a time every job there runs at this part of its full rate, whatever its windows say. It ends by itself.',
  fields: [
    { name: 'rate', label: 'Part of the full rate, 0 to 1 (0 stops every batch)', type: 'number', min: 0, max: 1, step: 'any', value: '0.5', required: true, focus: true },
    { name: 'for', label: 'For how long', value: '30m', required: true },
  ],
  confirm: 'Override',
  act: async (v) => {
    changed(await request('PUT', databasePath(db.name, '/throttle/override'), { rate: Number(v.rate), for: v.for }, seen(db.throttle)));
    return `Every job of ${db.name} runs at ${Number(v.rate) * 100} % for ${duration(parseDuration(v.for))}.`;
  },
});

export const endOverride = (db) => ask({
  title: `End the override of ${db.name}?`, text: 'The windows of each job decide again.', confirm: 'End it',
  act: async () => { changed(await request('DELETE', databasePath(db.name, '/throttle/override'), undefined, seen(db.throttle))); return 'The windows decide again.'; },
});

const modes = [
  ['edit', 'edit the spec and plan it first'], ['restart', 'restart: the whole spec again'],
  ['continue', 'continue: from the first key on that is not known to be done'], ['range', 'range: from a key up to another'],
];

// clone makes a new job of a job's spec, with the limits of now: at once on the server, or as a draft that is planned like any other.
export const clone = (job) => {
  const [, stem, number] = job.name.match(/^(.*?)(?:-(\d+))?$/);
  const once = { headers: { ...seen(job).headers, 'Idempotency-Key': unique() } };
  return ask({
    title: `Clone ${job.name}`, text: 'The spec with the limits that are in force now. Continue and range need a spec with a where.',
    fields: [
      { name: 'name', label: 'Name of the new job', value: `${stem.slice(0, 36)}-${Number(number ?? 1) + 1}`, required: true, maxlength: 40 },
      { name: 'mode', label: 'How much of it', type: 'select', options: modes, value: 'edit' },
      { name: 'from', label: 'Of range: the first key, one line for each key column', type: 'text', rows: 1 },
      { name: 'to', label: 'Of range: the key that it ends before', type: 'text', rows: 1 },
    ],
    confirm: 'Clone',
    act: async ({ name, mode, from, to }) => {
      if (mode === 'edit') {
        const s = await get(jobPath(job, '/spec'));
        draft(yaml({ ...s.spec, ...s.limits, name }));
        location.hash = '#/new';
        return '';
      }
      const key = (text) => (text ? text.split('\n') : undefined);
      const got = await request('POST', jobPath(job, '/clone'), { name, mode, from: mode === 'range' ? key(from) : undefined, to: mode === 'range' ? key(to) : undefined }, once);
      location.hash = `#/jobs/${got.job.database}/${got.job.id}`;
      return [`${got.job.name} is submitted.`, ...(got.warnings ?? [])].join(' ');
    },
  });
};

export const caps = (db) => ask({
  title: `Caps of database ${db.name}`, text: 'They bound all jobs of the database together.',
  fields: [
    { name: 'max_rows_per_second', label: 'Most rows a second (0: no cap)', value: String(db.throttle.rules.max_rows_per_second ?? 0) },
    { name: 'max_wal_bytes_per_second', label: 'Most WAL a second (20MiB; 0: no cap)', value: String(db.throttle.rules.max_wal_bytes_per_second ?? 0) },
  ],
  confirm: 'Set the caps',
  act: async (values) => {
    const set = Object.fromEntries(Object.entries(values).filter(([k, v]) => v !== String(db.throttle.rules[k] ?? 0)));
    if (!Object.keys(set).length) throw new Error('Nothing was changed');
    const answer = await request('PATCH', databasePath(db.name, '/throttle'), set, seen(db.throttle));
    changed(answer);
    return answer.changes.map((c) => `${c.path}: ${c.old} → ${c.new}`).join('; ') || 'The caps were so already.';
  },
});
