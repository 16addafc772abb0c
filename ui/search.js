// SPDX-License-Identifier: Apache-2.0
// search.js -- which items match, and what share of the samples passes through them. No DOM.

import {compilePattern, matchItems} from "./transform.js";

// query and flags ("i" = case matters, "r" = regular expression) -> {bits, functions} or {error}.
export function findItems(model, query, flags) {
  if (!query) return null;
  try {
    const bits = matchItems(
        model, compilePattern(query, { regex: flags.includes("r"), matchCase: flags.includes("i") }));
    let functions = 0;
    for (let i = 0; i < bits.length; i++) functions += bits[i];
    return { bits, functions };
  } catch (e) {
    return { error: e.message.replace(/^Invalid regular expression: /, "") };
  }
}

// Share of the nodes [from, to) of a tree under a match, each stack counted once by its outermost
// match; matches above `from` count too. Returns {sum, frames}.
export function matchedSum(tree, column, bits, from = 0, to = tree.n) {
  let sum = 0, frames = 0;
  for (let p = tree.parent[from]; p > 0; p = tree.parent[p]) {
    if (bits[tree.item[p]]) {
      for (let i = from; i < to; i++)
        if (i && bits[tree.item[i]]) frames++;
      return { sum: column[from], frames };
    }
  }
  for (let i = from, covered = -1; i < to; i++) {
    if (!i || !bits[tree.item[i]]) continue;
    frames++;
    if (i < covered) continue;
    covered = tree.end[i];
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
  for (const root of roots) {
    const { nodes, amounts } = inverted.occurrences[root];
    for (let k = 0; k < nodes.length; k++)
      if (covered[nodes[k]]) sum += amounts[v][k];
  }
  return { sum, frames };
}

function childrenOf(tree, i) {
  const list = [];
  for (let c = i + 1; c < tree.end[i]; c = tree.end[c]) list.push(c);
  return list;
}

// Columns of the overview (px of them) that hold a match, however narrow.
export function ticks(lay, bits, px) {
  const out = new Uint8Array(px);
  const { tree, start, width, whole } = lay;
  for (let i = 1; i < tree.n; i++) {
    if (!bits[tree.item[i]] || !width[i]) continue;
    const a = Math.floor(start[i] / whole * px),
          b = Math.min(px - 1, Math.floor((start[i] + width[i]) / whole * px));
    out.fill(1, a, b + 1);
    i = tree.end[i] - 1;
  }
  return out;
}

// The next (+1) or previous (-1) matching node after `from` in preorder, wrapping; and its number.
export function nextMatch(tree, bits, from, direction) {
  const hits = [];
  for (let i = 1; i < tree.n; i++)
    if (bits[tree.item[i]]) hits.push(i);
  if (!hits.length) return null;
  let k;
  if (direction > 0) {
    k = hits.findIndex((i) => i > from);
    if (k < 0) k = 0;
  } else {
    k = hits.findLastIndex((i) => i < from);
    if (k < 0) k = hits.length - 1;
  }
  return { node: hits[k], number: k + 1, of: hits.length };
}
