// SPDX-License-Identifier: Apache-2.0
// time.js -- what ran when: sums by slot, a part of the time, calls in the order of time. No DOM.
//
// Times stand by node of the file's tree (model.times); `where` says where those nodes' samples are in
// the tree at hand (transform.js). They count value 0; other values of a node are shared out alike.

import {sums} from "./model.js";
import {compose, prune} from "./rebuild.js";

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

// Samples by slot at or below `hits`, nodes of the file's tree in preorder; as counts are, so both are gone
// through side by side.
export function slotsBelow(model, where, hits) {
  const { node, slot, samples, slots } = model.times, { end } = model.tree, sums = new Float64Array(slots);
  for (let k = 0, h = 0, last = 0; k < node.length; k++) {
    const i = node[k];
    while (i >= last && h < hits.length && hits[h] <= i) last = Math.max(last, end[hits[h++]]);
    if (i < last && !(where && where[i] < 0)) sums[slot[k]] += samples[k];
  }
  return sums;
}

// The calls of a tree in the order of time: contexts as they are, and in each of them a frame goes on
// for as long as one sample after the other is below it; the same call later is another box.
export function chronological(model, tree, where, range) {
  const { times } = model, home = where ? compose(times.node, where) : times.node, contexts = contextsIn(model, tree);
  const part = range || [0, times.slots], least = Math.max(0, Math.ceil(Math.log2(times.node.length / CHART_COUNTS)));
  for (let together = fewest(times, tree, home, part) > CHART_NODES ? times.slots : 2 ** least;;) {
    const out = chart(model, tree, home, contexts, inOrder(times, home, tree.n, contexts, part, together), together);
    if (typeof out !== "number") return out;
    // At best, so many times fewer boxes.
    together = Math.min(times.slots, together * 2 ** Math.max(1, Math.ceil(Math.log2(1 / out))));
  }
}

// How many boxes there are if all of the time is one slot.
function fewest({ slot }, { n, parent }, home, [from, to]) {
  const some = new Uint8Array(n);
  let count = 1;
  for (let k = 0; k < home.length; k++)
    if (home[k] >= 0 && slot[k] >= from && slot[k] < to) some[home[k]] = 1;
  for (let i = n - 1; i > 0; i--) {
    if (!some[i]) continue;
    some[parent[i]] = 1;
    count++;
  }
  return count;
}

// The contexts of a tree in its order, the root among them; and of each node, which of them it is in.
function contextsIn(model, { n, item, parent }) {
  const of = new Int32Array(n), nodes = [0];
  for (let i = 1; i < n; i++) of[i] = model.isContext(item[i]) ? nodes.push(i) - 1 : of[parent[i]];
  return { of, nodes };
}

// A list of indices in the order of their keys, stable; key[i] < keys.
function sorted(list, key, keys) {
  const start = new Int32Array(keys + 1), out = new Int32Array(list.length);
  for (let k = 0; k < list.length; k++) start[key[list[k]] + 1]++;
  for (let i = 0; i < keys; i++) start[i + 1] += start[i];
  for (let k = 0; k < list.length; k++) out[start[key[list[k]]]++] = list[k];
  return out;
}

// Indices of counts in a range: by context, then slot, then node.
function inOrder({ slot, slots }, home, n, { of, nodes }, [from, to], together) {
  const chosen = new Int32Array(home.length), column = new Int32Array(home.length), context = new Int32Array(home.length);
  let m = 0;
  for (let k = 0; k < home.length; k++) {
    if (home[k] < 0 || slot[k] < from || slot[k] >= to) continue;
    chosen[m++] = k;
    column[k] = slot[k] / together | 0;
    context[k] = of[home[k]];
  }
  const bySlot = sorted(sorted(chosen.subarray(0, m), home, n), column, Math.ceil(slots / together));
  return { list: sorted(bySlot, context, nodes.length), context };
}

// Boxes come out in preorder: contexts are done one after the other, and a new box is the last one below what is
// open. The part of the samples that had room, where they do not all have.
function chart(model, tree, home, { of, nodes }, { list, context }, together) {
  const { times } = model, V = tree.self.length, all = model.tree.self, bounded = together < times.slots;
  const most = bounded ? CHART_NODES + nodes.length : tree.n, column = () => new Int32Array(most);
  const { item, parent, depth, flags, repeat } = tree, flagsOut = new Uint8Array(most), self = tree.self.map(() => new Float64Array(most));
  const itemOut = column(), parentOut = column(), depthOut = column(), repeatOut = repeat && column();
  let deepest = 0;
  for (let i = 0; i < tree.n; i++)
    if (depth[i] > deepest) deepest = depth[i];
  // By depth: which node is open, and its box; above it in `path` what is not yet.
  const open = new Int32Array(deepest + 1), boxes = new Int32Array(deepest + 1), path = new Int32Array(deepest + 1);
  const needed = new Uint8Array(nodes.length), contextBox = new Int32Array(nodes.length);
  for (let k = 0; k < list.length; k++) needed[context[list[k]]] = 1;
  for (let c = nodes.length - 1; c > 0; c--)
    if (needed[c]) needed[of[parent[nodes[c]]]] = 1;
  needed[0] = 1;
  let n = 0, at = 0;
  for (let c = 0; c < nodes.length; c++) {
    if (!needed[c]) continue;
    let waiting = 0, length = depth[nodes[c]];
    path[waiting++] = nodes[c];
    boxes[length - 1] = c ? contextBox[of[parent[nodes[c]]]] : -1;
    contextBox[c] = n;
    do {
      if (bounded && n + waiting > most) return at / list.length;
      while (waiting) {
        const i = path[--waiting], d = depth[i];
        itemOut[n] = item[i];
        parentOut[n] = d ? boxes[d - 1] : -1;
        depthOut[n] = d;
        flagsOut[n] = flags[i];
        if (repeat) repeatOut[n] = repeat[i];
        open[d] = i;
        boxes[d] = n++;
        length = d + 1;
      }
      for (; at < list.length && context[list[at]] === c; at++) {
        const k = list[at];
        let i = home[k];
        while (depth[i] >= length || open[depth[i]] !== i) {
          path[waiting++] = i;
          i = parent[i];
        }
        if (waiting) break;
        const box = boxes[depth[i]], samples = times.samples[k];
        self[0][box] += samples;
        for (let v = 1; v < V; v++) self[v][box] += samples * (all[v][times.node[k]] / all[0][times.node[k]] || 0);
      }
    } while (waiting);
  }
  const out = { n, item: itemOut, parent: parentOut, depth: depthOut, flags: flagsOut };
  if (repeat) out.repeat = repeatOut;
  for (const key of Object.keys(out))
    if (key !== "n") out[key] = out[key].subarray(0, n);
  out.self = self.map((values) => values.subarray(0, n));
  return sums(out);
}
