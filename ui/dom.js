// SPDX-License-Identifier: Apache-2.0
// dom.js -- elements from text, never from markup.

export const byId = (id) => document.getElementById(id);

// el("td", {class: "num", onclick: f, "aria-label": "..."}, "text", child, ...)
export function el(tag, props, ...children) {
  const e = document.createElement(tag);
  if (tag === "button") e.type = "button";
  for (const key in props) {
    const value = props[key];
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on"))
      e.addEventListener(key.slice(2), value);
    else if (key === "width")
      e.style.width = value;
    else if (key === "color")
      e.style.backgroundColor = value;
    else
      e.setAttribute(key, value === true ? "" : value);
  }
  fill(e, ...children);
  return e;
}

// The same text again is left alone, since whatever is replaced is laid out anew.
export function fill(parent, ...children) {
  if (children.length === 1 && typeof children[0] === "string" && !parent.childElementCount && parent.textContent === children[0]) return;
  parent.replaceChildren(...children.filter((c) => c || c === 0));
}

export function options(select, pairs, value) {
  const same =
      select.options.length === pairs.length && pairs.every(([v], i) => select.options[i].value === v);
  if (!same) fill(select, ...pairs.map(([v, text]) => el("option", { value: v }, text)));
  select.value = value;
}
