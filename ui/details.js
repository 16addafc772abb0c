// SPDX-License-Identifier: Apache-2.0
// details.js -- everything about one frame: what it is, its shares, who calls it, its stack.

import {byId, el, fill} from "./dom.js";
import {clip, count, percent, visible} from "./format.js";
import {originOf} from "./color.js";
import {fit, ladderOf} from "./label.js";
import {ancestors} from "./layout.js";
import {tableOf} from "./transform.js";
import {ofMachine} from "./panel.js";

const STACK_SHOWN = 400;
const HOTTEST = 5;
const LINK_CHARS = 40; // what the panel has room for

function shares(app, v, inView, parent) {
  const { view } = app;
  return [
    app.format(view.u).bare(v), percent(v, view.all), inView ? percent(v, view.viewSum) : "",
    parent === undefined ? "" : percent(v, parent)
  ].map((text) => el("td", {}, text));
}

// All places of an item: how many, their sums (each stack once), who calls it and what it calls.
function everywhere(app, item) {
  const { base: { n, item: items, parent, end, self, total }, u } = app.view, callers = new Map(), callees = new Map();
  const add = (map, k, v) => map.set(k, (map.get(k) || 0) + v);
  const sum = { frames: 0, self: 0, total: 0 };
  for (let i = 1, covered = -1; i < n; i++) {
    if (items[i] !== item) continue;
    sum.frames++;
    sum.self += self[u][i];
    if (i >= covered) {
      covered = end[i];
      sum.total += total[u][i];
      if (parent[i] > 0) add(callers, items[parent[i]], total[u][i]);
    }
    for (let c = i + 1; c < end[i]; c = end[c])
      if (items[c] !== item) add(callees, items[c], total[u][c]);
  }
  const top = (map) => [...map].sort((a, b) => b[1] - a[1]).slice(0, HOTTEST);
  return {...sum, callers: top(callers), callees: top(callees) };
}

function linkList(app, list, whole) {
  if (!list.length) return el("p", { class: "muted" }, "none");
  return el("ul", { class: "links" },
      ...list.map(([item, v]) => el("li", {},
                      el("button", {
                        onclick: () => app.commands.selectItem(item),
                        title: app.model.name(item)
                      },
                          el("span", { class: "n" }, percent(v, whole)),
                          el("span", { class: "f" }, fit(ladderOf(app.model.name(item), app.model.origin(item)), LINK_CHARS))))));
}

// What took the most itself at or below a frame.
function hottestBelow(app, tree, i) {
  const { model, view } = app, { self: sums } = tableOf(tree, model.fun.n, (k) => k < model.fun.n ? k : -1, i, tree.end[i]);
  const self = sums[view.u], list = [];
  for (let k = 0, least = 0; k < self.length; k++) {
    if (!(self[k] > least)) continue;
    list.push([k, self[k]]);
    list.sort((a, b) => b[1] - a[1]);
    if (list.length > HOTTEST) list.pop();
    if (list.length === HOTTEST) least = list[HOTTEST - 1][1];
  }
  return list;
}

function foundBy(flags) {
  const words = [];
  if (flags & 2) words.push("by frame pointer (some stacks)");
  if (flags & 4) words.push("guessed from a return address (some stacks)");
  if (flags & 16) words.push("stands for frames left out of the file");
  return words.join("; ") || "by unwind table or runtime";
}

// A stack that does not begin at its thread's first frame begins with a note of why.
function rootOf(model, tree, i) {
  let root = -1;
  for (let p = i; p > 0; p = tree.parent[p])
    if (!model.isContext(tree.item[p])) root = tree.item[p];
  const cut = root >= 0 && model.origin(root) === "meta" && /^\[(truncated|incomplete)/.test(model.rawName(root));
  return cut ? el("span", { class: "badge warn" }, `! root ${model.name(root)}`) : null;
}

function badges(app, tree, i) {
  const { model } = app, item = tree.item[i];
  const badge = (...content) => el("span", { class: "badge" }, ...content);
  return el("div", {},
      item >= 0 ? badge(app.swatch(item), originOf(model.origin(item)).word) : null,
      tree.flags[i] & 1 ? badge("inlined") : null, tree.flags[i] & 8 && model.origin(item) !== "unknown" ? badge("no symbol") : null,
      rootOf(model, tree, i),
      tree.repeat && tree.repeat[i] ? badge(`${tree.repeat[i] + 1} frames as one`) : null);
}

function factList(app, tree, i) {
  const { model } = app, item = tree.item[i], u = app.view.u, machine = ofMachine(app, tree.total[u][i]), pairs = [];
  if (item >= 0 && model.isContext(item)) {
    const c = model.context(item);
    pairs.push(["application", visible(c.appid)], ["container", visible(c.container)]);
  } else if (item >= 0) {
    const file = visible(model.file(item)), line = model.line(item);
    pairs.push(["module", visible(model.module(item))], ["build id", model.buildId(item)],
        ["file", file && line ? `${file}:${line}` : file], ["found", foundBy(tree.flags[i])]);
  }
  if (machine) pairs.push(["time", `${app.format(u).approx(tree.total[u][i])}, ${machine} of all CPUs`]);
  return el("dl", { class: "facts" },
      ...pairs.filter(([, v]) => v).flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]));
}

