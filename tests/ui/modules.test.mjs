// SPDX-License-Identifier: Apache-2.0
// The modules that know no browser, under node --test. Trees are made from collapsed stacks; the
// oracle of every sum is the list of stacks itself.

import test from "node:test";
import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {gunzipSync} from "node:zlib";
import {join} from "node:path";

const UI = process.env.UI_DIR || new URL("../../ui/", import.meta.url).pathname;
const load = (name) => import(join(UI, `${name}.js`));
const format = await load("format"), M = await load("model"), T = {...await load("rebuild"), ...await load("transform"), ...await load("callers") },
      L = await load("layout");
const label = await load("label"), color = await load("color"), search = await load("search"),
      S = await load("state"), V = await load("view"), time = await load("time"), C = await load("compare");

// ---- a model from [container, "comm/pid", "thread/tid", frames, count] ----

function modelOf(stacks, meta = {}) {
  const names = [...new Set(stacks.flatMap((s) => s[3]))].sort();
  const strings = ["", ...names, "/lib/a.so", "/lib/b.so"];
  const n = names.length;
  const fun = {
    n,
    name: Int32Array.from(names, (_, i) => i + 1),
    module: Int32Array.from(names, (_, i) => n + 1 + i % 2),
    file: new Int32Array(n),
    build: new Int32Array(n),
    line: new Float64Array(n),
    kind: Uint8Array.from(names, (_, i) => i % 3)
  };
  const contexts = [], known = new Map();
  const context = (kind, name, id, key) => {
    if (!known.has(key)) {
      known.set(key, n + contexts.length);
      contexts.push({
        kind,
        name,
        container: "",
        appid: "",
        pid: kind === 1 ? id : 0,
        tid: kind === 2 ? id : 0,
        uid: 1
      });
    }
    return known.get(key);
  };
  const root = { item: -1, children: new Map(), self: 0 };
  for (const [c, p, t, frames, count] of stacks) {
    const [comm, pid] = p.split("/"), [thread, tid] = t.split("/");
    let at = root;
    for (const item of [context(0, c, 0, c), context(1, comm, +pid, c + p),
             context(2, thread, +tid, c + p + t), ...frames.map((f) => names.indexOf(f))]) {
      if (!at.children.has(item)) at.children.set(item, { item, children: new Map(), self: 0 });
      at = at.children.get(item);
    }
    at.self += count;
  }
  const item = [], children = [], self = [];
  const walk = (node) => {
    item.push(node.item);
    children.push(node.children.size);
    self.push(node.self);
    for (const c of [...node.children.values()].sort((a, b) => a.item - b.item)) walk(c);
  };
  walk(root);
  const tree = M.makeTree(Int32Array.from(item), Int32Array.from(children), new Uint8Array(item.length),
      [Float64Array.from(self)]);
  return M.makeModel({
    meta: { kinds: ["native", "kernel", "python"], values: [{ name: "samples", unit: "count" }], ...meta },
    strings,
    fun,
    contexts,
    tree
  });
}

const STACKS = [
  ["", "app/1", "app/1", ["main", "a"], 70],
  ["", "app/1", "app/1", ["main", "a", "b", "c"], 15],
  ["", "app/1", "w/2", ["main", "a", "b", "a"], 5],
  ["", "app/3", "app/3", ["main", "b", "b", "b", "k"], 20],
  ["web", "nginx/4", "nginx/4", ["main", "k"], 30],
  ["web", "nginx/4", "nginx/4", ["x", "b"], 10],
  ["web", "nginx/4", "nginx/4", [], 3],
];
const model = modelOf(STACKS);
const ALL = STACKS.reduce((s, k) => s + k[4], 0);
const itemOf = (name, m = model) =>
    Array.from({ length: m.fun.n }, (_, i) => i).find((i) => m.rawName(i) === name);
