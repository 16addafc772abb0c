// SPDX-License-Identifier: Apache-2.0
// access.js -- the picture for those who do not see it: a small tree around the current frame, and
// what a search or filter did, said once.

import {byId, el, fill} from "./dom.js";
import {clip, percent} from "./format.js";
import {originOf} from "./color.js";

const CHILDREN = 10;
const WAIT_MS = 400;

export function createAccess(app) {
  const graph = byId("graph"), mirror = byId("mirror"), live = byId("live");
  let timer = 0;

  function words(tree, i) {
    const { model, view } = app, item = tree.item[i], u = view.u;
    const origin = item < 0 ? "" : originOf(model.origin(item)).word + ", ";
    return `${clip(model.name(item), 200)}, ${origin}${percent(tree.total[u][i], view.all)} of all, self ${
        percent(tree.self[u][i], view.all)}`;
  }

  function entry(tree, i, id) {
    const p = tree.parent[i];
    let position = 1, size = 1;
    if (p >= 0) {
      size = position = 0;
      for (let c = p + 1; c < tree.end[p]; c = tree.end[c]) {
        size++;
        if (c === i) position = size;
      }
    }
    const has = tree.end[i] > i + 1;
    return el("div", {
      role: "treeitem",
      id,
      "aria-level": tree.depth[i] + 1,
      "aria-posinset": position,
      "aria-setsize": size,
      "aria-expanded": has ? "true" : null,
      "aria-selected": id === "node-current" ? "true" : "false"
    },
        words(tree, i));
  }

  function update() {
    const { view } = app;
    if (!view) return;
    const at = view.selected || view.zoom || { pane: view.panes[0], node: 0 };
    const { tree } = at.pane.lay, i = at.node, list = [];
    const p = tree.parent[i];
    if (p >= 0) list.push(entry(tree, p, "node-parent"));
    if (p >= 0) {
      let before = -1;
      for (let c = p + 1; c < tree.end[p]; c = tree.end[c]) {
        if (c === i && before >= 0) list.push(entry(tree, before, "node-before"));
        before = c;
      }
    }
    list.push(entry(tree, i, "node-current"));
    if (p >= 0 && tree.end[i] < tree.end[p]) list.push(entry(tree, tree.end[i], "node-after"));
    for (let c = i + 1, n = 0; c < tree.end[i] && n < CHILDREN; c = tree.end[c], n++)
      list.push(entry(tree, c, `node-child-${n}`));
    fill(mirror, ...list);
    graph.setAttribute("aria-activedescendant", "node-current");
    graph.setAttribute(
        "aria-label", `Flame graph, ${app.format(view.u).text(view.all)}, ${view.rows} levels`);
  }

  return {
    update,
    say(text) {
      clearTimeout(timer);
      timer = setTimeout(() => { live.textContent = text; }, WAIT_MS);
    },
  };
}
