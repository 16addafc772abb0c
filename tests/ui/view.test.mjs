// SPDX-License-Identifier: Apache-2.0
// The address, the view made of it, parts of the time.

import test from "node:test";
import assert from "node:assert/strict";
import {M, T, S, V, time, modelOf, STACKS, model, ALL, where, sane, containerOf, withTimes, ranIn} from "./stacks.mjs";

test("state__hash_round_trip", () => {
  const states = [
    {}, { q: "a&b=c,d%~ü", qf: "ir" },
    { f: S.filtersText([{ verb: "k", pattern: "a,b%2c" }, { verb: "d", pattern: "/x{1,2}/" }]) },
    { x: S.contextsText([{ kind: "p", id: "12", start: "99" }, { kind: "c", id: "we,b.1", start: "" }]) },
    { z: "60~abc.def!2", s: "^1a" }, { a: "10,500000", n: "1.5" }
  ];
  for (const patch of states) {
    const { state, bad } = S.decodeHash(S.encodeHash({...S.DEFAULTS, ...patch }));
    assert.deepEqual(bad, []);
    for (const k of Object.keys(S.DEFAULTS)) assert.equal(state[k], patch[k] ?? S.DEFAULTS[k], k);
  }
  const f = S.filtersOf({ f: states[2].f });
  assert.deepEqual(f, [{ verb: "k", pattern: "a,b%2c" }, { verb: "d", pattern: "/x{1,2}/" }]);
  assert.deepEqual(S.contextsOf({ x: states[3].x }),
      [{ kind: "p", id: "12", start: "99" }, { kind: "c", id: "we,b.1", start: "" }]);
});

test("state__every_field_comes_back", () => {
  const values = {
    w: ["s", "t"], y: ["f"], d: ["b"], o: ["w", "t"], g: ["-", "c,p,t", "n"], c: ["m", "h", "d"], r: ["1", "2"], l: ["1"], u: ["1", "12"],
    z: ["1abc.2!3", "^x.y", "60~a.b"], a: ["0,1000000"], s: ["^1a"], v2: ["A", "B"], q: ["a&b=c#%+ ü\u2028"], qf: ["i", "r", "ir"], p: ["1abc"],
    t: ["name", "module-", "self", "total-", "frames", "a", "b-", "change", "score-"], f: ["k~a,d~=b,m~/c/,s~mod:d,x~file:e"], x: ["p.1.2,t.3,c.a b,o.kernel"],
    tr: ["0,86400000"], n: ["dur", "none", "1.25"]
  };
  assert.deepEqual(Object.keys(values), Object.keys(S.DEFAULTS));
  for (const [key, list] of Object.entries(values))
    for (const value of list) {
      const { state, bad } = S.decodeHash(S.encodeHash({...S.DEFAULTS, [key]: value }));
      assert.deepEqual([bad, state[key]], [[], value], key);
    }
  for (const bad of ["a=5,5", "a=9,1", "tr=2,1", "t=toString", "n=0", "n=0.0", "v=2", "u=-1", "g=x", "f=k~", "x=y.1"])
    assert.equal(S.decodeHash(`#v=1&${bad}`).bad.length, 1, bad);
});

test("state__unknown_kept_unreadable_named", () => {
  const { state, bad } = S.decodeHash("#v=1&zz=9&y=sideways&q=%E0%A4%A&o=w");
  assert.deepEqual(bad, ["y", "q"]);
  assert.equal(state.y, "i");
  assert.equal(state.o, "w");
  assert.match(S.encodeHash(state), /&zz=9/);
});

test("state__paths_lead_back", () => {
  const hashOf = S.hasher(model);
  for (let i = 0; i < model.tree.n; i++)
    assert.equal(S.followPath(model.tree, S.pathOf(model.tree, i, hashOf), hashOf), i);
  const frames = Array.from({ length: 300 }, (_, i) => `f${i}`);
  const deep = modelOf([["", "p/1", "p/1", frames, 1], ["", "p/1", "p/1", frames.slice(0, 100), 1]]);
  const deepHash = S.hasher(deep), path = S.pathOf(deep.tree, deep.tree.n - 1, deepHash);
  assert.ok(path.length < 500);
  assert.equal(S.followPath(deep.tree, path, deepHash), deep.tree.n - 1);
  assert.equal(S.followPath(deep.tree, "zzzz", deepHash), -1);
});

