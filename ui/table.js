// SPDX-License-Identifier: Apache-2.0
// table.js -- sums by function, file, module, origin or context: a virtual grid, sorted, linked to
// the graph. Only the rows in sight are elements.

import {byId, el, fill, options} from "./dom.js";
import {tableOf} from "./transform.js";
import {changeScore, originOf} from "./color.js";
import {fit, ladderOf} from "./label.js";
import {clip, count, percent, visible} from "./format.js";

const ROW = 24;
const FIRST = 200; // rows sorted before anybody scrolls
const GROUPS = [
  ["function", "function"], ["file", "file"], ["module", "module"], ["origin", "origin"],
  ["process", "process"], ["name", "process name"], ["thread", "thread"], ["container", "container"]
];
const EXPLAIN = {
  self: "Samples in the function itself",
  total: "Samples in it or in what it calls, each stack once",
  frames: "Places in the call tree",
  a: "Share in A",
  b: "Share in B",
  change: "Change of the self share from A to B",
  score: "Standard deviations; below 2 is noise",
};
const CONTEXT_KIND = {
  container: 0,
  process: 1,
  name: 1,
  thread: 2
};

// Keys of a grouping: {n, key(item), name(k), item(k)}: item of a row, or -1 where it has none.
function grouping(model, by) {
  const { fun, strings } = model;
  const dense = (of, name) => {
    const numbers = new Map(), names = [], items = [];
    const keys = new Int32Array(model.nitems).fill(-1);
    for (let i = 0; i < model.nitems; i++) {
      const v = of(i);
      if (v === null) continue;
      if (!numbers.has(v)) {
        numbers.set(v, names.length);
        names.push(name(i));
        items.push(i);
      }
      keys[i] = numbers.get(v);
    }
    return { n: names.length, key: (item) => item < 0 ? -1 : keys[item], name: (k) => names[k], items };
  };
  if (by === "function")
    return { n: fun.n, key: (item) => item < fun.n ? item : -1, name: (k) => model.name(k), items: null };
  if (by === "file")
    return dense((i) => i < fun.n ? fun.file[i] : null, (i) => visible(strings[fun.file[i]]) || "(no file)");
  if (by === "module")
    return dense(
        (i) => i < fun.n ? fun.module[i] : null, (i) => visible(strings[fun.module[i]]) || "(no module)");
  if (by === "origin")
    return dense(
        (i) => i < fun.n ? model.origin(i) : null, (i) => originOf(model.origin(i)).word);
  const kind = CONTEXT_KIND[by];
  return dense((i) => i >= fun.n && model.context(i).kind === kind
                          ? (by === "name" ? model.context(i).name : i)
                          : null,
      (i) => by === "name" ? visible(model.context(i).name) || "?" : model.name(i));
}