// This frame, and every frame of its function; shares of all and of the view.
function sharesTable(app, tree, i, every) {
  const { view } = app, { u } = view, item = tree.item[i], up = tree.parent[i];
  const row = (name, ...cells) => el("tr", {}, el("td", {}, name), ...cells);
  const heads = (...words) => el("tr", {}, ...words.map((h) => el("th", {}, h)));
  const parent = up > 0 ? tree.total[u][up] : undefined;
  const rows = [
    heads("this frame", app.valueName(u), "of all", "of view", "of parent"),
    row("total", ...shares(app, tree.total[u][i], true, parent)), row("self", ...shares(app, tree.self[u][i], true, parent))
  ];
  if (every)
    rows.push(heads(`everywhere, ${count(every.frames)}×`, "", "", "", ""), row("total", ...shares(app, every.total)),
        row("self", ...shares(app, every.self)));
  return el("table", { class: "plain" }, ...rows);
}

function buttons(app, item) {
  const c = app.commands, list = [["Copy name", c.copyName], ["Copy stack", c.copyStack]];
  const filter = (text, verb) => list.push([text, () => c.filterItem(verb, item)]);
  if (item >= 0 && !app.model.isContext(item)) {
    list.push(["Callers & callees", () => c.pivotItem(item)], ["Keep", () => c.keepItem(item)]);
    filter("Drop", "d");
    filter("Fold", "m");
    filter("Start here", "s");
  } else if (item >= 0) {
    list.push(["Keep", () => c.keepItem(item)]);
    filter("Drop", "d");
  }
  return el("div", { class: "buttons" },
      ...list.map(([text, run]) => el("button", { onclick: run }, text)));
}

export function showDetails(app) {
  const at = app.view && (app.view.selected || app.view.zoom);
  const pane = byId("pane-details");
  if (!at || at.node < 0) {
    const hint =
        "Click a frame, or move with the arrow keys, to see who calls it, what it calls, and its shares.";
    fill(pane, el("p", { class: "muted" }, hint));
    return;
  }
  const { model, view } = app, { tree } = at.pane.lay, i = at.node, item = tree.item[i];
  const every = item >= 0 ? everywhere(app, item) : null;
  const stack = stackOf(app, at), first = Math.max(0, stack.length - STACK_SHOWN);
  const around = [];
  if (tree.end[i] > i + 1 && !view.turned && !at.pane.mark)
    around.push(el("h3", {}, "Hottest in it (self, share of its total)"),
        linkList(app, hottestBelow(app, tree, i), tree.total[view.u][i]));
  if (item >= 0 && !model.isContext(item)) {
    const { callers, callees, total } = every;
    around.push(el("h3", {}, "Callers (share of its total)"), linkList(app, callers, total),
        el("h3", {}, "Callees"), linkList(app, callees, total));
  }
  fill(pane, el("h2", {}, clip(model.name(item), 20000)), badges(app, tree, i), factList(app, tree, i),
      sharesTable(app, tree, i, every), buttons(app, item), ...around,
      el("h3", {}, app.view.turned || at.pane.mark ? "Stack, leaf first" : "Stack, root first"),
      el("ol", { class: "stack", start: first + 1 },
          ...stack.slice(first).map((k) => el("li", {}, clip(model.name(k), 400)))));
}

// Items of a frame's stack, root first, whichever way the pane runs.
export function stackOf(app, {pane, node}) {
  const { tree } = pane.lay;
  const items = [
    tree.item[node],
    ...ancestors(tree, node).filter((p) => p > 0 || tree.item[p] >= 0).map((p) => tree.item[p])
  ].filter((k) => k >= 0);
  return pane.mark || app.view.turned ? items : items.reverse();
}