test("view__stages_agree", () => {
  const viewer = V.createViewer(model);
  const at = (patch) => viewer.derive({...S.DEFAULTS, ...patch }, () => 1000);
  assert.equal(at({}).panes[0].lay.whole, ALL);
  assert.equal(at({ d: "b" }).panes[0].lay.whole, ALL);
  assert.equal(at({ o: "w" }).panes[0].lay.whole, ALL);
  const pivot = at({ p: S.nameHash("b"), w: "s" });
  assert.equal(pivot.panes.length, 2);
  assert.equal(pivot.panes[0].lay.whole, pivot.panes[1].lay.whole);
  const view = at({});
  const node = view.panes[0].lay.deepest, path = viewer.path(view.panes[0], node);
  const zoomed = at({ z: path });
  assert.equal(zoomed.zoom.node, node);
  assert.equal(zoomed.window.x1 - zoomed.window.x0, view.panes[0].lay.width[node]);
  assert.deepEqual(at({ z: "0.0.0" }).missing, ["zoomed frame"]);
});

test("view__sums_anew_are_the_sums_of_a_tree_made_anew", () => {
  const m = withTimes(), viewer = V.createViewer(m);
  for (const x of ["", "p.1", "p.=app", "t.2", "c.web", "o.kernel,p.1", "p.1,p.3", "p.9"])
    for (const f of ["", "k~=b", "d~=b", "d~=b,k~main", "k~/(/,d~=k", "k~nothing"])
      for (const tr of ["", "0,500", "440,640"])
        for (const g of ["", "-", "p", "c,p,t"]) {
          let tree = T.selectContexts(m, m.tree, S.contextsOf({ x })), where = tree.where || null;
          for (const filter of S.filtersOf({ f }).filter((k) => k.pattern !== "/(/")) {
            tree = T.applyVerb(m, tree, filter);
            where = T.compose(where, tree.where);
          }
          const range = time.slotRange(m.times, tr);
          if (range) tree = time.sliceTime(m, tree, where, range);
          const want = T.groupBy(m, tree, g || V.defaultLevels(m)), view = viewer.derive({...S.DEFAULTS, x, f, tr, g }, () => 1000);
          for (const key of ["item", "parent", "depth", "end", "flags"])
            assert.deepEqual(Array.from(view.base[key]), Array.from(want[key]), `${key} of ${x} ${f} ${tr} ${g}`);
          assert.deepEqual(Array.from(view.base.self[0]), Array.from(want.self[0]));
          assert.deepEqual(Array.from(view.base.total[0]), Array.from(want.total[0]));
          assert.equal(view.bad.length, f.includes("(") ? 1 : 0);
          assert.equal(view.left.length, 1 + S.filtersOf({ f }).length);
          assert.equal(view.source.total[0][0], want.total[0][0]);
        }
});

// 25,000 frames of ten threads of two processes of one name: a picture of the wide ones, then of all.
test("view__a_glance_is_the_whole_but_for_what_is_narrow", () => {
  const stacks = [], THREADS = 10, PX = 1000;
  for (let i = 0, r = 1; i < 9000; i++) {
    r = r * 48271 % 2147483647;
    const frames = [...`${r}`.slice(0, 7)].map((digit, k) => k + digit);
    stacks.push(["", `svc/${1 + i % 2}`, `t/${10 + i % THREADS}`, frames, i % 9 ? 1 : 400]);
  }
  const m = modelOf(stacks), viewer = V.createViewer(m), of = (patch, glance) => viewer.derive({...S.DEFAULTS, ...patch }, () => PX, glance);
  assert.ok(m.tree.n > 20000);
  const first = of({}, true), whole = of({}, false), [{ lay: some }] = first.panes, [{ lay: all }] = whole.panes;
  assert.ok(first.glance && !whole.glance && sane(some.tree).n < all.tree.n);
  assert.equal(some.whole, all.whole);
  const places = (lay) => new Map(Array.from({ length: lay.tree.n }, (_, i) => [S.pathOf(lay.tree, i, viewer.hashOf), i]));
  const least = all.whole / PX / 8 * THREADS, there = places(all), glanced = places(some);
  for (const [path, i] of glanced) {
    const j = there.get(path);
    assert.ok(j !== undefined && some.width[i] <= all.width[j] && some.width[i] >= all.width[j] - least, path);
  }
  for (const [path, j] of there)
    assert.ok(glanced.has(path) || all.width[j] < least, path);
  // Who asks for more gets all.
  for (const patch of [{ q: "1" }, { z: S.pathOf(all.tree, 3, viewer.hashOf) }, { f: "k~=m" }, { d: "b" }, { r: "1" }])
    assert.ok(!of(patch, true).glance);
  assert.ok(of({ g: "p,t", o: "w", c: "m", y: "f" }, true).glance);
});

test("view__chains_and_recursion_keep_sums", () => {
  const viewer = V.createViewer(model);
  for (const patch of [{ l: "1" }, { r: "1" }, { r: "2" }, { g: "c,p,t" }])
    assert.equal(sane(viewer.derive({...S.DEFAULTS, ...patch }, () => 1000).base).total[0][0], ALL);
});