const where = (f) => STACKS.filter(f).reduce((s, k) => s + k[4], 0);
const ends = (tree) => {
  const out = new Map();
  for (let i = 0; i < tree.n; i++)
    if (tree.self[0][i]) {
      const path = [];
      for (let p = i; p > 0; p = tree.parent[p])
        path.push(model.isContext(tree.item[p]) ? null : model.rawName(tree.item[p]));
      const key = path.filter((x) => x !== null).reverse().join(";");
      out.set(key, (out.get(key) || 0) + tree.self[0][i]);
    }
  return out;
};
function sane(tree) {
  let self = 0;
  for (let i = 0; i < tree.n; i++) {
    self += tree.self[0][i];
    assert.ok(tree.end[i] > i && tree.end[i] <= tree.n);
    let below = tree.self[0][i];
    for (let c = i + 1; c < tree.end[i]; c = tree.end[c]) {
      assert.equal(tree.parent[c], i);
      assert.equal(tree.depth[c], tree.depth[i] + 1);
      below += tree.total[0][c];
    }
    assert.equal(below, tree.total[0][i]);
  }
  assert.equal(self, tree.total[0][0]);
  return tree;
}
const verb = (v, pattern, tree = model.tree) => sane(T.applyVerb(model, tree, { verb: v, pattern }));

