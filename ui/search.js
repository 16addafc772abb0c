// SPDX-License-Identifier: Apache-2.0
// search.js -- which items match, and what share of the samples passes through them. No DOM.

import {compilePattern, matchItems} from "./transform.js";

// query and flags ("i" = case matters, "r" = regular expression) -> what is found, or {error}. `before`,
// the find of the last key, is narrowed where the text only grew: what it did not hold is not looked at.
export function findItems(model, query, flags, before) {
  if (!query) return null;
  try {
    const pattern = compilePattern(query, { regex: flags.includes("r"), matchCase: flags.includes("i") });
    const from = before && before.bits && narrows(pattern, before.pattern) ? before : null;
    const bits = matchItems(model, pattern, from && from.bits);
    let functions = 0;
    for (let i = 0; i < bits.length; i++) functions += bits[i];
    if (from) from.hitsBefore = null;
    return { bits, functions, pattern, hits: new Map(), hitsBefore: from && from.hits };
  } catch (e) {
    return { error: e.message.replace(/^Invalid regular expression: /, "") };
  }
}

function narrows(now, before) {
  return now.part !== undefined && before.part !== undefined && now.field === before.field &&
         !now.lower === !before.lower && now.part.includes(before.part);
}

// The matching nodes of a tree, in preorder; each tree is gone through once a find.
export function hitsIn(tree, found) {
  let hits = found.hits.get(tree);
  if (hits) return hits;
  const before = found.hitsBefore && found.hitsBefore.get(tree), { bits } = found, { item } = tree;
  const n = before ? before.length : tree.n, out = new Int32Array(n);
  let count = 0;
  if (before) {
    for (let k = 0; k < n; k++)
      if (bits[item[before[k]]]) out[count++] = before[k];
  } else {
    for (let i = 1; i < n; i++)
      if (bits[item[i]]) out[count++] = i;
  }
  found.hits.set(tree, hits = out.subarray(0, count));
  return hits;
}

// Index of the first hit at or after a node.
function firstHit(hits, node) {
  let a = 0, b = hits.length;
  while (a < b) {
    const m = a + b >> 1;
    if (hits[m] < node)
      a = m + 1;
    else
      b = m;
  }
  return a;
}

// Share of the nodes [from, to) of a tree under a match, each stack counted once by its outermost
// match; matches above `from` count too. Returns {sum, frames}.
export function matchedSum(tree, column, found, from = 0, to = tree.n) {
  const hits = hitsIn(tree, found), { end, parent } = tree;
  const first = firstHit(hits, from), last = firstHit(hits, to), frames = last - first;
  for (let p = parent[from]; p > 0; p = parent[p])
    if (found.bits[tree.item[p]]) return { sum: column[from], frames };
  let sum = 0;
  for (let k = first, covered = -1; k < last; k++) {
    const i = hits[k];
    if (i < covered) continue;
    covered = end[i];
    sum += column[i];
  }
  return { sum, frames };
}

// The same for a turned tree, grown lazily: stacks of the root `from` whose rest matches, exact
// whatever is expanded. `covered`: a byte a node of the tree it was made of.
export function matchedInverted(inverted, v, bits, covered, from) {
  let sum = 0, frames = 0;
  for (let i = Math.max(from, 1); i < inverted.end[from]; i++)
    if (bits[inverted.item[i]]) frames++;
  for (let p = from; p > 0; p = inverted.parent[p])
    if (bits[inverted.item[p]]) return { sum: inverted.total[v][from], frames };
  const roots = from ? [from] : childrenOf(inverted, 0);
  const { nodes, amounts } = inverted.occurrences;
  for (const root of roots)
    for (let k = inverted.from[root]; k < inverted.to[root]; k++)
      if (covered[nodes[k]]) sum += amounts[v][k];
  return { sum, frames };
}

function childrenOf(tree, i) {
  const list = [];
  for (let c = i + 1; c < tree.end[i]; c = tree.end[c]) list.push(c);
  return list;
}

// Columns of the overview (px of them) that hold a match, however narrow.
export function ticks(lay, found, px) {
  const out = new Uint8Array(px);
  const { tree, start, width, whole } = lay, { end } = tree, hits = hitsIn(tree, found);
  for (let k = 0, covered = -1; k < hits.length; k++) {
    const i = hits[k];
    if (i < covered || !width[i]) continue;
    const a = Math.floor(start[i] / whole * px),
          b = Math.min(px - 1, Math.floor((start[i] + width[i]) / whole * px));
    if (a === b)
      out[a] = 1;
    else
      out.fill(1, a, b + 1);
    covered = end[i];
  }
  return out;
}

// The next (+1) or previous (-1) matching node after `from` in preorder, wrapping; and its number.
export function nextMatch(tree, found, from, direction) {
  const hits = hitsIn(tree, found), of = hits.length;
  if (!of) return null;
  const k = direction > 0 ? firstHit(hits, from + 1) % of : (firstHit(hits, from) + of - 1) % of;
  return { node: hits[k], number: k + 1, of };
}
