// SPDX-License-Identifier: Apache-2.0
// pack.js -- a model -> the container that model.js reads (src/export/html_container.h), and a page around
// it: so a comparison made in the page can be kept and sent. Times are left out. No DOM.

import {deflate, toBase64} from "./model.js";

function section() {
  const bytes = [];
  const varint = (v) => {
    for (; v > 127; v = Math.floor(v / 128)) bytes.push(v % 128 + 128);
    bytes.push(v);
  };
  const signed = (v) => varint(v < 0 ? -2 * v - 1 : 2 * v);
  return { bytes, varint, signed, column: (list, put = varint) => list.forEach((v) => put(v)) };
}

export function pack({ meta, strings, fun, contexts, tree }) {
  const encoder = new TextEncoder(), all = strings.slice(), known = new Map(strings.map((s, i) => [s, i]));
  const text = (s) => {
    if (!known.has(s)) known.set(s, all.push(s) - 1);
    return known.get(s);
  };
  const own = contexts.filter((c) => !c.members), f = section(), c = section(), n = section(), s = section();
  f.varint(fun.n);
  fun.name.forEach((v, i) => f.signed(v - (i ? fun.name[i - 1] : 0)));
  for (const key of ["module", "file", "build", "line", "kind"]) f.column(fun[key]);
  c.varint(own.length);
  for (const key of ["kind", "name", "container", "appid", "pid", "tid", "uid"])
    c.column(own.map(({ [key]: v }) => typeof v === "string" ? text(v) : v));
  const children = new Int32Array(tree.n);
  for (let i = 1; i < tree.n; i++) children[tree.parent[i]]++;
  n.varint(tree.n);
  n.varint(tree.self.length);
  n.column(tree.item, (v) => n.varint(Math.max(0, v)));
  n.column(children);
  n.column(tree.flags);
  for (const column of tree.self) n.column(column, n.signed);
  s.varint(all.length);
  const parts = [
    encoder.encode(JSON.stringify(meta)), Uint8Array.from([...s.bytes, ...encoder.encode(all.map((t) => t + "\0").join(""))]),
    ...[f, c, n].map(({ bytes }) => Uint8Array.from(bytes))
  ];
  let at = 12 + 12 * parts.length;
  const out = new Uint8Array(parts.reduce((sum, p) => sum + p.length, at)), view = new DataView(out.buffer);
  [0x31465047, 1, parts.length].forEach((v, i) => view.setUint32(4 * i, v, true));
  parts.forEach((p, i) => {
    [i + 1, at, p.length].forEach((v, k) => view.setUint32(12 + 12 * i + 4 * k, v, true));
    out.set(p, at);
    at += p.length;
  });
  return out;
}

// The text of a page with another profile in it. What the writer printed besides of the old one goes.
export async function pageOf(page, model, title) {
  const data = toBase64(await deflate(pack(model))), safe = title.replace(/[<&]/g, (c) => `&#${c.charCodeAt(0)};`);
  return page.replace(/(<title>)[^<]*/, (_, tag) => tag + safe)
      .replace(/(<div id="static">)[^]*?(<\w+ type="text\/plain" id="profile">)[^<]*/,
          (_, still, script) => `${still}<p>${safe}: made in the page, which needs scripts to show it.</p></div>\n${script}${data}`);
}
