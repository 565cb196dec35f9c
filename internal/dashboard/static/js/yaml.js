// yaml writes a spec as its author would. Texts that could be read as something else are quoted.
export function yaml(value, indent = '') {
  const scalar = (v) => (typeof v !== 'string' ? String(v) : /^[A-Za-z_][\w .()<>=+*/-]*$/.test(v) && !/: |^(true|false|null|yes|no|on|off)$/i.test(v) ? v : JSON.stringify(v));
  return Object.entries(value).filter(([, v]) => v != null && v !== '' && !(typeof v === 'object' && !Object.keys(v).length)).map(([k, v]) => {
    const name = /^[\w-]+$/.test(k) ? k : JSON.stringify(k);
    if (Array.isArray(v)) return `${indent}${name}:\n${v.map((x) => (typeof x === 'object' ? `${indent}  - ${yaml(x, `${indent}    `).trimStart()}` : `${indent}  - ${scalar(x)}\n`)).join('')}`;
    if (typeof v === 'object') return `${indent}${name}:\n${yaml(v, `${indent}  `)}`;
    if (typeof v === 'string' && /^\S[^\r]*\n[^\r\n]*$/.test(v)) return `${indent}${name}: |\n${v.replace(/\n+$/, '').split('\n').map((l) => (l ? `${indent}  ${l}` : '')).join('\n')}\n`;
    return `${indent}${name}: ${scalar(v)}\n`;
  }).join('');
}
