// SPDX-License-Identifier: Apache-2.0
// stacks.mjs -- what the tests of the modules share: a model made from collapsed stacks, whose list of stacks is
// the oracle of every sum. No browser.

import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {gunzipSync} from "node:zlib";
import {join} from "node:path";

export const UI = process.env.UI_DIR || new URL("../../ui/", import.meta.url).pathname;
export const load = (name) => import(join(UI, `${name}.js`));
export const format = await load("format"), M = await load("model"), T = {...await load("rebuild"), ...await load("transform"), ...await load("callers") },
      L = await load("layout");
export const label = await load("label"), color = await load("color"), search = await load("search"),
      S = await load("state"), V = await load("view"), time = await load("time"), C = await load("compare");

// ---- a model from [container, "comm/pid", "thread/tid", frames, count] ----

export function modelOf(stacks, meta = {}) {
  const names = [...new Set(stacks.flatMap((s) => s[3]))].sort();
  const strings = ["", ...names, "/lib/a.so", "/lib/b.so"];
  const n = names.length;
  const fun = {
    n,
    name: Int32Array.from(names, (_, i) => i + 1),
    module: Int32Array.from(names, (_, i) => n + 1 + i % 2),
    file: new Int32Array(n),
    build: new Int32Array(n),
    line: new Float64Array(n),
    kind: Uint8Array.from(names, (_, i) => i % 3)
  };
  const contexts = [], known = new Map();
  const context = (kind, name, id, key) => {
    if (!known.has(key)) {
      known.set(key, n + contexts.length);
      contexts.push({
        kind,
        name,
        container: "",
        appid: "",
        pid: kind === 1 ? id : 0,
        tid: kind === 2 ? id : 0,
        uid: 1
      });
    }
    return known.get(key);
  };
  const root = { item: -1, children: new Map(), self: 0 };
  for (const [c, p, t, frames, count] of stacks) {
    const [comm, pid] = p.split("/"), [thread, tid] = t.split("/");
    let at = root;
    for (const item of [context(0, c, 0, c), context(1, comm, +pid, c + p),
             context(2, thread, +tid, c + p + t), ...frames.map((f) => names.indexOf(f))]) {
      if (!at.children.has(item)) at.children.set(item, { item, children: new Map(), self: 0 });
      at = at.children.get(item);
    }
    at.self += count;
  }
  const item = [], children = [], self = [];
  const walk = (node) => {
    item.push(node.item);
    children.push(node.children.size);
    self.push(node.self);
    for (const c of [...node.children.values()].sort((a, b) => a.item - b.item)) walk(c);
  };
  walk(root);
  const tree = M.makeTree(Int32Array.from(item), Int32Array.from(children), new Uint8Array(item.length),
      [Float64Array.from(self)]);
  return M.makeModel({
    meta: { kinds: ["native", "kernel", "python"], values: [{ name: "samples", unit: "count" }], ...meta },
    strings,
    fun,
    contexts,
    tree
  });
}

export const STACKS = [
  ["", "app/1", "app/1", ["main", "a"], 70],
  ["", "app/1", "app/1", ["main", "a", "b", "c"], 15],
  ["", "app/1", "w/2", ["main", "a", "b", "a"], 5],
  ["", "app/3", "app/3", ["main", "b", "b", "b", "k"], 20],
  ["web", "nginx/4", "nginx/4", ["main", "k"], 30],
  ["web", "nginx/4", "nginx/4", ["x", "b"], 10],
  ["web", "nginx/4", "nginx/4", [], 3],
];
export const model = modelOf(STACKS);
export const ALL = STACKS.reduce((s, k) => s + k[4], 0);
export const itemOf = (name, m = model) =>
    Array.from({ length: m.fun.n }, (_, i) => i).find((i) => m.rawName(i) === name);
export const where = (f) => STACKS.filter(f).reduce((s, k) => s + k[4], 0);
export const ends = (tree) => {
  const out = new Map();
  for (let i = 0; i < tree.n; i++)
    if (tree.self[0][i]) {
      const path = [];
      for (let p = i; p > 0; p = tree.parent[p])
        path.push(model.isContext(tree.item[p]) ? null : model.rawName(tree.item[p]));
      const key = path.filter((x) => x !== null).reverse().join(";");
      out.set(key, (out.get(key) || 0) + tree.self[0][i]);
    }
  return out;
};
export function sane(tree) {
  let self = 0;
  for (let i = 0; i < tree.n; i++) {
    self += tree.self[0][i];
    assert.ok(tree.end[i] > i && tree.end[i] <= tree.n);
    let below = tree.self[0][i];
    for (let c = i + 1; c < tree.end[i]; c = tree.end[c]) {
      assert.equal(tree.parent[c], i);
      assert.equal(tree.depth[c], tree.depth[i] + 1);
      below += tree.total[0][c];
    }
    assert.equal(below, tree.total[0][i]);
  }
  assert.equal(self, tree.total[0][0]);
  return tree;
}
export const verb = (v, pattern, tree = model.tree) => sane(T.applyVerb(model, tree, { verb: v, pattern }));

export function containerOf(path) {
  const text = readFileSync(path, "latin1");
  const data = /<script type="text\/plain" id="profile">([A-Za-z0-9+/=]*)<\/script>/.exec(text);
  return new Uint8Array(gunzipSync(Buffer.from(data[1], "base64")));
}

// Times: stack s of STACKS ran in the slots of when[s], evenly.
export const WHEN = [[0, 1, 2, 3, 4, 5, 6], [2, 3, 4], [4], [0, 4], [1, 5, 9], [9], [8]];
export function withTimes(stacks = STACKS, when = WHEN) {
  const m = modelOf(stacks), counts = [];
  stacks.forEach((s, k) => {
    let i = 0; // follow the stack
    for (const want of [s[0], s[1].split("/")[0], s[2].split("/")[0], ...s[3]]) {
      const numbers = [, ...s[1].split("/").slice(1), ...s[2].split("/").slice(1)];
      for (let c = i + 1, end = m.tree.end[i]; c < end; c = m.tree.end[c]) {
        const x = m.isContext(m.tree.item[c]) && m.context(m.tree.item[c]);
        if (m.rawName(m.tree.item[c]) === want && (!x || !x.kind || String(x.pid || x.tid) === numbers[x.kind])) {
          i = c;
          break;
        }
      }
    }
    when[k].forEach((slot, j) => {
      const n = Math.floor(s[4] / when[k].length) + (j < s[4] % when[k].length ? 1 : 0);
      counts.push([i, slot, n]);
    });
  });
  for (let i = 1; i < m.tree.n; i++) // frames alone have flags, and not each place of a function the same
    if (!m.isContext(m.tree.item[i])) m.tree.flags[i] = i * 7 & 15;
  counts.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const column = (k) => Int32Array.from(counts, (c) => c[k]);
  m.times = { slotMs: 100, startMs: 40, slots: 10, node: column(0), slot: column(1), samples: column(2) };
  return m;
}
// Samples of a stack in slots [from, to).
export const ranIn = ([from, to]) => (s) => {
  const slots = WHEN[STACKS.indexOf(s)];
  return slots.reduce((sum, slot, j) => sum + (slot >= from && slot < to ? Math.floor(s[4] / slots.length) +
                                                       (j < s[4] % slots.length ? 1 : 0) : 0), 0);
};
