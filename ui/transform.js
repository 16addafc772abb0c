// SPDX-License-Identifier: Apache-2.0
// transform.js -- trees made of trees: filters, grouping, recursion, callers. No DOM.
//
// Every function returns a new tree and leaves its input alone. Sums are exact: a filter drops
// samples, a fold moves them to the nearest frame above, nothing is scaled. `where` of a new tree says
// where the samples of each node of the old one are now, -1 if they are gone.

import {CONTEXT} from "./model.js";
import {compose, emit, pairTable, preorder, prune, rebuild} from "./rebuild.js";

// ---- patterns: text | =exact | /re/ | mod:... | file:... | origin:... ----

export function compilePattern(text, {regex = false, matchCase = false} = {}) {
  let field = "name", body = text;
  const prefix = /^(mod|file|origin):/.exec(body);
  if (prefix) {
    field = prefix[1];
    body = body.slice(prefix[0].length);
  }
  if (body.startsWith("=")) return { field, test: (s) => s === body.slice(1) };
  const slashes = /^\/(.*)\/$/s.exec(body);
  if (slashes || regex) {
    const re = new RegExp(slashes ? slashes[1] : body, matchCase ? "" : "i"); // a bad one throws
    return { field, test: (s) => re.test(s) };
  }
  if (field === "origin") return { field, test: (s) => s === body };
  if (matchCase) return { field, part: body, test: (s) => s.includes(body) };
  const part = body.toLowerCase();
  return { field, part, lower: true, test: (s) => s.toLowerCase().includes(part) };
}

// One byte an item: does the pattern match it? Contexts match by shown name ("nginx (123)"). `among`:
// such bytes of a wider pattern.
export function matchItems(model, pattern, among) {
  const bits = new Uint8Array(model.nitems);
  const { fun, strings } = model;
  if (pattern.field === "origin") {
    for (let i = 0; i < fun.n; i++) bits[i] = pattern.test(model.origin(i)) ? 1 : 0;
    return bits;
  }
  const column = { name: fun.name, mod: fun.module, file: fun.file }[pattern.field];
  const known = new Int8Array(strings.length).fill(-1); // a string is tested once, whoever shares it
  if (pattern.lower && !model.lower) model.lower = strings.join("\0").toLowerCase().split("\0"); // at once: a call each takes longer
  const test = pattern.lower ? (s) => model.lower[s].includes(pattern.part) : (s) => pattern.test(strings[s]);
  for (let i = 0; i < fun.n; i++) {
    if (among && !among[i]) continue;
    const s = column[i];
    if (known[s] < 0) known[s] = test(s) ? 1 : 0;
    bits[i] = known[s];
  }
  if (pattern.field === "name") {
    for (let i = fun.n; i < model.nitems; i++)
      if (!among || among[i]) bits[i] = pattern.test(model.name(i)) || pattern.test(model.rawName(i)) ? 1 : 0;
  }
  return bits;
}

// ---- the five verbs ----

// A byte a node: is it, or a frame above it, matched?
export function coveredNodes(tree, bits) {
  const covered = new Uint8Array(tree.n);
  for (let i = 1; i < tree.n; i++) {
    if (bits[tree.item[i]]) {
      covered.fill(1, i, tree.end[i]);
      i = tree.end[i] - 1;
    }
  }
  return covered;
}

// Self values where the byte of a node is `want`, else 0.
export function selectSelf(tree, bytes, want) {
  return tree.self.map((column) => {
    const out = column.slice();
    for (let i = 0; i < out.length; i++)
      if (bytes[i] !== want) out[i] = 0;
    return out;
  });
}

export function keepStacks(tree, bits, drop = false) {
  return prune(tree, selectSelf(tree, coveredNodes(tree, bits), drop ? 0 : 1));
}

export function foldFrames(tree, bits, nitems) {
  return rebuild(tree, nitems, Int32Array.from({ length: nitems }, (_, item) => bits[item] ? -1 : item));
}