test("format__numbers", () => {
  assert.equal(format.count(1234567), "1\u202f234\u202f567");
  assert.equal(format.bytes(1536), "1.50 KiB");
  assert.equal(format.bytes(-(3 << 20)), "−3.00 MiB");
  assert.equal(format.nanoseconds(1.5e9), "1.50 s");
  assert.equal(format.percent(1, 3), "33.3 %");
  assert.equal(format.percent(0, 3), "0 %");
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

function containerOf(path) {
  const text = readFileSync(path, "latin1");
  const data = /<script type="text\/plain" id="profile">([A-Za-z0-9+/=]*)<\/script>/.exec(text);
  return new Uint8Array(gunzipSync(Buffer.from(data[1], "base64")));
}

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

test("layout__widths_and_hits", () => {
  const base = T.groupBy(model, model.tree, "n");
  const lay = L.layOut(base, L.selfWidths(base, 0));
  assert.equal(lay.whole, ALL);
  for (let i = 0; i < base.n; i++)
    assert.equal(L.nodeAt(lay, lay.start[i] + lay.width[i] / 2, base.depth[i]), i);
  assert.equal(L.nodeAt(lay, ALL + 1, 0), -1);
  assert.equal(L.layOut(T.byWeight(base, lay.width), L.selfWidths(base, 0)).whole, ALL);
});

test("layout__weight_order_is_sorted", () => {
  const base = T.groupBy(model, model.tree, "n");
  const t = sane(T.byWeight(base, base.total[0]));
  for (let i = 0; i < t.n; i++)
    for (let c = i + 1, last = Infinity; c < t.end[i]; c = t.end[c]) {
      assert.ok(t.total[0][c] <= last);
      last = t.total[0][c];
    }
});

test("layout__no_column_is_left_out", () => {
  const stacks = Array.from(
      { length: 5000 }, (_, i) => ["", "p/1", "p/1", ["main", `f${String(i).padStart(4, "0")}`], 1]);
  const wide = modelOf(stacks);
  const lay = L.layOut(wide.tree, L.selfWidths(wide.tree, 0));
  const seen = new Uint8Array(800);
  L.eachBox(lay, 0, lay.whole, 800,
      (i, x, w) => wide.tree.depth[i] === 5 && seen.fill(1, Math.floor(x), Math.ceil(x + w)),
      (d, x, w, first, count) => {
        if (d === 5) seen.fill(1, Math.floor(x), Math.ceil(x + w));
        assert.ok(count > 0);
      });
  assert.ok(seen.every((v) => v === 1));
});

test("label__ladder", () => {
  const fit = (name, origin, chars) => label.fit(label.ladderOf(name, origin), chars);
  assert.equal(fit("<T as core::fmt::Display>::fmt<u32>", "rust", 34), "<T as core::fmt::Display>::fmt");
  assert.equal(fit("line<U+2028>sep", "cpp", 14), "line<U+2028>s…");
  assert.equal(fit("operator<<(int)", "cpp", 12), "operator<<");
  assert.equal(fit("abc", "native", 2), "");
  assert.equal(fit("ab", "native", 2), "ab");
  const cpp = "std::vector<int, std::allocator<int> >::push_back(int const&)";
  assert.equal(fit(cpp, "cpp", 100), cpp);
  assert.equal(fit(cpp, "cpp", 30), "std::vector::push_back");
  assert.equal(fit(cpp, "cpp", 12), "push_back");
  assert.equal(fit(cpp, "cpp", 5), "push…");
  assert.equal(fit("com/acme/Deep.call(Ljava/lang/Object|)V", "java", 20), "com/acme/Deep.call");
  assert.equal(fit("com/acme/Deep.call(Ljava/lang/Object|)V", "java", 9), "Deep.call");
  assert.equal(fit("github.com/a/b.(*T).Run", "go", 12), "b.(*T).Run");
  assert.equal(fit("(/usr/lib/libfoo.so.1)", "unknown", 13), "(libfoo.so.1)");
  assert.equal(fit("Foo::operator<(Foo const&)", "cpp", 15), "Foo::operator<");
  assert.equal(fit("run (/srv/app.py:3)", "python", 4), "run");
  assert.equal(fit("x", "cpp", 1), "x");
  assert.equal(fit("x", "cpp", 0), "");
});

test("color__noise_stays_neutral_and_swaps_mirror", () => {
  assert.equal(color.changeClass(100, 105, 1000, 1000, 1, 1), 4);
  for (const [a, b] of [[100, 400], [0, 50], [900, 20], [5, 6]])
    assert.equal(
        color.changeClass(a, b, 1000, 1000, 1, 1) - 4, 4 - color.changeClass(b, a, 1000, 1000, 1, 1));
});

function luminance(hex) {
  const [r, g, b] = [1, 3,
    5].map((i) => parseInt(hex.slice(i, i + 2), 16) /
                  255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const contrast = (a, b) => {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
};

test("color__contrasts", () => {
  for (const theme of ["light", "dark"]) {
    for (const [name, o] of Object.entries(color.ORIGINS))
      assert.ok(contrast(o[theme], theme === "dark" && o.darkText || color.LABEL[theme]) >= 4.5,
          `${name} ${theme}`);
    for (const c of color.CHANGE[theme]) assert.ok(contrast(c, color.LABEL[theme]) >= 4.5);
    const s = color.SURFACE[theme];
    for (const k of ["text", "muted", "accent", "match", "warn", "error"])
      assert.ok(contrast(s[k], s.ground) >= 4.5 && contrast(s[k], s.panel) >= 4.5, `${k} ${theme}`);
  }
});

test("search__share_counts_each_stack_once", () => {
  for (const q of ["a", "b", "main", "k", "nothing"]) {
    const found = search.findItems(model, `=${q}`, ""), { bits } = found;
    const part = search.matchedSum(model.tree, model.tree.total[0], found);
    assert.equal(part.sum, where((s) => s[3].includes(q)), q);
    const base = T.groupBy(model, model.tree, "-"), turned = T.invert(base, T.selfSeeds(base), () => true);
    assert.equal(search.matchedInverted(turned, 0, bits, T.coveredNodes(base, bits), 0).sum, part.sum, q);
    const lazy = T.invert(base, T.selfSeeds(base), () => false);
    assert.equal(search.matchedInverted(lazy, 0, bits, T.coveredNodes(base, bits), 0).sum, part.sum, q);
  }
  assert.ok(search.findItems(model, "(", "r").error);
});

test("search__narrowing_finds_what_a_fresh_search_finds", () => {
  const lay = L.layOut(model.tree, model.tree.self[0]);
  const typed = [
    ["m", ""], ["ma", ""], ["mai", ""], ["ai", ""], ["mod:", ""], ["mod:l", ""], ["mod:li", ""], ["li", ""], ["a", "i"],
    ["A", "i"], ["a", ""], ["=a", ""], ["a", "r"], ["a+", "r"], ["origin:", ""], ["k", ""], ["k", ""], ["kx", ""],
    ["", ""], ["b", ""]
  ];
  let before = null;
  for (const [q, flags] of typed) {
    const found = search.findItems(model, q, flags, before), fresh = search.findItems(model, q, flags);
    before = found;
    if (!found) continue;
    assert.deepEqual(found.bits, fresh.bits, q);
    for (let i = 0; i < model.tree.n; i++)
      assert.deepEqual(search.matchedSum(model.tree, model.tree.total[0], found, i, model.tree.end[i]),
          search.matchedSum(model.tree, model.tree.total[0], fresh, i, model.tree.end[i]), q);
    assert.deepEqual(search.ticks(lay, found, 50), search.ticks(lay, fresh, 50), q);
    let plain = 0, inside = -1;
    for (let i = 1; i < model.tree.n; i++) {
      if (i < inside || !fresh.bits[model.tree.item[i]]) continue;
      inside = model.tree.end[i];
      plain += model.tree.total[0][i];
    }
    assert.equal(search.matchedSum(model.tree, model.tree.total[0], found).sum, plain, q);
  }
});

test("search__next_and_previous", () => {
  const found = search.findItems(model, "=b", "");
  const first = search.nextMatch(model.tree, found, 0, 1);
  assert.equal(first.number, 1);
  assert.equal(search.nextMatch(model.tree, found, first.node, -1).number, first.of);
});

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
          for (const key of ["item", "parent", "depth", "end"])
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

// ---- times: stack s of STACKS ran in the slots of when[s], evenly ----

const WHEN = [[0, 1, 2, 3, 4, 5, 6], [2, 3, 4], [4], [0, 4], [1, 5, 9], [9], [8]];
function withTimes(stacks = STACKS, when = WHEN) {
  const m = modelOf(stacks), counts = [];
  stacks.forEach((s, k) => {
    let i = 0; // follow the stack
    for (const want of [s[0], s[1].split("/")[0], s[2].split("/")[0], ...s[3]]) {
      const numbers = [, ...s[1].split("/").slice(1), ...s[2].split("/").slice(1)];
      for (let c = i + 1, end = m.tree.end[i]; c < end; c = m.tree.end[c]) {
        const x = m.isContext(m.tree.item[c]) && m.context(m.tree.item[c]);
        if (m.rawName(m.tree.item[c]) === want && (!x || !x.kind || String(x.pid || x.tid) === numbers[x.kind])) {
          i = c;
          break;
        }
      }
    }
    when[k].forEach((slot, j) => {
      const n = Math.floor(s[4] / when[k].length) + (j < s[4] % when[k].length ? 1 : 0);
      counts.push([i, slot, n]);
    });
  });
  counts.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const column = (k) => Int32Array.from(counts, (c) => c[k]);
  m.times = { slotMs: 100, startMs: 40, slots: 10, node: column(0), slot: column(1), samples: column(2) };
  return m;
}
// Samples of a stack in slots [from, to).
const ranIn = ([from, to]) => (s) => {
  const slots = WHEN[STACKS.indexOf(s)];
  return slots.reduce((sum, slot, j) => sum + (slot >= from && slot < to ? Math.floor(s[4] / slots.length) +
                                                       (j < s[4] % slots.length ? 1 : 0) : 0), 0);
};

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

// ---- two pages as one ----

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

test("color__tokens_are_those_of_the_specification", () => {
  const tokens = {
    kernel: "f58d49 ec9730", native: "e2d8d0 a69c95", cpp: "e3c150 e1cc5a", rust: "bc783a bc7533",
    go: "68cdee 4abece", java: "91b187 2c9f63", python: "71a4f4 809be5", ruby: "df587b ef6664",
    php: "937bc5 c7bbff", node: "a6e590 90c27f", dotnet: "c796bf ae6fbe", jit: "1f9995 8fd9d1",
    unknown: "bebebe 85868b", context: "eceff3 2a2f37"
  };
  for (const [name, pair] of Object.entries(tokens))
    assert.equal(`${color.ORIGINS[name].light} ${color.ORIGINS[name].dark}`, `#${pair.replace(" ", " #")}`, name);
});
