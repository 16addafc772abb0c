// SPDX-License-Identifier: Apache-2.0
// layout.js -- where the boxes of a tree lie: widths, starts, culling, runs, hits. No DOM.
//
// Positions are in units of the width measure; a window [x0, x1) of them is stretched over pixels.

// What a node's box is as wide as: the self widths summed over the subtree, never negative.
export function widthsOf({ n, parent }, selfWidth) {
  const width = Float64Array.from(selfWidth);
  for (let i = n - 1; i > 0; i--) width[parent[i]] += width[i];
  return width;
}

export function layOut(tree, selfWidth, width = widthsOf(tree, selfWidth)) {
  const { n, depth } = tree, start = new Float64Array(n), cursor = new Float64Array(n); // by depth: preorder
  let deepest = 0, most = depth[0];
  for (let i = 1; i < n; i++) {
    const d = depth[i], x = start[i] = cursor[d], w = width[i];
    cursor[d + 1] = x;
    cursor[d] = x + w;
    if (d > most && w > 0) {
      deepest = i;
      most = d;
    }
  }
  return { tree, width, start, whole: width[0], deepest, rows: most + 1 };
}

// One value type, or two under comparison (each times its factor): "A", "B" or "m", the larger.
export function selfWidths(tree, u, compare) {
  const a = tree.self[u];
  if (!compare) {
    for (let i = 0; i < a.length; i++)
      if (a[i] < 0) return a.map(Math.abs);
    return a;
  }
  const b = tree.self[1], A = tree.self[0];
  const { by, fa, fb } = compare;
  if (by === "A") return A.map((v) => Math.abs(v) * fa);
  if (by === "B") return b.map((v) => Math.abs(v) * fb);
  return A.map((v, i) => Math.max(Math.abs(v) * fa, Math.abs(b[i]) * fb));
}

// Visits what is to be painted of the window in px pixels: box(i, x, w) for nodes of at least a
// pixel, run(depth, x, w, first, count) for neighbours below that, fused. Linear in what is seen:
// a node outside or too narrow skips its whole subtree.
export function eachBox(lay, x0, x1, px, box, run) {
  const { tree: { n, end, depth }, start, width, rows } = lay;
  const scale = px / (x1 - x0);
  const runX = new Float64Array(rows).fill(-2), runEnd = new Float64Array(rows).fill(-2);
  const runFirst = new Int32Array(rows), runCount = new Int32Array(rows);
  for (let i = 0; i < n;) {
    const s = start[i], e = s + width[i];
    if (e <= x0 || s >= x1 || e <= s) {
      i = end[i];
      continue;
    }
    const x = (s - x0) * scale, w = (e - s) * scale;
    if (w >= 1) {
      box(i, x, w);
      i++;
      continue;
    }
    const d = depth[i];
    if (runCount[d] && x - runEnd[d] < 1) {
      runCount[d]++;
    } else {
      if (runCount[d]) run(d, runX[d], runEnd[d] - runX[d], runFirst[d], runCount[d]);
      runX[d] = x;
      runFirst[d] = i;
      runCount[d] = 1;
    }
    runEnd[d] = x + w;
    i = end[i];
  }
  for (let d = 0; d < rows; d++)
    if (runCount[d]) run(d, runX[d], runEnd[d] - runX[d], runFirst[d], runCount[d]);
}

// The node at a position and depth, or -1.
export function nodeAt(lay, at, depth) {
  const { tree: { end }, start, width } = lay;
  if (at < 0 || at >= width[0]) return -1;
  let i = 0;
  for (let d = 0; d < depth; d++) {
    const last = end[i];
    let c = i + 1;
    while (c < last && !(at >= start[c] && at < start[c] + width[c])) c = end[c];
    if (c >= last) return -1;
    i = c;
  }
  return i;
}

export function widestChild(lay, i) {
  const { tree: { end }, width } = lay;
  let best = -1;
  for (let c = i + 1; c < end[i]; c = end[c])
    if (best < 0 || width[c] > width[best]) best = c;
  return best >= 0 && width[best] > 0 ? best : -1;
}

// The next node of the row to the left (-1) or right (+1) at least `least` units wide, or -1.
export function rowNeighbour(lay, from, direction, least) {
  const { tree: { n, end, depth }, start, width } = lay;
  const d = depth[from];
  let best = -1;
  for (let i = 0; i < n;) {
    if (depth[i] < d) {
      if (direction > 0 ? start[i] + width[i] <= start[from] : start[i] >= start[from])
        i = end[i];
      else
        i++;
      continue;
    }
    if (i !== from && width[i] >= least &&
        (direction > 0 ? start[i] > start[from] : start[i] < start[from])) {
      if (direction > 0) return i;
      best = i;
    }
    i = end[i];
  }
  return best;
}

export function ancestors(tree, i) {
  const list = [];
  for (let p = tree.parent[i]; p >= 0; p = tree.parent[p]) list.push(p);
  return list;
}

// Depth profile for the overview: for each of px columns the deepest row that is at least half a
// pixel wide there.
export function ridge(lay, px) {
  const out = new Uint16Array(px);
  const { tree: { n, end, depth }, start, width, whole } = lay;
  const scale = px / (whole || 1), least = 0.5 / scale;
  for (let i = 0; i < n;) {
    if (width[i] < least) {
      i = end[i];
      continue;
    }
    const a = Math.floor(start[i] * scale), b = Math.min(px, Math.ceil((start[i] + width[i]) * scale));
    for (let x = a; x < b; x++)
      if (out[x] < depth[i]) out[x] = depth[i];
    i++;
  }
  return out;
}
