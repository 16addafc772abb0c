// SPDX-License-Identifier: Apache-2.0
// rebuild.js -- trees put together anew: pruned, merged, reordered. No DOM.
//
// Every function returns a new tree and leaves its input alone. `where` of a new tree says where the samples
// of each node of the old one are now, -1 if they are gone. Columns are written front to back by index; there
// is no object a node, and what merges with nothing is copied as it stands.

import {ends, FLAG, sums} from "./model.js";

// where of the second step, seen from before the first.
export function compose(first, second) {
  if (!first) return second;
  const out = new Int32Array(first.length);
  for (let i = 0; i < out.length; i++) out[i] = first[i] < 0 ? -1 : second[first[i]];
  return out;
}

// ---- folding and merging ----

// A tree of n nodes without a value in any column, and without values.
function shapeOf(n) {
  const column = () => new Int32Array(n);
  return { n, item: column(), parent: column(), depth: column(), end: column(), flags: new Uint8Array(n) };
}

function shortened(tree, n) {
  if (n < tree.n) {
    for (const key of ["item", "parent", "depth", "end", "flags", "repeat"])
      if (tree[key]) tree[key] = tree[key].subarray(0, n);
    for (const key of ["self", "total"]) tree[key] = tree[key].map((column) => column.subarray(0, n));
    tree.n = n;
  }
  ends(tree);
  return tree;
}

// The first `count` numbers of a list, ascending.
export function ascending(list, count) {
  if (count > 24) {
    list.subarray(0, count).sort();
    return;
  }
  for (let k = 1; k < count; k++) {
    const v = list[k];
    let j = k;
    for (; j > 0 && list[j - 1] > v; j--) list[j] = list[j - 1];
    list[j] = v;
  }
}

// choose(i, above) -> item to keep node i under, or -1 to give its samples to the frame above; or a column of that by
// the item there is. Siblings come out by item, those of one item as one. With countFolds, repeat[node] is the longest line of nodes that went into it,
// and `above` the kept item above.
export function rebuild(src, nitems, choose, countFolds = false) {
  const { n, item, parent, end, self, total, flags, repeat } = src, V = self.length;
  const key = new Int32Array(n), kept = countFolds && new Int32Array(n), runs = countFolds && new Int32Array(n);
  // Nodes that are not what they were: another item, folded away, or not before their next sibling in the order of
  // items (1); those above them (2). What has none below it is copied.
  const changed = new Uint8Array(n);
  key[0] = item[0];
  if (countFolds) kept[0] = item[0];
  if (countFolds) {
    for (let i = 1; i < n; i++) {
      const p = parent[i], it = key[i] = choose(i, kept[p]);
      kept[i] = it < 0 ? kept[p] : it;
      if (it < 0) runs[i] = runs[p] + 1;
    }
  } else if (typeof choose === "function") {
    for (let i = 1; i < n; i++) key[i] = choose(i);
  } else {
    for (let i = 1; i < n; i++) key[i] = choose[item[i]];
  }
  for (let i = 1; i < n; i++) {
    const p = parent[i], it = key[i], after = end[i];
    if (it !== item[i] || (after < end[p] && item[after] <= it)) changed[i] = 1;
  }
  for (let i = n - 1; i > 0; i--)
    if (changed[i]) changed[parent[i]] |= 2;
  const where = new Int32Array(n), out = shapeOf(n), column = () => new Float64Array(n);
  out.self = self.map(column);
  out.total = self.map(column);
  if (countFolds || repeat) out.repeat = new Int32Array(n);
  const { parent: outParent, depth: outDepth, repeat: outRepeat, self: outSelf, total: outTotal } = out;
  // Nodes that become one are a list through `next`. A list waits on the stack for its place in preorder.
  const next = new Int32Array(n), lists = new Int32Array(n), ups = new Int32Array(n);
  const head = new Int32Array(nitems).fill(-1), found = new Int32Array(nitems);
  let top = 1, count = 0;
  next[0] = ups[0] = -1;
  while (top) {
    const first = lists[--top], up = ups[top], at = count++;
    outParent[at] = up;
    outDepth[at] = up < 0 ? 0 : outDepth[up] + 1;
    if (end[first] > first + 1 && next[first] < 0 && !(changed[first] & 2)) {
      copySubtree(src, first, out, at, where);
      out.item[at] = key[first];
      count += end[first] - first - 1;
      continue;
    }
    out.item[at] = key[first];
    let any = 0, all = 255, kinds = 0;
    for (let s = first; s >= 0; s = next[s]) {
      where[s] = at;
      any |= flags[s];
      all &= flags[s];
      if (repeat && repeat[s] > outRepeat[at]) outRepeat[at] = repeat[s];
      for (let v = 0; v < V; v++) {
        outSelf[v][at] += self[v][s];
        outTotal[v][at] += total[v][s];
      }
      for (let c = s + 1; c < end[s];) {
        const it = key[c];
        if (it < 0) { // its children are of this node then
          where[c] = at;
          if (countFolds && runs[c] > outRepeat[at]) outRepeat[at] = runs[c];
          for (let v = 0; v < V; v++) outSelf[v][at] += self[v][c];
          c++;
        } else {
          if (head[it] < 0) found[kinds++] = it;
          next[c] = head[it];
          head[it] = c;
          c = end[c];
        }
      }
    }
    out.flags[at] = any & ~FLAG.INLINED | all & FLAG.INLINED;
    ascending(found, kinds);
    for (let k = kinds; k--;) {
      lists[top] = head[found[k]];
      head[found[k]] = -1;
      ups[top++] = at;
    }
  }
  shortened(out, count);
  out.where = where;
  return out;
}

