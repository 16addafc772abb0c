// SPDX-License-Identifier: Apache-2.0
// Filters, grouping, recursion, callers: every sum against the stacks.

import test from "node:test";
import assert from "node:assert/strict";
import {T, model, ALL, itemOf, where, ends, sane, verb} from "./stacks.mjs";

test("transform__keep_and_drop", () => {
  const b = where((s) => s[3].includes("b"));
  assert.equal(verb("k", "=b").total[0][0], b);
  assert.equal(verb("d", "=b").total[0][0], ALL - b);
  assert.equal(verb("k", "nothing like it").total[0][0], 0);
  assert.equal(verb("k", "=nginx").total[0][0], where((s) => s[1] === "nginx/4"));
});

test("transform__fold_moves_samples_up", () => {
  const t = verb("m", "=b");
  assert.equal(t.total[0][0], ALL);
  assert.equal(ends(t).get("main;a"), 70);
  assert.equal(ends(t).get("main;a;c"), 15);
  assert.equal(ends(t).get("main;a;a"), 5);
  assert.equal(ends(t).get("main;k"), 50);
  assert.equal(ends(t).get("x"), 10);
});

test("transform__start_at_the_outermost_match", () => {
  const t = verb("s", "=b");
  assert.deepEqual(Object.fromEntries(ends(t)), { "b;c": 15, "b;a": 5, "b;b;b;k": 20, b: 10 });
});

test("transform__cut_takes_callees_in", () => {
  const t = verb("x", "=a");
  assert.equal(t.total[0][0], ALL);
  assert.equal(ends(t).get("main;a"), 90);
  assert.ok(![...ends(t).keys()].some((k) => k.startsWith("main;a;")));
});

test("transform__patterns", () => {
  const match = (p, o) => Array.from(T.matchItems(model, T.compilePattern(p, o)).slice(0, model.fun.n))
                              .map((b, i) => b && model.rawName(i))
                              .filter(Boolean);
  assert.deepEqual(match("=a"), ["a"]);
  assert.deepEqual(match("/^(a|b)$/"), ["a", "b"]);
  assert.deepEqual(match("MAI"), ["main"]);
  assert.deepEqual(match("MAI", { matchCase: true }), []);
  assert.deepEqual(match("mod:a.so"), ["a", "c", "main"]);
  assert.deepEqual(match("origin:kernel"), match("origin:=kernel"));
  assert.throws(() => T.compilePattern("/(/"));
});

test("transform__one_context_has_its_own_sums", () => {
  const only = (kind, id, start) =>
      sane(T.selectContexts(model, model.tree, [{ kind, id, start }])).total[0][0];
  assert.equal(only("p", "1"), 90);
  assert.equal(only("p", "1", "1"), 90);
  assert.equal(only("p", "1", "2"), 0);
  assert.equal(only("p", "=app"), 110);
  assert.equal(only("t", "2"), 5);
  assert.equal(only("c", "web"), 43);
  assert.equal(only("c", ""), 110);
  const kernel = T.matchItems(model, T.compilePattern("origin:kernel"));
  assert.equal(only("o", "kernel"), where((s) => s[3].some((f) => kernel[itemOf(f)])));
});

test("transform__grouping_keeps_sums", () => {
  for (const levels of ["-", "n", "p", "t", "c,n", "c,p,t"])
    assert.equal(sane(T.groupBy(model, model.tree, levels)).total[0][0], ALL);
  const bare = T.groupBy(model, model.tree, "-");
  assert.deepEqual(ends(bare), ends(model.tree));
  const named = T.groupBy(model, model.tree, "n");
  assert.equal(model.name(named.item[named.end[1]]), "app (2 processes)");
});

test("transform__recursion", () => {
  const direct = sane(T.foldRecursion(T.groupBy(model, model.tree, "-"), model.nitems, 1));
  assert.equal(ends(direct).get("main;b;k"), 20);
  assert.equal(ends(direct).get("main;a;b;a"), 5);
  const b = Array.from(direct.item).findIndex((it, i) => it === itemOf("b") && direct.repeat[i]);
  assert.equal(direct.repeat[b], 2);
  const cycles = sane(T.foldRecursion(T.groupBy(model, model.tree, "-"), model.nitems, 2));
  assert.equal(ends(cycles).get("main;a"), 75);
});

test("transform__callers_first_roots_are_self_sums", () => {
  const base = T.groupBy(model, model.tree, "-");
  const t = sane(T.invert(base, T.selfSeeds(base), () => true));
  const t0 = T.tableOf(base, model.fun.n, (i) => i);
  for (let c = 1; c < t.n; c = t.end[c])
    if (t.item[c] >= 0) assert.equal(t.total[0][c], t0.self[0][t.item[c]]);
  const lazy = sane(T.invert(base, T.selfSeeds(base), () => false));
  assert.equal(lazy.total[0][0], t.total[0][0]);
});

test("transform__sandwich_halves_agree", () => {
  const base = T.groupBy(model, model.tree, "n");
  for (const name of ["a", "b", "main", "k"]) {
    const total = T.tableOf(base, model.fun.n, (i) => i < model.fun.n ? i : -1).total[0][itemOf(name)];
    const below = sane(T.callees(base, itemOf(name), model.nitems));
    const above = sane(T.invert(base, T.totalSeeds(base, itemOf(name)), () => true));
    assert.equal(below.total[0][0], total, name);
    assert.equal(above.total[0][0], total, name);
    assert.equal(total, where((s) => s[3].includes(name)));
  }
});

test("transform__table_counts_recursion_once", () => {
  const t = T.tableOf(model.tree, model.fun.n, (i) => i < model.fun.n ? i : -1);
  for (const name of ["a", "b", "c", "k", "main", "x"]) {
    assert.equal(t.total[0][itemOf(name)], where((s) => s[3].includes(name)), name);
    assert.equal(t.self[0][itemOf(name)], where((s) => s[3].at(-1) === name), name);
  }
});
