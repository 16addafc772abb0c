// SPDX-License-Identifier: Apache-2.0
// Trees made of trees against an oracle on random ones: every node is its path of items, a transform is a
// function of paths, and what has one path afterwards is one node with the sum of all.

import test from "node:test";
import assert from "node:assert/strict";
import {join} from "node:path";

const UI = process.env.UI_DIR || new URL("../../ui/", import.meta.url).pathname;
const load = (name) => import(join(UI, `${name}.js`));
const M = await load("model"), R = await load("rebuild"), T = await load("transform"), C = await load("callers");
const ROUNDS = 400, FUNCTIONS = 8, CONTEXTS = 5, NITEMS = FUNCTIONS + CONTEXTS;

function generator(seed) {
  return (n) => {
    seed = Math.imul(seed, 1664525) + 1013904223 >>> 0;
    return (seed >>> 8) % n;
  };
}

// Contexts above functions; siblings by item, or in any order as a hostile file may have them.
function randomTree(random) {
  const V = 1 + random(2), shuffled = random(4) === 0;
  const item = [-1], children = [0], flags = [0], self = Array.from({ length: V }, () => [0]);
  const grow = (at, depth) => {
    if (depth > 8 || item.length > 150) return;
    const some = new Set();
    for (let k = random(5); k > 0; k--)
      some.add(depth < 2 && random(4) ? FUNCTIONS + random(CONTEXTS) : random(FUNCTIONS));
    const list = [...some];
    if (!shuffled) list.sort((a, b) => a - b);
    children[at] = list.length;
    for (const it of list) {
      children.push(0);
      flags.push(random(32));
      for (const column of self) column.push(random(3) ? random(9) - 2 : 0);
      grow(item.push(it) - 1, depth + 1);
    }
  };
  grow(0, 0);
  return M.makeTree(Int32Array.from(item), Int32Array.from(children), Uint8Array.from(flags),
      self.map((column) => Float64Array.from(column)));
}

function pathsOf(tree) {
  const paths = [[]];
  for (let i = 1; i < tree.n; i++) paths.push([...paths[tree.parent[i]], tree.item[i]]);
  return paths;
}

const bitsOf = (random) => Uint8Array.from({ length: NITEMS }, () => random(4) ? 0 : 1);

// `change`: a path -> what it becomes, a node's own end kept or folded into the frame above; null: gone.
// `dead`: nodes without samples below them go.
function check(src, out, change, dead) {
  const nodes = new Map([["", { self: src.self.map(() => 0), any: 0, all: 255 }]]);
  const paths = pathsOf(src), key = (path) => path.join(";");
  const lives = (i) => src.self.some((column) => column.subarray(i, src.end[i]).some(
                           (v, k) => v && change(paths[i + k]) !== null));
  for (let i = 0; i < src.n; i++) {
    const path = change(paths[i]);
    if (dead && i && !lives(i)) continue;
    const at = path === null ? paths[i] : path;
    if (!nodes.has(key(at))) nodes.set(key(at), { self: src.self.map(() => 0), any: 0, all: 255 });
    const node = nodes.get(key(at)), folded = i && at.length && at.at(-1) !== paths[i].at(-1);
    if (path !== null) src.self.forEach((column, v) => { node.self[v] += column[i]; });
    if (folded || !i) continue;
    node.any |= src.flags[i];
    node.all &= src.flags[i];
  }
  const got = pathsOf(out);
  assert.deepEqual(new Set(got.map(key)), new Set(nodes.keys()));
  assert.equal(got.length, nodes.size);
  for (let i = 0; i < out.n; i++) {
    assert.deepEqual(out.self.map((column) => column[i]), nodes.get(key(got[i])).self);
    assert.equal(out.depth[i], got[i].length);
    let last = -1, below = out.self.map((column) => column[i]);
    for (let c = i + 1; c < out.end[i]; c = out.end[c]) {
      assert.equal(out.parent[c], i);
      if (!dead) assert.ok(out.item[c] > last);
      last = out.item[c];
      below = below.map((sum, v) => sum + out.total[v][c]);
    }
    assert.deepEqual(out.total.map((column) => column[i]), below);
  }
  src.self.forEach((column) => column.forEach((v, i) => {
    if (!v) return;
    const path = change(paths[i]);
    assert.equal(out.where[i] < 0 ? null : key(got[out.where[i]]), path && key(path));
  }));
  return { nodes, got, key };
}