// Stacks start at their outermost match; contexts above stay; stacks without a match go.
export function startAt(tree, bits, nitems, isContext) {
  const covered = coveredNodes(tree, bits);
  const kept = keepStacks(tree, bits);
  const cover = kept.n === tree.n ? covered : coveredNodes(kept, bits);
  const out = rebuild(kept, nitems, (i) => cover[i] || isContext(kept.item[i]) ? kept.item[i] : -1);
  out.where = compose(kept.where, out.where);
  return out;
}

// What a matched frame calls becomes its own.
export function cutBelow(tree, bits) {
  const self = tree.self.map((column) => column.slice());
  const home = new Int32Array(tree.n);
  for (let i = 0; i < tree.n; i++) home[i] = i;
  for (let i = 1; i < tree.n; i++) {
    if (!bits[tree.item[i]]) continue;
    home.fill(i, i, tree.end[i]);
    for (let v = 0; v < self.length; v++) {
      self[v].fill(0, i + 1, tree.end[i]);
      self[v][i] = tree.total[v][i];
    }
    i = tree.end[i] - 1;
  }
  return prune(tree, self, home);
}

export function applyVerb(model, tree, {verb, pattern}) {
  const bits = matchItems(model, compilePattern(pattern));
  switch (verb) {
  case "k":
    return keepStacks(tree, bits);
  case "d":
    return keepStacks(tree, bits, true);
  case "m":
    return foldFrames(tree, bits, model.nitems);
  case "s":
    return startAt(tree, bits, model.nitems, model.isContext);
  case "x":
    return cutBelow(tree, bits);
  default:
    return tree;
  }
}

// ---- contexts ----

// filters: [{kind: "p"|"t"|"c"|"o", id, start}]. Of one kind any may hold, of different kinds all must.
export function selectContexts(model, tree, filters) {
  let where = null;
  for (const bits of contextBits(model, filters)) {
    tree = keepStacks(tree, bits);
    tree.where = where = compose(where, tree.where);
  }
  return tree;
}

// A byte an item for each kind of context that is filtered by: is it one of them?
export function contextBits(model, filters) {
  const kinds = [..."cpto"].map((kind) => filters.filter((f) => f.kind === kind)).filter((some) => some.length);
  return kinds.map((some) => Uint8Array.from({ length: model.nitems },
                       (_, item) => some.some((f) => contextMatches(model, item, f)) ? 1 : 0));
}

function contextMatches(model, item, f) {
  if (f.kind === "o") return !model.isContext(item) && model.origin(item) === f.id;
  if (!model.isContext(item)) return false;
  const c = model.context(item);
  if (f.kind === "c") return c.kind === CONTEXT.CONTAINER && c.name === f.id;
  if (f.kind === "p") {
    if (c.kind !== CONTEXT.PROCESS) return false;
    return !c.members && String(c.pid) === f.id && (!f.start || String(c.uid) === f.start) ||
           (f.id.startsWith("=") && c.name === f.id.slice(1));
  }
  return c.kind === CONTEXT.THREAD &&
         (String(c.tid) === f.id || (f.id.startsWith("=") && c.name === f.id.slice(1)));
}

// levels: any of c (container), n (processes of one name together), p (process), t (thread).
export function groupBy(model, tree, levels) {
  const together = new Map(), seen = new Uint8Array(model.contexts.length);
  for (let i = 1; i < tree.n; i++)
    if (model.isContext(tree.item[i])) seen[tree.item[i] - model.fun.n] = 1;
  model.contexts.forEach((c, i) => {
    if (c.kind !== CONTEXT.PROCESS || !(seen[i] || c.members)) return;
    if (c.members && !(together.get(c.name) < 0)) return; // one is left of it: that is who it is
    together.set(c.name, !c.members && together.has(c.name) ? -1 : model.fun.n + i);
  });
  const show = new Int32Array(model.nitems);
  for (let i = 0; i < model.fun.n; i++) show[i] = i;
  model.contexts.forEach((c, i) => {
    const item = model.fun.n + i, named = c.kind === CONTEXT.PROCESS && levels.includes("n");
    show[item] = levels.includes("cpt"[c.kind]) ? item : named ? together.get(c.name) : -1;
  });
  return rebuild(tree, model.nitems, show);
}

