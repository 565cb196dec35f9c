// The spec that is being written, kept for this tab.
const key = 'backfleet.spec';

export const draft = (text) => sessionStorage.setItem(key, text);
export const drafted = () => sessionStorage.getItem(key) ?? '';
export const forget = () => sessionStorage.removeItem(key);
