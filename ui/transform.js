// SPDX-License-Identifier: Apache-2.0
// transform.js -- trees made of trees: filters, grouping, recursion, callers. No DOM.
//
// Every function returns a new tree and leaves its input alone. Sums are exact: a filter drops
// samples, a fold moves them to the nearest frame above, nothing is scaled. `where` of a new tree says
// where the samples of each node of the old one are now, -1 if they are gone.

import {FLAG, CONTEXT, sums} from "./model.js";

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
  if (pattern.lower && !model.lower) model.lower = strings.map((s) => s.toLowerCase());
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

// ---- rebuilding ----

// Open addressing over the (parent, item) pairs of at most n nodes: which node it is, or `next`, the one it
// becomes; who asks writes it down in the two columns then.
export function pairTable(n, parent, item) {
  let size = 16;
  while (size < n * 2) size *= 2;
  const nodes = new Int32Array(size); // 0 is free: the root is nobody's child
  return (up, it, next) => {
    let h = Math.imul(up + 1, 0x9e3779b1) ^ Math.imul(it + 2, 0x85ebca6b);
    h = (h ^ h >>> 15) & size - 1;
    for (;;) {
      const at = nodes[h];
      if (!at) return nodes[h] = next;
      if (parent[at] === up && item[at] === it) return at;
      h = h + 1 & size - 1;
    }
  };
}

// where of the second step, seen from before the first.
export function compose(first, second) {
  if (!first) return second;
  const out = new Int32Array(first.length);
  for (let i = 0; i < out.length; i++) out[i] = first[i] < 0 ? -1 : second[first[i]];
  return out;
}

// Nodes in any order whose parents precede them -> a tree in preorder, siblings by item.
export function preorder(n, item, parent, flags, self, extra, nitems) {
  const head = new Int32Array(nitems + 1).fill(-1), chain = new Int32Array(n);
  const first = new Int32Array(n).fill(-1), next = new Int32Array(n).fill(-1);
  for (let i = 1; i < n; i++) {
    chain[i] = head[item[i] + 1];
    head[item[i] + 1] = i;
  }
  for (let k = nitems; k >= 0; k--) {
    for (let i = head[k]; i >= 0; i = chain[i]) {
      next[i] = first[parent[i]];
      first[parent[i]] = i;
    }
  }
  return emit(n, item, parent, flags, self, extra, first, next);
}

export function emit(n, item, parent, flags, self, extra, first, next) {
  const place = new Int32Array(n);
  const out = {
    n,
    item: new Int32Array(n),
    parent: new Int32Array(n),
    depth: new Int32Array(n),
    flags: new Uint8Array(n),
    self: self.map(() => new Float64Array(n)),
  };
  for (const key in extra) out[key] = new extra[key].constructor(n);
  let i = 0;
  for (let at = 0; at < n; at++) {
    place[i] = at;
    const p = i ? place[parent[i]] : -1;
    out.item[at] = item[i];
    out.parent[at] = p;
    out.depth[at] = p < 0 ? 0 : out.depth[p] + 1;
    out.flags[at] = flags[i];
    for (let v = 0; v < self.length; v++) out.self[v][at] = self[v][i];
    for (const key in extra) out[key][at] = extra[key][i];
    if (first[i] >= 0) {
      i = first[i];
    } else {
      while (i > 0 && next[i] < 0) i = parent[i];
      i = next[i];
    }
  }
  sums(out);
  out.place = place;
  return out;
}

// choose(i, parentOut) -> item to keep under, -1 to give the node's samples to the frame above,
// -2 to leave the whole subtree out. `where[i]` of the result: the node of the new tree.
// With countFolds, repeat[node] is the longest line of nodes that went into it.
export function rebuild(src, nitems, choose, countFolds = false) {
  const n = src.n, V = src.self.length;
  const item = new Int32Array(n), parent = new Int32Array(n), flags = new Uint8Array(n);
  const self = src.self.map(() => new Float64Array(n));
  const merged = new Int32Array(n);
  const runs = countFolds ? new Int32Array(n) : null;
  const where = new Int32Array(n).fill(-1);
  const find = pairTable(n, parent, item);
  let count = 1;
  item[0] = src.item[0];
  where[0] = 0;
  for (let v = 0; v < V; v++) self[v][0] = src.self[v][0];
  for (let i = 1; i < n; i++) {
    const up = where[src.parent[i]];
    const it = choose(i, up, item, parent);
    if (it === -2) {
      i = src.end[i] - 1;
      continue;
    }
    let to = up;
    if (it >= 0) {
      to = find(up, it, count);
      if (to === count) {
        item[to] = it;
        parent[to] = up;
        flags[to] = src.flags[i];
        count++;
      } else {
        flags[to] = (flags[to] | src.flags[i]) & ~FLAG.INLINED | flags[to] & src.flags[i] & FLAG.INLINED;
      }
      if (src.repeat && src.repeat[i] > merged[to]) merged[to] = src.repeat[i];
    } else if (countFolds) {
      runs[i] = runs[src.parent[i]] + 1;
      if (runs[i] > merged[to]) merged[to] = runs[i];
    }
    where[i] = to;
    for (let v = 0; v < V; v++) self[v][to] += src.self[v][i];
  }
  const out = preorder(count, item, parent, flags, self, { repeat: merged }, nitems);
  for (let i = 0; i < n; i++)
    if (where[i] >= 0) where[i] = out.place[where[i]];
  out.where = where;
  return out;
}

