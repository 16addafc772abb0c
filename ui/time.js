// SPDX-License-Identifier: Apache-2.0
// time.js -- what ran when: sums by slot, a part of the time, calls in the order of time. No DOM.
//
// Times stand by node of the file's tree (model.times); `where` says where those nodes' samples are in
// the tree at hand (transform.js). They count value 0; other values of a node are shared out alike.

import {compose, emit, prune} from "./rebuild.js";

const CHART_COUNTS = 16384; // of which the like is probable
const CHART_NODES = 120000; // more than a screen can show: slots are taken together then

// "from,to" in milliseconds from the profile's start -> [first slot, slot after the last], or null.
export function slotRange(times, text) {
  if (!times || !text) return null;
  const [a, b] = text.split(",").map((ms) => Math.round((Number(ms) - times.startMs) / times.slotMs));
  const from = Math.max(0, Math.min(times.slots - 1, a));
  return [from, Math.max(from + 1, Math.min(times.slots, b))];
}

export function rangeText(times, [from, to]) {
  const ms = (slot) => Math.round(times.startMs + slot * times.slotMs);
  return `${ms(from)},${ms(to)}`;
}

// The samples of a tree taken in a range of slots.
export function sliceTime(model, tree, where, range) {
  const out = prune(tree, slicedSelf(model, tree, where, range));
  out.where = compose(where, out.where);
  return out;
}

export function slicedSelf(model, tree, where, [from, to]) {
  const { times } = model, all = model.tree.self;
  const self = tree.self.map(() => new Float64Array(tree.n));
  for (let k = 0; k < times.node.length; k++) {
    if (times.slot[k] < from || times.slot[k] >= to) continue;
    const i = times.node[k], at = where ? where[i] : i;
    if (at < 0) continue;
    self[0][at] += times.samples[k];
    for (let v = 1; v < self.length; v++) self[v][at] += times.samples[k] * (all[v][i] / all[0][i] || 0);
  }
  return self;
}

// Samples by slot and class: sums[class][slot]; classOf(node of the file's tree) -> class or -1.
export function slotSums(model, where, nclasses, classOf) {
  const { times } = model;
  const sums = Array.from({ length: nclasses }, () => new Float64Array(times.slots));
  for (let k = 0; k < times.node.length; k++) {
    const i = times.node[k];
    if (where && where[i] < 0) continue;
    const c = classOf(i);
    if (c >= 0) sums[c][times.slot[k]] += times.samples[k];
  }
  return sums;
}

// The calls of a tree in the order of time: contexts as they are, and in each of them a frame goes on
// for as long as one sample after the other is below it; the same call later is another box.
export function chronological(model, tree, where, range) {
  const least = Math.max(0, Math.ceil(Math.log2(model.times.node.length / CHART_COUNTS)));
  for (let together = 2 ** least;;) {
    const out = chart(model, tree, where, range, together);
    if (typeof out !== "number") return out;
    // At best, so many times fewer boxes.
    together = Math.min(model.times.slots, together * 2 ** Math.max(1, Math.ceil(Math.log2(1 / out))));
  }
}

// Indices of counts in a range, by slot and within one by their node in the tree: two counting sorts.
function inOrder(times, home, n, [from, to], together) {
  const chosen = new Int32Array(home.length);
  let m = 0;
  for (let k = 0; k < home.length; k++)
    if (home[k] >= 0 && times.slot[k] >= from && times.slot[k] < to) chosen[m++] = k;
  const sorted = (list, keys, key) => {
    const start = new Int32Array(keys + 1), out = new Int32Array(list.length);
    for (const k of list) start[key(k) + 1]++;
    for (let i = 0; i < keys; i++) start[i + 1] += start[i];
    for (const k of list) out[start[key(k)]++] = k;
    return out;
  };
  const byNode = sorted(chosen.subarray(0, m), n, (k) => home[k]);
  return sorted(byNode, Math.ceil(times.slots / together), (k) => times.slot[k] / together | 0);
}

// The nearest context at or above each node of a tree.
function contextOf(model, { n, item, parent }) {
  const out = new Int32Array(n);
  for (let i = 1; i < n; i++) out[i] = model.isContext(item[i]) ? i : out[parent[i]];
  return out;
}

// The part of the samples that had room, where they do not all have.
function chart(model, tree, where, range, together) {
  const { times } = model, V = tree.self.length, all = model.tree.self, most = CHART_NODES + tree.n;
  const home = where ? compose(times.node, where) : times.node, contexts = contextOf(model, tree);
  const column = () => new Int32Array(most);
  const item = column(), parent = column(), first = column(), next = column(), last = column(), repeat = column();
  const flags = new Uint8Array(most), self = tree.self.map(() => new Float64Array(most));
  // The box of each node that has one; of each context, the nodes that are open below it, by depth.
  const latest = new Int32Array(tree.n).fill(-1), open = [], path = [];
  let n = 1;
  latest[0] = 0;
  item[0] = tree.item[0];
  first[0] = next[0] = last[0] = -1;
  const order = inOrder(times, home, tree.n, range || [0, times.slots], together);
  let done = 0;
  for (const k of order) {
    const context = contexts[home[k]], line = open[context] || (open[context] = []);
    let i = home[k];
    path.length = 0;
    while (i !== context && line[tree.depth[i]] !== i) {
      path.push(i);
      i = tree.parent[i];
    }
    for (; latest[i] < 0; i = tree.parent[i]) path.push(i); // only contexts are without a box here
    if (n + path.length > CHART_NODES && together < times.slots) return done / order.length;
    done++;
    let at = latest[i];
    while (path.length) {
      i = path.pop();
      if (contexts[i] === context && i !== context) {
        line.length = tree.depth[i];
        line.push(i);
      }
      item[n] = tree.item[i];
      parent[n] = at;
      flags[n] = tree.flags[i];
      if (tree.repeat) repeat[n] = tree.repeat[i];
      first[n] = next[n] = last[n] = -1;
      if (last[at] < 0)
        first[at] = n;
      else
        next[last[at]] = n;
      at = last[at] = latest[i] = n++;
    }
    i = times.node[k];
    self[0][at] += times.samples[k];
    for (let v = 1; v < V; v++) self[v][at] += times.samples[k] * (all[v][i] / all[0][i] || 0);
  }
  return emit(n, item, parent, flags, self, tree.repeat ? { repeat } : {}, first, next);
}