// ---- recursion and chains ----

// mode 1: f calling f is one frame. mode 2: any frame seen above in the stack is that frame again.
export function foldRecursion(tree, nitems, mode) {
  if (mode === 1)
    return rebuild(tree, nitems, (i, above) => above === tree.item[i] ? -1 : tree.item[i], true);
  return foldCycles(tree, nitems);
}

// Cycles: the stack goes back to the first frame of the function, and on from there.
function foldCycles(tree, nitems) {
  const n = tree.n, V = tree.self.length;
  const item = new Int32Array(n), parent = new Int32Array(n), flags = new Uint8Array(n);
  const self = tree.self.map(() => new Float64Array(n));
  const where = new Int32Array(n);
  const find = pairTable(n, parent, item);
  let count = 1;
  item[0] = -1;
  for (let i = 0; i < n; i++) {
    let to = 0;
    if (i) {
      const up = where[tree.parent[i]], it = tree.item[i];
      to = up;
      while (to > 0 && item[to] !== it) to = parent[to];
      if (to === 0) {
        to = find(up, it, count);
        if (to === count) {
          item[to] = it;
          parent[to] = up;
          count++;
        }
      }
    }
    flags[to] |= tree.flags[i];
    where[i] = to;
    for (let v = 0; v < V; v++) self[v][to] += tree.self[v][i];
  }
  const out = preorder(count, item, parent, flags, self, {}, nitems);
  out.where = where.map((w) => out.place[w]);
  return out;
}

// A frame whose only child holds 99 % of it takes the child in. Contexts stay.
export function foldChains(model, tree, u) {
  const total = tree.total[u];
  return rebuild(tree, model.nitems, (i) => {
    const p = tree.parent[i];
    const only = tree.end[p] === tree.end[i] && i === p + 1;
    const chain = p > 0 && only && Math.abs(total[i]) >= 0.99 * Math.abs(total[p]) &&
                  !model.isContext(tree.item[p]) && tree.end[i] > i + 1;
    return chain ? -1 : tree.item[i];
  }, true);
}

// ---- orders ----

// Siblings by weight, largest first.
export function byWeight(tree, width) {
  const { n, end } = tree, first = new Int32Array(n).fill(-1), next = new Int32Array(n).fill(-1), siblings = [];
  for (let p = 0; p < n; p++) {
    if (end[p] === p + 1) continue;
    siblings.length = 0;
    for (let c = p + 1; c < end[p]; c = end[c]) siblings.push(c);
    if (siblings.length > 1) siblings.sort((a, b) => width[b] - width[a] || a - b);
    first[p] = siblings[0];
    for (let k = 1; k < siblings.length; k++) next[siblings[k - 1]] = siblings[k];
  }
  const extra = {};
  for (const key of ["repeat", "from", "to"])
    if (tree[key]) extra[key] = tree[key];
  const out = emit(n, tree.item, tree.parent, tree.flags, tree.self, extra, first, next);
  out.occurrences = tree.occurrences;
  return out;
}

// ---- sums by function ----

// Self, recursion-safe total and number of frames by key(item) (an integer < nkeys, or -1) of the
// nodes [from, to) of a tree. A nested frame lies before the end of the outer one: no stack needed.
export function tableOf(tree, nkeys, key, from = 0, to = tree.n) {
  const V = tree.self.length;
  const covered = new Int32Array(nkeys);
  const out = {
    frames: new Int32Array(nkeys),
    self: tree.self.map(() => new Float64Array(nkeys)),
    total: tree.self.map(() => new Float64Array(nkeys)),
  };
  for (let i = Math.max(from, tree.item[0] < 0 ? 1 : 0); i < to; i++) {
    const k = key(tree.item[i]);
    if (k < 0) continue;
    out.frames[k]++;
    for (let v = 0; v < V; v++) out.self[v][k] += tree.self[v][i];
    if (i < covered[k]) continue;
    covered[k] = tree.end[i];
    for (let v = 0; v < V; v++) out.total[v][k] += tree.total[v][i];
  }
  return out;
}