function rounds(body) {
  for (let round = 0; round < ROUNDS; round++) {
    const random = generator(round);
    body(randomTree(random), random);
  }
}

test("trees__folding_merges_what_becomes_one_path", () => rounds((tree, random) => {
       const bits = bitsOf(random), out = T.foldFrames(tree, bits, NITEMS);
       const { nodes, got, key } = check(tree, out, (path) => path.filter((it) => !bits[it]));
       for (let i = 1; i < out.n; i++) {
         const { any, all } = nodes.get(key(got[i]));
         assert.equal(out.flags[i], any & ~M.FLAG.INLINED | all & M.FLAG.INLINED);
       }
     }));

test("trees__other_items_merge_and_are_sorted_anew", () => rounds((tree, random) => {
       const to = Int32Array.from({ length: NITEMS }, () => random(3) ? random(NITEMS) : -1);
       check(tree, R.rebuild(tree, NITEMS, (i) => to[tree.item[i]]),
           (path) => path.map((it) => to[it]).filter((it) => it >= 0));
     }));

test("trees__recursion_is_one_frame", () => rounds((tree) => {
       const out = T.foldRecursion(tree, NITEMS, 1);
       check(tree, out, (path) => path.filter((it, k) => it !== path[k - 1]));
       check(tree, T.foldRecursion(tree, NITEMS, 2), (path) => {
         const kept = [];
         for (const it of path) {
           if (kept.includes(it)) kept.length = kept.indexOf(it);
           kept.push(it);
         }
         return kept;
       });
     }));

test("trees__keep_and_drop_keep_the_shape", () => rounds((tree, random) => {
       const bits = bitsOf(random), hit = (path) => path.some((it) => bits[it]);
       check(tree, T.keepStacks(tree, bits), (path) => hit(path) ? path : null, true);
       check(tree, T.keepStacks(tree, bits, true), (path) => hit(path) ? null : path, true);
     }));

test("trees__trimmed_has_what_is_wide_and_all_sums", () => rounds((of, random) => {
       const tree = M.sums({...of, self: of.self.map((column) => column.map(Math.abs)) }), share = random(30) / 100;
       const out = R.trimmed(tree, share, (it) => it >= FUNCTIONS), paths = pathsOf(tree), got = pathsOf(out).map(String);
       const narrow = (i) => i > 0 && tree.item[i] < FUNCTIONS && tree.total.every((t) => t[i] < share * t[0]);
       const wanted = [];
       for (let i = 0; i < tree.n; i++) {
         let p = tree.parent[i];
         while (p >= 0 && !narrow(p)) p = tree.parent[p];
         if (p < 0) wanted.push(i);
       }
       assert.deepEqual(got, wanted.map((i) => String(paths[i])));
       wanted.forEach((i, at) => {
         assert.deepEqual([out.item[at], out.depth[at], out.flags[at]], [tree.item[i], tree.depth[i], tree.flags[i]]);
         tree.total.forEach((t, v) => {
           assert.equal(out.total[v][at], t[i]);
           assert.equal(out.self[v][at], narrow(i) ? t[i] : tree.self[v][i]);
         });
         let last = at + 1;
         while (last < out.n && out.depth[last] > out.depth[at]) last++;
         assert.equal(out.end[at], last);
       });
     }));

test("trees__turned_around_every_stack_is_backwards", () => rounds((tree) => {
       const base = R.rebuild(tree, NITEMS, (i) => tree.item[i]), sums = new Map();
       pathsOf(base).forEach((path, i) => {
         if (path.length && base.self.some((column) => column[i]))
           sums.set(path.reverse().join(";"), base.self.map((column) => column[i]));
       });
       const out = C.invert(base, C.selfSeeds(base), () => true), got = pathsOf(out);
       for (let i = 1; i < out.n; i++) {
         const wanted = sums.get(got[i].join(";")) || base.self.map(() => 0);
         assert.deepEqual(out.self.map((column) => column[i]), wanted);
         let most = 0;
         for (let k = out.from[i]; k < out.to[i]; k++) {
           assert.equal(base.item[out.occurrences.nodes[k]], out.item[i]);
           most += out.occurrences.amounts[0][k];
         }
         assert.equal(most, out.total[0][i]);
       }
       const all = new Set(got.map((path) => path.join(";")));
       for (const path of sums.keys()) assert.ok(all.has(path));
     }));