export function createTable(app) {
  const { model, store } = app;
  let by = "function", scope = "view", rows = [], sums = null, group = grouping(model, by), cursor = 0;
  let part = 0, partWords = ""; // what shares are of, when not of all
  let sorted = 0, unsorted = null;
  let key = "", nameWidth = 200, summed = null, present = [], largest = 0;

  const groupSelect = el("select", {
    "aria-label": "Rows",
    onchange: () => {
      by = groupSelect.value;
      group = grouping(model, by);
      cursor = 0;
      update();
    }
  });
  options(groupSelect, GROUPS, by);
  const scopeSelect = el("select", {
    "aria-label": "Counted part",
    onchange: () => {
      scope = scopeSelect.value;
      update();
    }
  });
  options(scopeSelect, [["view", "this view"], ["all", "everything"]], scope);
  const info = el("span", { class: "muted" });
  const head = el("thead", {}), body = el("tbody", {});
  const table = el("table", { class: "grid", role: "grid", "aria-label": "Functions" }, head, body);
  const scroller = el("div", { class: "table-scroll", onscroll: () => requestAnimationFrame(paint) }, table);
  fill(byId("pane-functions"),
      el("div", { class: "table-tools" }, groupSelect, el("label", {}, "of ", scopeSelect), info),
      scroller);
  const observer = new ResizeObserver(() => paint());
  observer.observe(scroller);
  app.signal.addEventListener("abort", () => observer.disconnect());

  function columns() {
    const c = [{ id: "mark", text: "", width: "22px" }, { id: "name", text: "Function" }];
    if (by === "function" && scroller.clientWidth > 520)
      c.push({ id: "module", text: "Module", width: "22%" });
    if (model.compare) {
      c.push({ id: "a", text: "A", width: "64px", num: true },
          { id: "b", text: "B", width: "64px", num: true },
          { id: "change", text: "Self ±", width: "72px", num: true },
          { id: "score", text: "z", width: "52px", num: true });
    } else {
      c.push({ id: "self", text: "Self", width: "64px", num: true }, { id: "bar", text: "", width: "50px" },
          { id: "total", text: "Total", width: "64px", num: true });
      if (scroller.clientWidth > 420) c.push({ id: "frames", text: "Frames", width: "72px", num: true });
    }
    return c;
  }

  const inZoom = (view) => scope === "view" && view.zoom && view.zoom.node > 0 && !view.turned && !view.zoom.pane.mark;

  // The tree that is summed and the node range, for what is in view.
  function source(view) {
    const context = CONTEXT_KIND[by] !== undefined, zoomed = inZoom(view);
    if (view.pivot >= 0 && !context) {
      const tree = view.panes[0].lay.tree;
      return zoomed ? [tree, view.zoom.node, tree.end[view.zoom.node]] : [tree, 0, tree.n];
    }
    if (context) return [view.source, 0, view.source.n];
    if (!zoomed) return [view.base, 0, view.base.n];
    const tree = view.zoom.pane.lay.tree;
    return [tree, view.zoom.node, tree.end[view.zoom.node]];
  }

  function value(id, k) {
    const u = app.view.u, { fa, fb } = app.view.norm || { fa: 1, fb: 1 };
    switch (id) {
    case "self":
      return sums.self[u][k];
    case "total":
      return sums.total[u][k];
    case "frames":
      return sums.frames[k];
    case "a":
      return sums.total[0][k];
    case "b":
      return sums.total[1][k];
    case "change":
      return sums.self[1][k] * fb - sums.self[0][k] * fa;
    case "score":
      return changeScore(sums.self[0][k], sums.self[1][k], fa, fb);
    default:
      return 0;
    }
  }

  function sort() {
    unsorted = null;
    const [, id, down] = /^([a-z]+)(-?)$/.exec(store.get().t);
    const wanted = model.compare && id === "self" ? "change" : id;
    if (wanted === "name" || wanted === "module") {
      const text = wanted === "name" ? group.name : (k) => by === "function" ? model.module(k) : "";
      rows.sort((x, y) => text(x) < text(y) ? -1 : text(x) > text(y) ? 1 : 0);
      if (down) rows.reverse();
      return;
    }
    const u = app.view.u, tie = sums.total[u];
    let values = wanted === "self"     ? sums.self[u]
                 : wanted === "total"  ? tie
                 : wanted === "frames" ? sums.frames
                                       : null;
    if (!values) {
      values = new Float64Array(group.n);
      for (const k of rows)
        values[k] = wanted === "change" || wanted === "score" ? Math.abs(value(wanted, k)) : value(wanted, k);
    }
    const sign = down ? -1 : 1, order = (x, y) => sign * (values[x] - values[y]) || tie[y] - tie[x] || x - y;
    if (rows.length < 4 * FIRST || !down) {
      rows.sort(order);
      return;
    }
    // What is seen first is sorted at once, the rest when somebody looks (all()).
    const least = Float64Array.from(rows, (k) => values[k]).sort()[rows.length - FIRST];
    const rest = rows.filter((k) => values[k] <= least);
    rows = rows.filter((k) => values[k] > least).sort(order);
    sorted = rows.length;
    unsorted = () => {
      rest.sort(order).forEach((k, i) => { rows[sorted + i] = k; });
      unsorted = null;
    };
    for (const k of rest) rows.push(k);
  }

  // At least so many of the rows, in order.
  function upTo(n) {
    if (unsorted && n > sorted) unsorted();
    return rows;
  }

  // Sums change with the tree, rows with the search, order with the sort: each is done when it must.
  function update() {
    const { view } = app, state = store.get();
    if (!view) return;
    const bits = app.search && app.search.bits;
    const [tree, from, to] = source(view);
    const fresh =
        !summed || summed.tree !== tree || summed.from !== from || summed.to !== to || summed.by !== by;
    if (fresh) {
      summed = { tree, from, to, by };
      sums = tableOf(tree, group.n, group.key, from, to);
      present = [];
      for (let k = 0; k < group.n; k++)
        if (sums.frames[k]) present.push(k);
    }
    const next = [state.t, state.q, state.qf, state.u, state.n].join("|");
    if (fresh || next !== key) {
      key = next;
      rows = bits && by === "function" ? present.filter((k) => bits[k]) : present.slice();
      sort();
      largest = 0;
      for (const k of rows) largest = Math.max(largest, Math.abs(sums.self[view.u][k]));
      if (!app.fromTable) scroller.scrollTop = 0;
    }
    cursor = Math.max(0, Math.min(cursor, rows.length - 1));
    const whole = scope === "view" && !model.compare ? tree.total[view.u][from] : view.all;
    part = Math.abs(whole) !== Math.abs(view.all) ? whole : 0;
    partWords = from ? "the zoomed frame" : view.pivot >= 0 && tree !== view.source ? "the pivot" : "what the filters left";
    info.textContent = `${count(rows.length)} ${rows.length === 1 ? "row" : "rows"}${part ? `, shares of ${partWords}` : ""}${
        bits && by === "function" ? (rows.length === 1 ? " matches" : " match") : ""}`;
    paint();
  }

  function header(cols) {
    const t = store.get().t, id = t.replace("-", "");
    fill(head, el("tr", { role: "row" }, ...cols.map((c) => {
      const mine = id === c.id || (model.compare && id === "self" && c.id === "change");
      const th = el("th", {
        scope: "col",
        class: c.num ? "num" : "",
        "aria-sort": mine ? (t.endsWith("-") ? "descending" : "ascending") : "none"
      },
          c.id === "mark" || c.id === "bar"
              ? ""
              : el("button", {
                  title: EXPLAIN[c.id],
                  onclick: () => {
                    store.change({ t: mine && t.endsWith("-") ? c.id : c.id + "-" });
                    update();
                  }
                },
                    c.text + (mine ? (t.endsWith("-") ? " ▾" : " ▴") : "")));
      if (c.width) th.style.width = c.width;
      return th;
    })));
  }

  // What is cut off is the end of a name, but the beginning of a path.
  function shortName(k) {
    const name = group.name(k), room = Math.floor(nameWidth / 7.3);
    if (name.length <= room || by === "origin") return name;
    if (by === "file" || by === "module") return "…" + name.slice(Math.max(1, name.length - room));
    return by === "function" ? fit(ladderOf(name, model.origin(k)), Math.max(12, room)) : clip(name, 300);
  }

  const changeText = (v) => (v > 0 ? "+" : "") + percent(v, model.tree.total[0][0] || 1);

  function cell(c, k, max) {
    const u = app.view.u, f = app.format(u);
    if (c.id === "mark") {
      const item = group.items ? group.items[k] : k;
      const swatch = by === "function" || by === "origin" ? app.swatch(item) : "";
      return el("td", { class: "cell-swatch" }, swatch);
    }
    if (c.id === "name") {
      const where = by === "function" && model.module(k) ? `\n${visible(model.module(k))}` : "";
      return el("td", { class: "name", title: clip(group.name(k), 2000) + where }, shortName(k));
    }
    if (c.id === "module")
      return el("td", { class: "muted", title: visible(model.module(k)) },
          visible(model.module(k)).split("/").pop());
    if (c.id === "bar")
      return el("td", {},
          el("span", { class: "bar", width: `${max ? 100 * Math.abs(value("self", k)) / max : 0}%` }));
    const v = value(c.id, k);
    if (c.id === "frames") return el("td", { class: "num" }, count(v));
    if (c.id === "score") return el("td", { class: "num" }, v.toFixed(1).replace("-", "−"));
    if (c.id === "change")
      return el("td", { class: "num", title: "Change of the share of self samples, in points" },
          changeText(v));
    const title = [f.text(v), part && `${percent(v, part)} of ${partWords}`, `${percent(v, app.view.all)} of all`];
    return el("td", { class: "num", title: model.compare ? f.text(v) : title.filter(Boolean).join(", ") },
        part && !model.compare ? percent(v, part) : app.share(v, c.id));
  }

  function paint() {
    if (!sums || !app.view) return;
    const cols = columns();
    header(cols);
    const name = head.querySelectorAll("th")[1];
    nameWidth = (name && name.clientWidth || 200) - 14;
    table.setAttribute("aria-rowcount", rows.length + 1);
    const from = Math.max(0, Math.floor(scroller.scrollTop / ROW) - 4);
    const to = Math.min(rows.length, from + Math.ceil(scroller.clientHeight / ROW) + 9);
    const stop = cursor >= from && cursor < to ? cursor : from; // Tab leads to a row in any case
    const spacer = (h) => {
      const tr = el("tr", { "aria-hidden": "true" });
      tr.style.height = `${h}px`;
      return tr;
    };
    const selected = app.selectedItem();
    const focused = body.contains(document.activeElement);
    fill(body, spacer(from * ROW), ...upTo(to).slice(from, to).map((k, i) => {
      const item = group.items ? group.items[k] : k;
      const at = from + i;
      return el("tr", {
        class: "row",
        role: "row",
        "aria-rowindex": at + 2,
        tabindex: at === stop ? 0 : -1,
        "data-at": at,
        "aria-selected": by === "function" && item === selected ? "true" : "false",
        onclick: () => {
          cursor = at;
          choose(k);
        },
        onmouseenter: () => by === "function" && app.hoverItem(item),
        onmouseleave: () => app.hoverItem(-2),
        onfocus: () => {
          cursor = at;
          if (by === "function") app.hoverItem(item);
        },
        onblur: () => app.hoverItem(-2),
        oncontextmenu: (e) => {
          e.preventDefault();
          cursor = at;
          menu(k, e.clientX, e.clientY);
        },
        ondblclick: () => by === "function" && app.commands.pivotItem(item),
      },
          ...cols.map((c) => cell(c, k, largest)));
    }),
        spacer((rows.length - to) * ROW));
    if (focused) focusRow();
  }

  const itemOfRow = (k) => group.items ? group.items[k] : k;

  // What the filters call all that a row stands for; "" where that is one function or context.
  function patternOf(k) {
    const item = itemOfRow(k);
    if (by === "file") return `file:=${model.file(item)}`;
    if (by === "module") return `mod:=${model.module(item)}`;
    return by === "origin" ? `origin:${model.origin(item)}` : by === "name" ? `=${model.context(item).name}` : "";
  }

  function keep(k) {
    const item = itemOfRow(k);
    if (by === "name")
      app.commands.onlyNamed(model.context(item).name);
    else if (by === "origin")
      app.commands.onlyOrigin(model.origin(item));
    else if (patternOf(k))
      app.commands.addFilter("k", patternOf(k));
    else
      app.commands.keepItem(item);
  }

  const filter = (verb, k) => patternOf(k) ? app.commands.addFilter(verb, patternOf(k)) : app.commands.filterItem(verb, itemOfRow(k));

  // A click: a function is selected, a context or an origin kept, files and modules are searched for.
  function choose(k) {
    app.fromTable = true; // who clicks a row wants the table to stay
    if (by === "function")
      app.commands.selectItem(itemOfRow(k));
    else if (by === "module" || by === "file")
      app.commands.searchFor(patternOf(k));
    else
      keep(k);
  }

  function menu(k, x, y) {
    const back = { focus: focusRow };
    if (by === "function" || by === "process" || by === "thread" || by === "container")
      return app.itemMenu(itemOfRow(k), x, y, back);
    const name = clip(group.name(k), 40);
    app.rowMenu([
      { text: `Keep stacks with ${name}`, key: "k", run: () => keep(k) },
      { text: "Drop them", key: "x", run: () => filter("d", k) },
      by !== "name" && { text: "Fold into its callers", key: "m", run: () => filter("m", k) },
      by !== "name" && { text: "Start stacks here", key: "h", run: () => filter("s", k) },
      by !== "name" && { text: "Search for it", run: () => app.commands.searchFor(patternOf(k)) }
    ], x, y, back);
  }

  function focusRow() {
    const tr = body.querySelector(`[data-at="${cursor}"]`);
    if (tr) tr.focus({ preventScroll: true });
  }

  function move(to) {
    cursor = Math.max(0, Math.min(rows.length - 1, to));
    upTo(cursor + 1);
    const top = cursor * ROW;
    if (top < scroller.scrollTop)
      scroller.scrollTop = top;
    else if (top + ROW * 2 > scroller.scrollTop + scroller.clientHeight)
      scroller.scrollTop = top + ROW * 2 - scroller.clientHeight;
    paint();
    focusRow();
  }

  body.addEventListener("keydown", (e) => {
    const page = Math.floor(scroller.clientHeight / ROW) - 2;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 }[e.key];
    const k = rows[cursor];
    if (k === undefined || e.ctrlKey || e.metaKey || e.altKey) return;
    const of = {
      p: () => by === "function" && app.commands.pivotItem(k),
      k: () => keep(k),
      x: () => filter("d", k),
      m: () => CONTEXT_KIND[by] === undefined && filter("m", k),
      h: () => CONTEXT_KIND[by] === undefined && filter("s", k),
      y: () => app.commands.copyText(by === "function" ? model.rawName(k) : group.name(k), "name")
    }[e.key];
    if (step)
      move(cursor + step);
    else if (e.key === "Enter" && e.shiftKey)
      keep(k);
    else if (e.key === "Enter" && by === "function")
      app.commands.pivotItem(k);
    else if (e.key === "Enter" || e.key === " ")
      choose(k);
    else if (of)
      of();
    else
      return;
    e.preventDefault();
    e.stopPropagation();
  });

  // [function, self] of those with the most self, whatever the table shows.
  function hottestOf(n) {
    const self = tableOf(app.view.base, model.fun.n, (i) => i < model.fun.n ? i : -1).self[app.view.u];
    return Array.from(self.keys()).filter((i) => self[i]).sort((a, b) => self[b] - self[a]).slice(0, n).map((i) => [i, self[i]]);
  }
  const hottest = () => (hottestOf(1)[0] || [-1])[0];

  return {
    update,
    repaint: paint,
    focus: () => {
      paint();
      focusRow();
    },
    hottest,
    hottestOf,
    // All rows as text, for CSV and print.
    rows: (limit) => upTo(Math.min(limit, rows.length)).slice(0, limit).map((k) => {
      const u = app.view.u;
      return {
        name: group.name(k),
        module: by === "function" ? visible(model.module(k)) : "",
        self: sums.self[u][k],
        total: sums.total[u][k],
        compared: model.compare && [app.share(value("a", k), "a"), app.share(value("b", k), "b"), changeText(value("change", k))],
        other: model.compare ? [sums.total[0][k], sums.total[1][k]] : null,
        frames: sums.frames[k],
        share: percent(sums.total[u][k], app.view.all)
      };
    }),
  };
}
