// What a listener chose of the qualities of a group: AUTO, or the name of a mount; remembered by the browser.

export const AUTO = "auto";

const KEY = "quality ";
const here = new Map(); // for where storage is switched off

export function kept(group) {
  try {
    return localStorage.getItem(KEY + group);
  } catch {
    return here.get(group) ?? null;
  }
}

export function keep(group, choice) {
  here.set(group, choice);
  try {
    localStorage.setItem(KEY + group, choice);
  } catch {
    // until the page is left, then
  }
}