test("time__where_follows_every_sample_through_every_filter", () => {
  const m = withTimes(), { times } = m;
  const moved = (tree) => { // self sums again, from the file's nodes by where
    const self = new Float64Array(tree.n);
    for (let i = 0; i < m.tree.n; i++)
      if (m.tree.self[0][i] && tree.where[i] >= 0) self[tree.where[i]] += m.tree.self[0][i];
    assert.deepEqual(self, tree.self[0]);
  };
  assert.equal(times.samples.reduce((a, b) => a + b, 0), ALL);
  for (const [v, pattern] of [["k", "=b"], ["d", "=b"], ["m", "=b"], ["s", "=b"], ["x", "=a"], ["m", "=main"],
           ["k", "nothing"], ["x", "=main"]])
    moved(T.applyVerb(m, m.tree, { verb: v, pattern }));
  moved(T.groupBy(m, m.tree, "n"));
  moved(T.groupBy(m, m.tree, "-"));
  moved(T.selectContexts(m, m.tree, [{ kind: "p", id: "1" }, { kind: "o", id: "kernel" }]));
  for (const mode of [1, 2]) moved(T.foldRecursion(m.tree, m.nitems, mode));
  moved(T.foldChains(m, m.tree, 0));
});

test("time__a_part_of_the_time_has_its_own_sums", () => {
  const m = withTimes(), viewer = V.createViewer(m);
  const of = (patch) => viewer.derive({...S.DEFAULTS, ...patch }, () => 1000);
  const all = [0, 10];
  for (const range of [all, [0, 1], [4, 5], [2, 6], [9, 10], [7, 8]]) {
    const tr = time.rangeText(m.times, range), sum = (f) => STACKS.filter(f).reduce((n, s) => n + ranIn(range)(s), 0);
    assert.deepEqual(time.slotRange(m.times, tr), range);
    for (const more of [{}, { o: "t" }, { o: "w" }, { g: "c,p,t" }, { r: "1" }, { l: "1" }, { d: "b" }])
      assert.equal(of({ tr, ...more }).panes[0].lay.whole, sum(() => true), JSON.stringify([tr, more]));
    assert.equal(of({ tr, f: "k~=b" }).base.total[0][0], sum((s) => s[3].includes("b")));
    assert.equal(of({ tr, f: "d~=b", o: "t" }).panes[0].lay.whole, sum((s) => !s[3].includes("b")));
    assert.equal(of({ tr, x: "p.1" }).base.total[0][0], sum((s) => s[1] === "app/1"));
  }
  const { strip } = of({ f: "k~=b" });
  for (let slot = 0; slot < 10; slot++)
    assert.equal(strip.sums.reduce((n, column) => n + column[slot], 0),
        STACKS.filter((s) => s[3].includes("b")).reduce((n, s) => n + ranIn([slot, slot + 1])(s), 0));
  assert.deepEqual(of({ tr: "5,10" }).missing, []);
  const plain = V.createViewer(model).derive({...S.DEFAULTS, o: "t", tr: "0,100" }, () => 1000);
  assert.equal(plain.base.total[0][0], ALL);
  assert.match(plain.missing.join(), /time/);
});

test("time__order_of_time_is_the_order_of_slots", () => {
  const stacks = [["", "p/1", "p/1", ["main", "a", "b"], 4], ["", "p/1", "p/1", ["main", "c"], 2],
    ["", "p/1", "p/1", ["main", "a"], 1]];
  const m = withTimes(stacks, [[0, 1, 5, 6], [3, 4], [5]]);
  const view = V.createViewer(m).derive({...S.DEFAULTS, o: "t" }, () => 1000), { tree } = view.panes[0].lay;
  sane(tree);
  const main = Array.from(tree.item).findIndex((it) => m.rawName(it) === "main"), list = [];
  for (let c = main + 1; c < tree.end[main]; c = tree.end[c]) list.push([m.rawName(tree.item[c]), tree.total[0][c]]);
  assert.deepEqual(list, [["a", 2], ["c", 2], ["a", 3]]);
  assert.equal(view.panes[0].lay.whole, 7);
});

test("time__container_and_damage", { skip: !process.env.SMALL_PAGE && "no page was written" }, () => {
  const m = M.parseContainer(containerOf(process.env.SMALL_PAGE));
  assert.equal(m.times.samples.reduce((a, b) => a + b, 0), m.tree.total[0][0]);
  for (const [k, node] of m.times.node.entries())
    assert.ok(m.times.samples[k] <= m.tree.self[0][node] && m.times.slot[k] < m.times.slots);
});