// Keeps nodes that still have samples below them (of any value type); self replaced by `self`. `home`:
// to which node the samples of each went, -1 gone; by default those that have a value stay.
export function prune(src, self, home) {
  const n = src.n;
  const live = new Uint8Array(n);
  for (const column of self)
    for (let i = 0; i < n; i++)
      if (column[i]) live[i] = 1;
  for (let i = n - 1; i > 0; i--)
    if (live[i]) live[src.parent[i]] = 1;
  live[0] = 1;
  const to = new Int32Array(n).fill(-1);
  let count = 0;
  for (let i = 0; i < n; i++)
    if (live[i]) to[i] = count++;
  const out = {
    n: count,
    item: new Int32Array(count),
    parent: new Int32Array(count),
    depth: new Int32Array(count),
    flags: new Uint8Array(count),
    self: self.map(() => new Float64Array(count)),
  };
  if (src.repeat) out.repeat = new Int32Array(count);
  for (let i = 0; i < n; i++) {
    const t = to[i];
    if (t < 0) continue;
    out.item[t] = src.item[i];
    out.parent[t] = i ? to[src.parent[i]] : -1;
    out.depth[t] = src.depth[i];
    out.flags[t] = src.flags[i];
    if (src.repeat) out.repeat[t] = src.repeat[i];
  }
  self.forEach((column, v) => {
    const into = out.self[v];
    for (let i = 0; i < n; i++)
      if (to[i] >= 0) into[to[i]] = column[i];
  });
  if (home) {
    out.where = compose(home, to);
  } else {
    out.where = new Int32Array(n).fill(-1);
    for (const column of self)
      for (let i = 0; i < n; i++)
        if (column[i]) out.where[i] = to[i];
  }
  return sums(out);
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

function selectSelf(tree, keep) {
  return tree.self.map((column) => {
    const out = new Float64Array(tree.n);
    for (let i = 0; i < tree.n; i++)
      if (keep(i)) out[i] = column[i];
    return out;
  });
}

export function keepStacks(tree, bits, drop = false) {
  const covered = coveredNodes(tree, bits), want = drop ? 0 : 1;
  return prune(tree, selectSelf(tree, (i) => covered[i] === want));
}

export function foldFrames(tree, bits, nitems) {
  return rebuild(tree, nitems, (i) => bits[tree.item[i]] ? -1 : tree.item[i]);
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
  const self = tree.self.map((column) => Float64Array.from(column));
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
  for (const kind of ["c", "p", "t", "o"]) {
    const some = filters.filter((f) => f.kind === kind);
    if (!some.length) continue;
    const bits = new Uint8Array(model.nitems);
    for (let item = 0; item < model.nitems; item++)
      bits[item] = some.some((f) => contextMatches(model, item, f)) ? 1 : 0;
    tree = keepStacks(tree, bits);
    tree.where = where = compose(where, tree.where);
  }
  return tree;
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
  const show = new Int32Array(model.contexts.length).fill(-1);
  model.contexts.forEach((c, i) => {
    const item = model.fun.n + i;
    if (c.kind === CONTEXT.CONTAINER && levels.includes("c")) show[i] = item;
    if (c.kind === CONTEXT.THREAD && levels.includes("t")) show[i] = item;
    if (c.kind === CONTEXT.PROCESS) {
      if (levels.includes("p")) {
        show[i] = item;
      } else if (levels.includes("n")) {
        show[i] = together.get(c.name);
      }
    }
  });
  return rebuild(tree, model.nitems,
      (i) => model.isContext(tree.item[i]) ? show[tree.item[i] - model.fun.n] : tree.item[i]);
}

// ---- recursion and chains ----

// mode 1: f calling f is one frame. mode 2: any frame seen above in the stack is that frame again.
export function foldRecursion(tree, nitems, mode) {
  if (mode === 1)
    return rebuild(tree, nitems, (i, up, item) => item[up] === tree.item[i] ? -1 : tree.item[i], true);
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
  const n = tree.n;
  const first = new Int32Array(n).fill(-1), next = new Int32Array(n).fill(-1);
  const order = new Int32Array(n > 0 ? n - 1 : 0).map((_, i) => i + 1);
  order.sort((a, b) => width[a] - width[b] || b - a); // lightest first: each goes before the last
  for (const i of order) {
    next[i] = first[tree.parent[i]];
    first[tree.parent[i]] = i;
  }
  const extra = tree.repeat ? { repeat: tree.repeat } : {};
  const out = emit(n, tree.item, tree.parent, tree.flags, tree.self, extra, first, next);
  if (tree.occurrences) {
    out.occurrences = [];
    out.place.forEach((to, from) => { out.occurrences[to] = tree.occurrences[from]; });
  }
  return out;
}

// ---- callers ----

// The tree turned around, grown only where `grow(total, depth, start)` says so: whole it is many
// times the size of what it is made of. seeds: [{item, nodes, amounts}] = the roots; amounts[v][k] is
// what node k brings. An unexpanded node has `more` set.
export function invert(tree, seeds, grow, stopAtContext) {
  const V = tree.self.length;
  const item = [-1], parent = [-1], depth = [0], more = [0], flags = [0];
  const total = Array.from({ length: V }, () => [0]), self = Array.from({ length: V }, () => [0]);
  const occurrences = [null];
  const add = (it, up, nodes, amounts) => {
    const i = item.length;
    item.push(it);
    parent.push(up);
    depth.push(depth[up] + 1);
    more.push(0);
    flags.push(0);
    for (let v = 0; v < V; v++) {
      let sum = 0;
      for (const a of amounts[v]) sum += a;
      total[v].push(sum);
      self[v].push(0);
    }
    occurrences.push({ nodes, amounts });
    return i;
  };
  // Depth first and in the order of items, so that indices are in preorder.
  const todo = [];
  const push = (list, up) => {
    list.sort((a, b) => b.item - a.item);
    for (const s of list) todo.push([s, up]);
  };
  push(seeds, 0);
  while (todo.length) {
    const [s, up] = todo.pop();
    const i = add(s.item, up, s.nodes, s.amounts);
    if (up === 0)
      for (let v = 0; v < V; v++) total[v][0] += total[v][i];
    if (!grow(i, item, parent, total)) {
      more[i] = 1;
      for (let v = 0; v < V; v++) self[v][i] = total[v][i];
      continue;
    }
    const groups = new Map();
    for (let k = 0; k < s.nodes.length; k++) {
      const p = tree.parent[s.nodes[k]];
      if (p <= 0 || (stopAtContext && stopAtContext(tree.item[p]))) {
        for (let v = 0; v < V; v++) self[v][i] += s.amounts[v][k];
        continue;
      }
      let g = groups.get(tree.item[p]);
      if (!g)
        groups.set(tree.item[p],
            g = { item: tree.item[p], nodes: [], amounts: Array.from({ length: V }, () => []) });
      g.nodes.push(p);
      for (let v = 0; v < V; v++) g.amounts[v].push(s.amounts[v][k]);
    }
    push([...groups.values()], i);
  }
  const out = {
    n: item.length,
    item: Int32Array.from(item),
    parent: Int32Array.from(parent),
    depth: Int32Array.from(depth),
    flags: Uint8Array.from(flags),
    self: self.map((c) => Float64Array.from(c)),
    more: Uint8Array.from(more),
  };
  sums(out);
  out.occurrences = occurrences;
  return out;
}

// Seeds of the callers-first view: every function (or context) by its self samples.
export function selfSeeds(tree) {
  const V = tree.self.length, seeds = new Map();
  for (let i = 1; i < tree.n; i++) {
    let some = false;
    for (let v = 0; v < V; v++)
      if (tree.self[v][i]) some = true;
    if (!some) continue;
    let s = seeds.get(tree.item[i]);
    if (!s)
      seeds.set(
          tree.item[i], s = { item: tree.item[i], nodes: [], amounts: Array.from({ length: V }, () => []) });
    s.nodes.push(i);
    for (let v = 0; v < V; v++) s.amounts[v].push(tree.self[v][i]);
  }
  return [...seeds.values()];
}

// Outermost nodes of an item: recursion counts once.
export function outermost(tree, item) {
  const nodes = [];
  for (let i = 1; i < tree.n; i++) {
    if (tree.item[i] === item) {
      nodes.push(i);
      i = tree.end[i] - 1;
    }
  }
  return nodes;
}

export function totalSeeds(tree, item) {
  const nodes = outermost(tree, item);
  return [{ item, nodes, amounts: tree.total.map((t) => nodes.map((i) => t[i])) }];
}

// What an item calls, all its outermost places merged: a tree whose node 0 is that item.
export function callees(tree, item, nitems) {
  const inside = new Uint8Array(tree.n);
  for (const i of outermost(tree, item)) inside.fill(1, i, tree.end[i]);
  const self = selectSelf(tree, (i) => inside[i]);
  const kept = prune(tree, self);
  const cover = new Uint8Array(kept.n);
  const top = new Uint8Array(kept.n);
  for (const i of outermost(kept, item)) {
    cover.fill(1, i, kept.end[i]);
    top[i] = 1;
  }
  const out = rebuild(kept, nitems, (i) => cover[i] && !top[i] ? kept.item[i] : -1);
  out.item[0] = item;
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
