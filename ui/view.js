// SPDX-License-Identifier: Apache-2.0
// view.js -- model and state -> what is on the screen: trees, panes, window, sums. No DOM.
//
// Stages are remembered by what they depend on, so that a zoom does not filter again.

import {FLAG} from "./model.js";
import {compose, pruned, trimmed} from "./rebuild.js";
import {
  applyVerb,
  byWeight,
  compilePattern,
  contextBits,
  coveredNodes,
  foldChains,
  foldRecursion,
  groupBy,
  matchItems,
  selectContexts
} from "./transform.js";
import {callees, invert, selfSeeds, totalSeeds} from "./callers.js";
import {chronological, slicedSelf, sliceTime, slotRange, slotSums} from "./time.js";
import {layOut, selfWidths, widthsOf} from "./layout.js";
import {changeClass} from "./color.js";
import {contextsOf, DEFAULTS, filtersOf, followPath, hasher, pathOf} from "./state.js";

const GROWN_PER_PIXEL = 1; // a turned tree grows where it is as wide as what is drawn
const GROWN_NODES = 150000;
const GLANCE_NODES = 20000; // of smaller files everything is there as soon
const GLANCE_PER_PIXEL = 8;
const GLANCED = ["x", "f", "tr", "r", "l", "d", "p", "z", "a", "s", "q"]; // what asks for more than a first picture

function stage() {
  let key, value;
  return (k, make) => {
    if (key !== k) {
      value = make();
      key = k;
    }
    return value;
  };
}

export function defaultLevels(model) {
  return model.contexts.some((c) => c.kind === 0 && c.name) ? "c,n" : "n";
}

function factors(model, n) {
  if (!model.compare) return null;
  const [a, b] = [model.tree.total[0][0], model.tree.total[1][0]];
  const { a: ma, b: mb } = model.meta.compare;
  if (n === "total") return { fa: 1, fb: b ? a / b : 1 };
  if (n === "dur") return { fa: 1, fb: mb.duration ? ma.duration / mb.duration : 1 };
  return { fa: 1, fb: n === "none" ? 1 : Number(n) || 1 };
}

function anyBelow0(column) {
  for (let i = 0; i < column.length; i++) // some() takes ten times as long
    if (column[i] < 0) return true;
  return false;
}

