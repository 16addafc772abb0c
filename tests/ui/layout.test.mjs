// SPDX-License-Identifier: Apache-2.0
// Places of boxes, names that fit, colours, search.

import test from "node:test";
import assert from "node:assert/strict";
import {T, L, label, color, search, modelOf, model, ALL, where, sane} from "./stacks.mjs";

const linear = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
                            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
function luminance(hex) {
  const [r, g, b] = linear(hex);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const contrast = (a, b) => {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
};

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

// OKLab (Ottosson 2020) of a colour as one sees it: dichromacy after Machado, Oliveira and Fernandes 2009.
const VISIONS = {
  normal: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  protanopia: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  deuteranopia: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  tritanopia: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039]
};
const times3 = (m, v) => [0, 3, 6].map((k) => m[k] * v[0] + m[k + 1] * v[1] + m[k + 2] * v[2]);
function seen(hex, vision) {
  const rgb = times3(VISIONS[vision], linear(hex)).map((v) => Math.min(1, Math.max(0, v)));
  const lms = times3([0.4122214708, 0.5363325363, 0.0514459929, 0.2119034982, 0.6806995451, 0.1073969566, 0.0883024619, 0.2817188376, 0.6299787005], rgb);
  return times3([0.2104542553, 0.793617785, -0.0040720468, 1.9779984951, -2.428592205, 0.4505937099, 0.0259040371, 0.7827717662, -0.808675766], lms.map(Math.cbrt));
}
const apart = (a, b) => 100 * Math.hypot(...a.map((v, i) => v - b[i]));

test("color__origins_are_told_apart_in_every_vision", () => {
  const least = { light: [8.7, 6.7, 6.4, 8.2], dark: [8.1, 5.5, 5.5, 7.4] }; // ui-anchors.md 4.5
  const names = ["kernel", "native", "cpp", "rust", "go", "java", "python", "ruby", "php", "node", "dotnet", "jit", "unknown"];
  for (const theme of ["light", "dark"])
    Object.keys(VISIONS).forEach((vision, v) => {
      const of = new Map(names.map((name) => [name, seen(color.ORIGINS[name][theme], vision)]));
      for (const a of names)
        for (const b of names.slice(names.indexOf(a) + 1))
          assert.ok(apart(of.get(a), of.get(b)) >= least[theme][v], `${a} and ${b}, ${theme}, ${vision}: ${apart(of.get(a), of.get(b))}`);
      assert.ok(apart(of.get("kernel"), of.get("native")) >= 12.4, `kernel and native, ${theme}, ${vision}`);
      // Pairs that come near lean on a second sign: one of them has one that the other has not.
      for (const a of names)
        for (const b of names.slice(names.indexOf(a) + 1))
          if (apart(of.get(a), of.get(b)) < 5.9)
            assert.notEqual(color.ORIGINS[a].sign, color.ORIGINS[b].sign, `${a} and ${b}, ${theme}, ${vision}`);
    });
});