// The subtree of a node as it is, to the place of one that has its parent and depth.
function copySubtree(src, from, out, to, where) {
  const { item, parent, depth, end, flags, repeat } = src, last = end[from];
  const { item: outItem, parent: outParent, depth: outDepth, end: outEnd, flags: outFlags } = out;
  const by = to - from, deeper = outDepth[to] - depth[from];
  for (let i = from; i < last; i++) {
    const at = i + by;
    if (i > from) {
      outParent[at] = parent[i] + by;
      outDepth[at] = depth[i] + deeper;
    }
    outItem[at] = item[i];
    outEnd[at] = end[i] + by;
    outFlags[at] = flags[i];
    if (repeat) out.repeat[at] = repeat[i];
    where[i] = at;
  }
  for (let v = 0; v < src.self.length; v++) {
    const self = src.self[v], total = src.total[v], outSelf = out.self[v], outTotal = out.total[v];
    for (let i = from; i < last; i++) {
      outSelf[i + by] = self[i];
      outTotal[i + by] = total[i];
    }
  }
}

// Keeps nodes that still have samples below them (of any value type), with the self values `self`, which the tree
// takes over. where(): see compose(); `home`: to which node the samples of each went, -1 gone; by default those that
// have a value stay. What nobody needs is not written: in a page just opened memory costs more than work.
export function pruned(src, self, home) {
  const { n, item, parent, end, depth, flags, repeat } = src, live = new Uint8Array(n), place = new Int32Array(n + 1);
  const has = home ? 3 : 1; // of live: 1 samples of its own, 2 below it
  for (const column of self)
    for (let i = 0; i < n; i++)
      if (column[i]) live[i] = 1;
  live[0] |= 2;
  for (let i = n - 1; i > 0; i--)
    if (live[i]) live[parent[i]] |= 2;
  let count = 0;
  for (let i = 0; i < n; i++) {
    place[i] = count;
    if (live[i]) count++;
  }
  place[n] = count;
  const tree = count === n ? { n, item, parent, end, depth, flags } : shapeOf(count);
  if (repeat) tree.repeat = count === n ? repeat : new Int32Array(count);
  if (count < n) {
    const { item: outItem, parent: outParent, depth: outDepth, end: outEnd, flags: outFlags, repeat: outRepeat } = tree;
    for (let i = 0; i < n; i++) {
      if (!live[i]) continue;
      const t = place[i];
      outItem[t] = item[i];
      outParent[t] = i ? place[parent[i]] : -1;
      outDepth[t] = depth[i];
      outEnd[t] = place[end[i]];
      outFlags[t] = flags[i];
      if (repeat) outRepeat[t] = repeat[i];
      for (const column of self) column[t] = column[i]; // t <= i: what is still to be read stands
    }
  }
  tree.self = self.map((column) => column.subarray(0, count));
  sums(tree);
  const where = () => {
    const out = new Int32Array(n);
    for (let i = 0; i < n; i++) out[i] = live[i] & has ? place[i] : -1;
    return home ? compose(home, out) : out;
  };
  return { tree, where };
}

export function prune(src, self, home) {
  const { tree, where } = pruned(src, self, home);
  tree.where = where();
  return tree;
}

// The frames of which a part of at least `share` of the root's passes, by any value type, and those they call; what
// is below a narrower one is its own. entire(item): never taken for narrow.
export function trimmed(src, share, entire) {
  const { n, item, depth, end, flags, self, total } = src, kept = new Int32Array(n), least = total.map((t) => t[0] * share);
  const [first] = total, [leastOfFirst] = least;
  const narrow = (i) => !entire(item[i]) && total.every((t, v) => t[i] < least[v]);
  let count = 0;
  for (let i = 0; i < n;) {
    kept[count++] = i;
    i = i && first[i] < leastOfFirst && narrow(i) ? end[i] : i + 1;
  }
  const out = shapeOf(count), above = [];
  out.self = self.map(() => new Float64Array(count));
  for (let at = 0; at < count; at++) {
    const i = kept[at], d = out.depth[at] = depth[i], next = at + 1 < count ? kept[at + 1] : n;
    above[d] = at;
    out.item[at] = item[i];
    out.parent[at] = d ? above[d - 1] : -1;
    out.flags[at] = flags[i];
    for (let v = 0; v < self.length; v++) out.self[v][at] = (next === end[i] ? total : self)[v][i];
  }
  ends(out);
  return sums(out);
}

// ---- from lists ----

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