export function createViewer(model) {
  const hashOf = hasher(model);
  const names = ["filtered", "timed", "grouped", "panes", "strip", "sifted", "whole", "based"];
  const stages = Object.fromEntries(names.map((k) => [k, stage()]));
  const negative = model.tree.self.map(anyBelow0);
  let itemsByHash = null;

  function itemOf(text, tree, u) {
    if (!itemsByHash) {
      itemsByHash = new Map();
      for (let i = 0; i < model.nitems; i++) {
        const h = hashOf(i);
        if (!itemsByHash.has(h)) itemsByHash.set(h, []);
        itemsByHash.get(h).push(i);
      }
    }
    const items = itemsByHash.get(text) || [];
    if (items.length < 2) return items.length ? items[0] : -1;
    const sum = new Map(items.map((i) => [i, 0])); // of several of one name, the largest
    for (let i = 1; i < tree.n; i++)
      if (sum.has(tree.item[i]))
        sum.set(tree.item[i], sum.get(tree.item[i]) + tree.self[u][i] + tree.total[u][i]);
    return items.reduce((best, i) => sum.get(i) > sum.get(best) ? i : best);
  }

  function filtered(state) {
    return stages.filtered(`${state.x}|${state.f}`, () => {
      let tree = selectContexts(model, model.tree, contextsOf(state));
      let where = tree === model.tree ? null : tree.where;
      const bad = [], left = [tree.total.map((t) => t[0])];
      for (const filter of filtersOf(state)) {
        try {
          tree = applyVerb(model, tree, filter);
          where = compose(where, tree.where);
        } catch (e) {
          bad.push(`${filter.pattern}: ${e.message}`);
        }
        left.push(tree.total.map((t) => t[0]));
      }
      return { tree, where, bad, left };
    });
  }

  // Filters first, then the part of the time: they commute, and the strip shows what the first left.
  function timed(state) {
    const whole = filtered(state), range = slotRange(model.times, state.tr);
    if (!range) return {...whole, range };
    return stages.timed(`${state.x}|${state.f}|${range}`, () => {
      const tree = sliceTime(model, whole.tree, whole.where, range);
      return {...whole, tree, where: tree.where, range };
    });
  }

  // Samples by slot and kind of code, of what the filters left.
  function strip(state) {
    if (!model.times) return null;
    return stages.strip(`${state.x}|${state.f}`, () => {
      const { where } = onlyDrops(state) ? sifted(state) : filtered(state), { item } = model.tree, { kind, n } = model.fun;
      const sums = slotSums(model, where, 33, (i) => item[i] >= 0 && item[i] < n ? Math.min(kind[item[i]], 31) : 32);
      return { where, sums, kinds: [...sums.keys()].filter((k) => sums[k].some((v) => v)) };
    });
  }

  function grouped(state, source, u) {
    return stages.grouped(`${state.x}|${state.f}|${state.tr}|${state.g}|${state.r}|${state.l}|${u}`, () => {
      const levels = state.g === "" ? defaultLevels(model) : state.g;
      let { tree, where } = source;
      const step = (next) => {
        where = compose(where, next.where);
        tree = next;
      };
      step(groupBy(model, tree, levels));
      if (state.r !== "0") step(foldRecursion(tree, model.nitems, Number(state.r)));
      if (state.l) step(foldChains(model, tree, u));
      return { tree, where };
    });
  }

  // What most filters do, and a part of the time: samples go, every other stack stays as it is.
  const onlyDrops = (state) => state.r === "0" && !state.l && !/(^|,)[msx]~/.test(state.f);

  // where[i] < 0: the samples of the file's node i are gone.
  function sifted(state) {
    return stages.sifted(`${state.x}|${state.f}`, () => {
      const { tree } = model, bad = [], left = [], sums = tree.total.map((t) => t[0]);
      let where = null;
      const sift = (bits, want) => {
        const covered = coveredNodes(tree, bits);
        where = where || new Int8Array(tree.n);
        for (let i = 0; i < tree.n; i++) {
          if (covered[i] === want || where[i]) continue;
          where[i] = -1;
          for (let v = 0; v < sums.length; v++) sums[v] -= tree.self[v][i];
        }
      };
      const sum = () => left.push(sums.slice());
      for (const bits of contextBits(model, contextsOf(state))) sift(bits, 1);
      sum();
      for (const { verb, pattern } of filtersOf(state)) {
        try {
          sift(matchItems(model, compilePattern(pattern)), verb === "k" ? 1 : 0);
        } catch (e) {
          bad.push(`${pattern}: ${e.message}`);
        }
        sum();
      }
      return { where, bad, left };
    });
  }

  // Of processes shown by name one is left: then that is who it is, and another item.
  function oneIsLeft(levels, alive) {
    if (!levels.includes("n")) return false;
    const { tree } = model, of = new Map();
    for (let p = 1; p < tree.n; p++) {
      if (!model.isContext(tree.item[p])) {
        p = tree.end[p] - 1;
        continue;
      }
      const { kind, name } = model.context(tree.item[p]);
      if (kind !== 1) continue;
      let i = p;
      while (i < tree.end[p] && !alive(i)) i++;
      const seen = of.get(name) || of.set(name, { all: new Set(), left: new Set() }).get(name);
      seen.all.add(tree.item[p]);
      if (i < tree.end[p]) seen.left.add(tree.item[p]);
      p = tree.end[p] - 1;
    }
    return [...of.values()].some(({ all, left }) => all.size > 1 && left.size === 1);
  }

  // What is said of a merged frame ("inlined") is of the frames that have samples left, not of all of the file.
  // Frames alone: contexts have no flags, and grouping folds no frame.
  function flagsLeft(whole, alive) {
    const { tree: { n, parent, item, flags }, fun } = model, live = new Uint8Array(n);
    const any = new Uint8Array(whole.n), every = new Uint8Array(whole.n).fill(255);
    for (let i = n - 1; i > 0; i--) {
      if (!live[i] && !alive(i)) continue;
      live[parent[i]] = 1;
      if (item[i] >= fun.n) continue;
      any[whole.where[i]] |= flags[i];
      every[whole.where[i]] &= flags[i];
    }
    return any.map((f, at) => f & ~FLAG.INLINED | every[at] & f & FLAG.INLINED);
  }

  // Where samples only go, what was grouped once is summed anew. null: that would not be the same tree.
  function based(state, levels) {
    const whole = stages.whole(levels, () => groupBy(model, model.tree, levels)), { where: gone, bad, left } = sifted(state);
    const range = slotRange(model.times, state.tr);
    return stages.based(`${state.x}|${state.f}|${state.tr}|${levels}`, () => {
      if (!gone && !range) return { tree: whole, where: whole.where, bad, left, range };
      const { tree: { n, self: all } } = model, to = whole.where, alive = range && new Uint8Array(n);
      const keptNow = () => gone ? to.map((at, i) => gone[i] ? -1 : at) : to;
      let self;
      if (range) {
        const kept = keptNow();
        self = slicedSelf(model, whole, kept, range);
        const { node, slot } = model.times;
        for (let k = 0; k < node.length; k++)
          if (slot[k] >= range[0] && slot[k] < range[1] && kept[node[k]] >= 0) alive[node[k]] = 1;
      } else {
        self = all.map((column) => {
          const out = new Float64Array(whole.n);
          for (let i = 0; i < n; i++)
            if (!gone[i]) out[to[i]] += column[i];
          return out;
        });
      }
      const stays = (i) => range ? alive[i] : !gone[i] && all.some((column) => column[i]);
      if (oneIsLeft(levels, stays)) return null;
      const { tree, where } = pruned({...whole, flags: flagsLeft(whole, stays) }, self);
      return { tree, get where() { return compose(keptNow(), where()); }, bad, left, range };
    });
  }

  // The tree of the first picture of a large file, up to an eighth of a pixel: a fraction of the nodes are wider, and
  // all of them are to be put together before anything is seen otherwise. null: not for this state.
  function glanced(state, px) {
    const { tree } = model;
    if (tree.n < GLANCE_NODES || negative.includes(true) || state.o === "t" || GLANCED.some((k) => state[k] !== DEFAULTS[k]))
      return null;
    const some = trimmed(tree, 1 / px / GLANCE_PER_PIXEL, model.isContext);
    return { tree: groupBy(model, some, state.g || defaultLevels(model)), bad: [], left: [], range: null, glance: true };
  }

  // Seeds grow into a turned tree, fine enough for the window that `path` and `range` name.
  function turned(tree, seeds, whole, state, px, path) {
    const parts =
        path.replace(/^\^/, "").replace(/^\d+~/, "").split(".").filter(Boolean).map((p) => p.split("!")[0]);
    const range = state.a ? state.a.split(",").map(Number) : null;
    const least = whole / px / GROWN_PER_PIXEL * (range ? Math.max(1e-6, (range[1] - range[0]) / 1e6) : 1);
    const standing = [parts.length ? 1 : 2];
    let inside = least;
    return invert(tree, seeds, (i, item, parent, total) => {
      let size = 0;
      for (const t of total) size = Math.max(size, Math.abs(t[i]));
      const up = standing[parent[i]] || 0;
      let depth = 0;
      if (up === 1)
        for (let p = i; p > 0; p = parent[p]) depth++;
      const step = up === 1 && parts[depth - 1] === hashOf(item[i]);
      standing[i] = up === 2 ? 2 : step ? (depth === parts.length ? 2 : 1) : 0;
      if (step && standing[i] === 2) inside = size / px / GROWN_PER_PIXEL;
      if (i > GROWN_NODES) return false;
      return standing[i] === 1 || size >= (standing[i] === 2 ? inside : least);
    });
  }

  // Roots of a turned tree have no order of their own: by name the large ones would be lost.
  function measured(tree, state, u, norm) {
    const compare = norm && { by: state.v2, ...norm };
    const widths = (t) => compare || negative[u] ? widthsOf(t, selfWidths(t, u, compare)) : t.total[u];
    if (state.o === "w" || tree.occurrences) tree = byWeight(tree, widths(tree));
    return layOut(tree, null, widths(tree));
  }

  function panes(state, source, u, norm, pixels) {
    const { tree: base } = source, px = state.d === "b" || state.p ? Math.max(pixels(), 200) : 0;
    const lazy = px ? `${state.z}|${state.a}|${px}` : "";
    const key = [
      state.x, state.f, state.tr, state.g, state.r, state.l, u, state.n, state.v2, state.o, state.d, state.p,
      state.y, lazy, source.glance
    ].join("|");
    return stages.panes(key, () => {
      const item = state.p ? itemOf(state.p, base, u) : -1;
      if (item >= 0) return sandwich(state, base, item, u, norm, px);
      let tree = base;
      if (state.d === "b") {
        let whole = 0;
        for (const t of base.total) whole = Math.max(whole, Math.abs(t[0]));
        tree = turned(base, selfSeeds(base), whole, state, px, state.z);
      } else if (state.o === "t" && model.times) {
        tree = chronological(model, base, source.where, source.range);
      }
      const lay = measured(tree, state, u, norm);
      const flame = state.y === "f";
      return {
        item,
        list: [{ lay, up: flame, base: 0, top: flame ? lay.rows - 1 : 0, mark: "" }],
        rows: lay.rows
      };
    });
  }

  // The pivot's row in the middle; callers grow upwards from it, callees downwards.
  function sandwich(state, base, item, u, norm, px) {
    const seeds = totalSeeds(base, item);
    let whole = 0;
    for (const amounts of seeds.amounts)
      whole = Math.max(whole, Math.abs(amounts.reduce((a, b) => a + b, 0)));
    const above = turned(base, seeds, whole, state, px, state.z.startsWith("^") ? state.z : "");
    const down = measured(callees(base, item, model.nitems), state, u, norm);
    const up = measured(above, state, u, norm);
    const pivotRow = Math.max(0, up.rows - 2);
    return {
      item,
      pivotRow,
      rows: pivotRow + down.rows,
      list: [
        { lay: down, up: false, base: 0, top: pivotRow, mark: "" },
        { lay: up, up: true, base: 1, top: pivotRow, mark: "^" }
      ],
    };
  }

  function place(view, text) {
    const pane = view.panes.find((p) => p.mark === (text.startsWith("^") ? "^" : "")) || view.panes[0];
    const node = followPath(pane.lay.tree, text, hashOf);
    return node < 0 ? null : { pane, node };
  }

  function windowOf(view, state) {
    const lay = view.panes[0].lay;
    if (state.a) {
      const [a, b] = state.a.split(",").map((v) => Math.min(1e6, Number(v)) / 1e6 * lay.whole);
      if (b > a) return { x0: a, x1: b };
    }
    const z = view.zoom;
    if (!z || z.node <= 0) return { x0: 0, x1: lay.whole };
    return { x0: z.pane.lay.start[z.node], x1: z.pane.lay.start[z.node] + z.pane.lay.width[z.node] };
  }

  // pixels() tells how wide the graph is: asked only where that matters, since it costs a layout. `glance`: what is
  // there first will do; the view says so if that is what it is.
  function derive(state, pixels, glance = false) {
    const u = Math.min(Number(state.u), model.tree.self.length - 1);
    const norm = factors(model, state.n);
    let quick = glance && glanced(state, pixels());
    quick = quick || onlyDrops(state) && based(state, state.g || defaultLevels(model));
    if (!quick) {
      const source = timed(state);
      quick = {...source, ...grouped(state, source, u) };
    }
    const { tree: base, bad, left, range } = quick;
    const p = panes(state, quick, u, norm, pixels);
    const view = {
      model,
      u,
      norm,
      get source() { return timed(state).tree; },
      base,
      glance: !!quick.glance,
      bad,
      left,
      range,
      get strip() { return strip(state); },
      panes: p.list,
      rows: p.rows,
      pivot: p.item,
      pivotRow: p.pivotRow
    };
    const missing = [];
    view.zoom = state.z ? place(view, state.z) : null;
    if (state.z && !view.zoom) missing.push("zoomed frame");
    view.selected = state.s ? place(view, state.s) : null;
    if (state.s && !view.selected) missing.push("selected frame");
    if (state.p && p.item < 0) missing.push("pivot function");
    if (!model.times && (state.o === "t" || state.tr)) missing.push("time (this profile knows none)");
    if (Number(state.u) >= model.tree.self.length && Number(state.u)) missing.push("value type");
    view.missing = missing;
    view.window = windowOf(view, state);
    view.all = model.tree.total[u] ? model.tree.total[u][0] : 0;
    view.turned = state.d === "b" && p.item < 0;
    const z = view.zoom;
    view.viewSum = z ? z.pane.lay.tree.total[u][z.node] : view.panes[0].lay.tree.total[u][0];
    // Sums below zero are drawn by size and told apart by sign and colour.
    view.signed = !model.compare && negative[u];
    if (view.signed) view.change = (tree, i) => tree.total[u][i] < 0 ? 1 : 7;
    if (model.compare) {
      const t = model.tree.total;
      view.change = (tree, i) =>
          changeClass(tree.total[0][i], tree.total[1][i], t[0][0], t[1][0], norm.fa, norm.fb);
    }
    return view;
  }

  return {
    derive,
    hashOf,
    path: (pane, node) => node > 0 || pane.mark ? pane.mark + pathOf(pane.lay.tree, node, hashOf) : "",
  };
}
