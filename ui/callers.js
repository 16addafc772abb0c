// SPDX-License-Identifier: Apache-2.0
// callers.js -- trees turned around a function: who calls it, what it calls. No DOM.

import {ascending, prune, rebuild} from "./rebuild.js";
import {selectSelf} from "./transform.js";
import {sums} from "./model.js";

// Lists of {node, amount a value type} one behind the other, longer when needed.
function createPool(V) {
  const pool = { used: 0, nodes: new Int32Array(1024), amounts: Array.from({ length: V }, () => new Float64Array(1024)) };
  const longer = (column, size) => {
    const out = new column.constructor(size);
    out.set(column);
    return out;
  };
  pool.reserve = (more) => {
    let size = pool.nodes.length;
    if (pool.used + more <= size) return;
    while (size < pool.used + more) size *= 2;
    pool.nodes = longer(pool.nodes, size);
    pool.amounts = pool.amounts.map((column) => longer(column, size));
  };
  return pool;
}

// The tree turned around, grown only where `grow(i, item, parent, total)` says so: whole it is many
// times the size of what it is made of. seeds: {nodes, amounts}, by whose items the roots are; amounts[v][k]
// is what node k brings. An unexpanded node has `more` set. What went into a node is occurrences[from, to).
export function invert(tree, seeds, grow) {
  const V = tree.self.length, { item: items, parent: parents } = tree, pool = createPool(V);
  let nitems = 0;
  for (let i = 0; i < tree.n; i++)
    if (items[i] >= nitems) nitems = items[i] + 1;
  const item = [-1], parent = [-1], depth = [0], more = [0], from = [0], to = [0];
  const total = Array.from({ length: V }, () => [0]), self = Array.from({ length: V }, () => [0]);
  const count = new Int32Array(nitems), place = new Int32Array(nitems), found = new Int32Array(nitems);
  // Depth first and in the order of items, so that indices are in preorder: item, parent, from, to.
  const todo = [];
  // Entries a to b of a list, seeds or what node `up` is made of, by the item next to them.
  const gather = ({ nodes, amounts }, a, b, up) => {
    let kinds = 0;
    for (let k = a; k < b; k++) {
      const p = up ? parents[nodes[k]] : nodes[k];
      if (p > 0) {
        if (!count[items[p]]++) found[kinds++] = items[p];
      } else {
        for (let v = 0; v < V; v++) self[v][up] += amounts[v][k];
      }
    }
    ascending(found, kinds);
    pool.reserve(b - a);
    for (let k = 0; k < kinds; k++) {
      place[found[k]] = pool.used;
      pool.used += count[found[k]];
    }
    for (let k = a; k < b; k++) {
      const p = up ? parents[nodes[k]] : nodes[k];
      if (p <= 0) continue;
      const at = place[items[p]]++;
      pool.nodes[at] = p;
      for (let v = 0; v < V; v++) pool.amounts[v][at] = amounts[v][k];
    }
    for (let k = kinds; k--;) {
      const it = found[k];
      todo.push(it, up, place[it] - count[it], place[it]);
      count[it] = 0;
    }
  };
  gather(seeds, 0, seeds.nodes.length, 0);
  while (todo.length) {
    const b = todo.pop(), a = todo.pop(), up = todo.pop(), i = item.length;
    item.push(todo.pop());
    parent.push(up);
    depth.push(depth[up] + 1);
    from.push(a);
    to.push(b);
    for (let v = 0; v < V; v++) {
      const column = pool.amounts[v];
      let sum = 0;
      for (let k = a; k < b; k++) sum += column[k];
      total[v].push(sum);
      self[v].push(0);
      if (!up) total[v][0] += sum;
    }
    const open = grow(i, item, parent, total);
    more.push(open ? 0 : 1);
    if (open)
      gather({ nodes: pool.nodes, amounts: pool.amounts }, a, b, i);
    else
      for (let v = 0; v < V; v++) self[v][i] = total[v][i];
  }
  return sums({
    n: item.length,
    item: Int32Array.from(item),
    parent: Int32Array.from(parent),
    depth: Int32Array.from(depth),
    flags: new Uint8Array(item.length),
    self: self.map((c) => Float64Array.from(c)),
    more: Uint8Array.from(more),
    from: Int32Array.from(from),
    to: Int32Array.from(to),
    occurrences: { nodes: pool.nodes, amounts: pool.amounts }
  });
}

// Seeds of the callers-first view: every function (or context) by its self samples.
export function selfSeeds(tree) {
  const { n, self } = tree, some = new Int32Array(n);
  let m = 0;
  for (let i = 1; i < n; i++) {
    for (let v = 0; v < self.length; v++) {
      if (!self[v][i]) continue;
      some[m++] = i;
      break;
    }
  }
  const nodes = some.slice(0, m);
  return { nodes, amounts: self.map((column) => Float64Array.from(nodes, (i) => column[i])) };
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
  return { nodes, amounts: tree.total.map((t) => nodes.map((i) => t[i])) };
}

// What an item calls, all its outermost places merged: a tree whose node 0 is that item.
export function callees(tree, item, nitems) {
  const inside = new Uint8Array(tree.n);
  for (const i of outermost(tree, item)) inside.fill(1, i, tree.end[i]);
  const self = selectSelf(tree, inside, 1);
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
