// SPDX-License-Identifier: Apache-2.0
// Numbers as words, the container, two pages as one.

import test from "node:test";
import assert from "node:assert/strict";
import {format, M, T, C, modelOf, STACKS, model, ALL, itemOf, where, sane, containerOf} from "./stacks.mjs";

test("format__numbers", () => {
  assert.equal(format.count(1234567), "1\u202f234\u202f567");
  assert.equal(format.bytes(1536), "1.50 KiB");
  assert.equal(format.bytes(-(3 << 20)), "−3.00 MiB");
  assert.equal(format.nanoseconds(1.5e9), "1.50 s");
  assert.equal(format.percent(1, 3), "33.3 %");
  assert.equal(format.percent(0, 3), "0 %");
  assert.equal(format.percent(-1, 2), "−50.0 %");
  assert.equal(format.percent(3, 2), "150 %");
  assert.equal(format.percent(1, 1e6), "< 0.01 %");
  assert.ok(Math.abs(format.errorBound(50, 100) - 9.8) < 0.01);
});

test("format__hostile_text_is_visible", () => {
  assert.equal(format.visible("a\u202eb\u0000c\u2028"), "a<U+202E>b<U+0000>c<U+2028>");
  assert.equal(format.visible("plain <b>"), "plain <b>");
});

test("model__sums", () => assert.equal(sane(model.tree).total[0][0], ALL));

test("model__damaged_trees_are_refused", () => {
  const make = (children) => M.makeTree(new Int32Array(children.length), Int32Array.from(children),
      new Uint8Array(children.length), [new Float64Array(children.length)]);
  assert.throws(() => make([2, 0]), /does not close/);
  assert.throws(() => make([0, 0]), /closes too early/);
});

test("model__every_cut_or_flip_of_a_container_is_refused_or_read",
    { skip: !process.env.SMALL_PAGE && "no page was written" }, () => {
      const bytes = containerOf(process.env.SMALL_PAGE);
      const whole = M.parseContainer(bytes);
      assert.ok(whole.tree.n > 10);
      for (let cut = 0; cut < bytes.length; cut += 3)
        assert.throws(() => M.parseContainer(bytes.slice(0, cut)), /damaged/);
      for (let at = 72; at < bytes.length; at++) {
        const copy = bytes.slice();
        copy[at] ^= 0xff;
        try {
          M.parseContainer(copy);
        } catch (e) {
          assert.ok(e.section, e.message);
        }
      }
    });

test("compare__union_has_both_sides", () => {
  const meta = { values: [{ name: "samples", unit: "count" }] };
  const a = modelOf(STACKS, meta), more = [...STACKS.slice(0, 5), ["", "new/9", "new/9", ["main", "fresh"], 7]];
  const b = modelOf(more.map(([c, p, t, f, n]) => [c, p.replace(/\d+/, (d) => d * 7), t, f, n * 2]), meta);
  for (const m of [a, b]) { // modelOf deals them out by number
    m.fun.module.fill(m.fun.n + 1);
    m.fun.kind.fill(0);
  }
  const u = C.union(a, b);
  assert.ok(u.compare);
  assert.deepEqual(u.tree.total.map((t) => t[0]), [ALL, 2 * more.reduce((s, k) => s + k[4], 0)]);
  const of = (name) => T.tableOf(u.tree, u.fun.n, (i) => i < u.fun.n ? i : -1).total.map((t) => t[itemOf(name, u)]);
  for (const name of ["main", "a", "b", "k", "x"])
    assert.deepEqual(of(name),
        [where((s) => s[3].includes(name)), 2 * more.reduce((n, s) => n + (s[3].includes(name) ? s[4] : 0), 0)]);
  assert.deepEqual(of("fresh"), [0, 14]);
  const back = C.union(b, a);
  assert.equal(back.tree.n, u.tree.n);
  assert.deepEqual(Array.from(back.tree.total[0]), Array.from(u.tree.total[1]));
  assert.throws(() => C.union(u, a), /comparison already/);
  assert.throws(() => C.union(a, modelOf(STACKS, { values: [{ name: "space", unit: "bytes" }] })), /different things/);
});
