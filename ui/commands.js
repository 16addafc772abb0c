// SPDX-License-Identifier: Apache-2.0
// commands.js -- everything a key, a click or a menu can do. Each changes the state (state.js) and
// lets the update follow; those that need no state act at once.

import {byId, el} from "./dom.js";
import {clip, count, percent, visible} from "./format.js";
import {rowNeighbour, widestChild} from "./layout.js";
import {nextMatch} from "./search.js";
import {tableOf} from "./transform.js";
import {contextsOf, contextsText, filtersOf, filtersText} from "./state.js";
import {defaultLevels} from "./view.js";
import {closing, menuBelow, notice, openDialog, openMenu, PRESETS, showHelp, showStatus, VERBS} from "./panel.js";
import {stackOf} from "./details.js";
import {KEYS} from "./input.js";
import {collapsedText, csvText, pictureOf, save, savePng, svgText} from "./export.js";
import {showGraphTab, showTab} from "./toolbar.js";

export const HINT = matchMedia("(pointer: coarse)").matches
                        ? "Tap a frame to select it, again to zoom, hold for more"
                        : "Click a frame to zoom, right click for more, / to search, ? for all keys";

export function addCommands(app) {
  const { model, store } = app, graph = byId("graph");
  const current = () => app.view.selected || app.view.zoom;
  const itemAt = (at) => at ? at.pane.lay.tree.item[at.node] : -1;
  app.selectedItem = () => itemAt(app.view && current());
  app.originsSeen = () =>
      new Set(Array.from(new Set(app.view.base.item)).filter((i) => i >= 0).map(model.origin));
  const exact = (item) => model.isContext(item) ? `=${model.name(item)}` : `=${model.rawName(item)}`;
  const { push, anew } = store;
  const copy = (text, what) => {
    const done = () => {
      notice("", "copy");
      app.access.say(`${what} copied`);
      app.idleStatus = `${what} copied`;
      showStatus(app, null);
      app.idleStatus = HINT;
    };
    const byHand = () => openDialog(`Copy ${what}`,
        el("textarea", { rows: 8, cols: 70, readonly: true, "aria-label": what }, text),
        closing())
                             .querySelector("textarea")
                             .select();
    if (navigator.clipboard && navigator.clipboard.writeText)
      navigator.clipboard.writeText(text).then(done, byHand);
    else
      byHand();
  };
  const addFilter = (verb, pattern) =>
      anew({ f: filtersText([...filtersOf(store.get()), { verb, pattern }]) });
  const only = (f) => anew({ x: contextsText([...contextsOf(store.get()).filter((k) => k.kind !== f.kind), f]) });
  const stem = () => `${visible(model.meta.host || "profile").replace(/[^\w.-]+/g, "_").slice(0, 60)}_${
      new Date(model.meta.start || 0).toISOString().slice(0, 19).replace(/:/g, "-")}`;

  function zoomTo(at) {
    if (!at) return;
    const path = at.node > 0 || at.pane.mark ? app.path(at.pane, at.node) : "";
    push({ z: path, a: "", s: at.node > 0 ? path : "" });
  }
  function select(at) {
    if (at) store.change({ s: at.node > 0 || at.pane.mark ? app.path(at.pane, at.node) : "" });
  }
  function widestOf(item) {
    let best = null;
    for (const pane of app.view.panes) {
      const { tree } = pane.lay;
      for (let i = 0; i < tree.n; i++)
        if (tree.item[i] === item && (!best || pane.lay.width[i] > best.pane.lay.width[best.node]))
          best = { pane, node: i };
    }
    return best;
  }
  const entriesFor = (at, item) => {
    const c = app.commands, fun = item >= 0 && !model.isContext(item), name = clip(model.name(item), 40);
    return [
      at && { text: "Zoom to it", key: "Enter", run: () => zoomTo(at) },
      fun && { text: "Callers and callees", key: "p", run: () => c.pivotItem(item) },
      "-",
      item >= 0 && { text: `Keep stacks with ${name}`, key: "k", run: () => c.keepItem(item) },
      item >= 0 && { text: "Drop them", key: "x", run: () => c.filterItem("d", item) },
      fun && { text: "Fold it into its callers", key: "m", run: () => c.filterItem("m", item) },
      fun && { text: "Cut what it calls", run: () => c.filterItem("x", item) },
      fun && { text: "Start stacks here", key: "h", run: () => c.filterItem("s", item) },
      fun && model.module(item) &&
          { text: "Keep its module", run: () => addFilter("k", `mod:=${model.module(item)}`) },
      "-",
      { text: "Copy name", key: "y", run: () => copy(model.rawName(item), "name") },
      at && {
        text: "Copy stack",
        key: "Y",
        run: () => copy(stackOf(app, at).map(model.name).join("\n"), "stack")
      },
      { text: "Copy link to this view", key: "l", run: c.copyLink },
    ].filter(Boolean);
  };
  app.itemMenu = (item, x, y, back) => openMenu(entriesFor(null, item), x, y, back);
  app.rowMenu = (entries, x, y, back) =>
      openMenu([...entries.filter(Boolean), "-", { text: "Copy link to this view", key: "l", run: app.commands.copyLink }], x, y, back);
  app.hoverItem = (item) => {
    app.marks.item = item;
    app.frame("overlay", () => app.renderer.drawOverlay(app.marks));
  };

  Object.assign(app.commands, {
    hover(x, y) {
      const hit = x < 0 ? null : app.renderer.hit(x, y);
      app.marks.hover = hit && hit.pane ? hit : null;
      app.marks.run = hit && hit.run;
      graph.style.cursor = hit ? "pointer" : "default";
      app.renderer.drawOverlay(app.marks);
      showStatus(app, hit);
    },
    click(x, y, shift, touch) {
      const hit = app.renderer.hit(x, y);
      graph.focus({ preventScroll: true });
      if (!hit) return;
      if (hit.run) {
        const whole = app.view.panes[0].lay.whole;
        push({
          a: `${Math.floor(hit.run.from / whole * 1e6)},${
              Math.min(1e6, Math.ceil(hit.run.to / whole * 1e6))}`,
          z: ""
        });
      } else if (shift || (touch && !(app.marks.selected && app.marks.selected.node === hit.node &&
                                        app.marks.selected.pane === hit.pane)))
        select(hit);
      else
        zoomTo(hit);
    },
    contextMenu(x, y, cx, cy) {
      const hit = app.renderer.hit(x, y);
      if (hit && hit.pane) openMenu(entriesFor(hit, itemAt(hit)), cx, cy, graph);
    },
    menu() {
      const at = current(), box = graph.getBoundingClientRect();
      if (at) openMenu(entriesFor(at, itemAt(at)), box.left + 40, box.top + 40, graph);
    },
    zoomSelected: () => zoomTo(current()),
    arrow(e) {
      const at = current() || { pane: app.view.panes[0], node: 0 }, { lay, up } = at.pane;
      let node = -1;
      if (e.key === "ArrowUp" || e.key === "ArrowDown")
        node = (e.key === "ArrowUp") === !up ? lay.tree.parent[at.node] : widestChild(lay, at.node);
      else
        node = rowNeighbour(lay, at.node, e.key === "ArrowRight" ? 1 : -1,
            3 * (app.window().x1 - app.window().x0) / app.pixels());
      if (node >= at.pane.base) select({ pane: at.pane, node });
    },
    ends(e) {
      const pane = app.view.panes[0];
      select({ pane, node: e.key === "Home" ? Math.min(1, pane.lay.tree.n - 1) : pane.lay.deepest });
    },
    back: () => history.back(),
    forward: () => history.forward(),
    undoFilter: () => {
      const list = filtersOf(store.get());
      if (list.length)
        push({ f: filtersText(list.slice(0, -1)) });
      else if (store.get().x)
        push({ x: contextsText(contextsOf(store.get()).slice(0, -1)) });
      else if (store.get().tr)
        push({ tr: "" });
    },
    escape() {
      const s = store.get();
      if (!byId("menu").hidden)
        byId("menu").hidden = true;
      else if (s.q)
        store.change({ q: "" });
      else if (s.p)
        anew({ p: "", w: "g" });
      else if (s.z || s.a)
        push({ z: "", a: "" });
      else if (s.s)
        store.change({ s: "" });
    },
    whole: () => push({ z: "", a: "" }),
    zoomBy(e) {
      const at = current(), lay = app.view.panes[0].lay;
      const middle = at ? (at.pane.lay.start[at.node] + at.pane.lay.width[at.node] / 2 - app.window().x0) /
                              (app.window().x1 - app.window().x0) * app.pixels()
                        : app.pixels() / 2;
      app.setWindowAround(app.window(), Math.max(0, Math.min(app.pixels(), middle)),
          e.code === "Minus" || e.code === "NumpadSubtract" || e.code === "KeyS" ? 1.5 : 1 / 1.5);
      if (lay.whole) app.settle(200);
    },
    pan(e) {
      app.shiftWindow(app.window(), e.code === "KeyA" ? -0.1 : 0.1);
      app.settle(200);
    },
    focusSearch() {
      byId("search").focus();
      byId("search").select();
    },
    match(e) {
      if (!app.search || !app.search.bits) return;
      const pane = app.view.panes[0],
            from = app.view.selected && app.view.selected.pane === pane ? app.view.selected.node : 0;
      const next = nextMatch(pane.lay.tree, app.search, from, e.shiftKey || e.key === "N" ? -1 : 1);
      if (!next) return;
      app.matchAt = count(next.number);
      const { start: s, width } = pane.lay;
      if (s[next.node] + width[next.node] <= app.window().x0 || s[next.node] >= app.window().x1)
        push({ z: "", a: "", s: app.path(pane, next.node) });
      else
        select({ pane, node: next.node });
    },
    flip: () => push({ y: store.get().y === "f" ? "i" : "f" }),
    callersFirst: () => anew({ d: store.get().d === "b" ? "t" : "b", p: "", w: "g" }),
    nextOrder: () => app.commands.orderBy({ n: "w", w: model.times ? "t" : "n", t: "n" }[store.get().o]),
    // In the order of time a call is many boxes: paths of one order do not lead far in the other.
    orderBy: (o) =>
        store.change(o === "t" || store.get().o === "t" ? { o, z: "", a: "", s: "" } : { o }),
    nextRecursion: (e) => anew({
      r: e && e.key === "R" ? (store.get().r === "2" ? "0" : "2") : String((Number(store.get().r) + 1) % 2),
      l: ""
    }),
    nextColor: () => store.change({ c: { o: "m", m: "h", h: "d", d: "o" }[store.get().c] }),
    pivot: () => app.selectedItem() >= 0 && app.commands.pivotItem(app.selectedItem()),
    // Another function of the hottest in the place of the pivot.
    otherPivot(from) {
      menuBelow(app.table.hottestOf(20).map(([item, self]) => ({
                          text: `${percent(self, app.view.all)}  ${clip(model.name(item), 60)}`,
                          run: () => app.commands.pivotItem(item)
                        })),
          from);
    },
    pivotItem: (item) => item >= 0 && item < model.fun.n && anew({ p: app.hashOf(item), w: "s", d: "t" }),
    keep: () => app.commands.keepItem(app.selectedItem()),
    drop: () => app.commands.filterItem("d", app.selectedItem()),
    fold: () => app.commands.filterItem("m", app.selectedItem()),
    start: () => app.commands.filterItem("s", app.selectedItem()),
    keepItem: (item) => model.isContext(item) && item >= 0 ? app.commands.onlyContext(item)
                                                           : app.commands.filterItem("k", item),
    addFilter,
    filterItem: (verb, item) => item >= 0 && addFilter(verb, exact(item)),
    onlyContext(item) {
      const c = model.context(item);
      only(c.kind === 0   ? { kind: "c", id: c.name }
           : c.kind === 1 ? (!c.pid ? { kind: "p", id: `=${c.name}` } : { kind: "p", id: String(c.pid), start: String(c.uid) })
                          : { kind: "t", id: c.tid ? String(c.tid) : `=${c.name}` });
    },
    onlyNamed: (name) => only({ kind: "p", id: `=${name}` }),
    // Another process, thread, container or origin instead: the largest of all samples.
    otherContext(c, from) {
      const kind = { c: 0, p: 1, t: 2 }[c.kind], { n } = model.fun;
      const key = c.kind === "o" ? (i) => i < n ? model.fun.kind[i] : -1
                                 : (i) => i >= n && model.context(i).kind === kind ? i : -1;
      const { total: [sums] } = tableOf(model.tree, model.nitems, key);
      const most = Array.from(sums.keys()).filter((k) => sums[k]).sort((a, b) => sums[b] - sums[a]).slice(0, 20);
      const text = (k) => c.kind === "o" ? model.meta.kinds[k] : model.name(k);
      menuBelow(most.map((k) => ({
                          text: `${percent(sums[k], app.view.all)}  ${clip(text(k), 60)}`,
                          run: () => c.kind === "o" ? app.commands.onlyOrigin(text(k)) : app.commands.onlyContext(k)
                        })),
          from);
    },
    onlyOrigin: (origin) => only({ kind: "o", id: origin }),
    foldOrigin(origin) {
      const list = filtersOf(store.get()), is = (f) => f.verb === "m" && f.pattern === `origin:${origin}`;
      anew({
        f: filtersText(list.some(is) ? list.filter((f) => !is(f))
                                     : [...list, { verb: "m", pattern: `origin:${origin}` }])
      });
    },
    selectItem(item) {
      const at = widestOf(item);
      if (at)
        select(at);
      else
        notice(
            `${
                clip(model.name(item),
                    80)} is not in this view (callers first shows only what is wide enough; filters may hide it).`,
            "missing");
    },
    searchFor: (q) => store.change({ q, qf: "" }),
    viewKind(e) {
      if (e.key === "1") {
        if (store.get().p)
          anew({ w: "g", p: "" });
        else
          push({ w: "g" });
        showGraphTab(app);
      } else if (e.key === "3") {
        push({ w: "t" });
        app.commands.focusTable();
      } else
        app.commands.pivotItem(app.selectedItem() >= 0 && !model.isContext(app.selectedItem())
                                   ? app.selectedItem()
                                   : app.table.hottest());
    },
    focusTable() {
      showTab(app, "functions");
      app.table.focus();
    },
    copyText: copy,
    copyName: () => current() && copy(model.rawName(app.selectedItem()), "name"),
    copyStack: () => current() && copy(stackOf(app, current()).map(model.name).join("\n"), "stack"),
    copy: (e) => (e.key === "Y" ? app.commands.copyStack : app.commands.copyName)(),
    copyLink: () => copy(app.link(), location.protocol === "file:" ? "link (send the file with it)" : "link"),
    help: () => showHelp(KEYS),
    exportMenu() {
      menuBelow(
          [
            { text: "Picture (PNG)", run: () => savePng(pictureOf(app).canvas, `${stem()}.png`) },
            {
              text: "Picture (SVG)",
              run: () => save(`${stem()}.svg`, svgText(app, pictureOf(app).drawn), "image/svg+xml")
            },
            {
              text: "Stacks (collapsed text)",
              run: () =>
                  save(`${stem()}.folded.txt`, collapsedText(model, app.view.base, app.view.u), "text/plain")
            },
            {
              text: "Table as it stands (CSV)",
              run: () => save(`${stem()}.csv`, csvText(app.table.rows(Infinity), model.compare), "text/csv")
            },
            app.savePage && { text: "This comparison (page)", run: app.savePage },
            "-",
            { text: "Print or PDF", run: () => print() },
            { text: "Copy link to this view", key: "l", run: app.commands.copyLink },
          ].filter(Boolean),
          byId("b-export"));
    },
    editFilter(at) {
      const list = filtersOf(store.get()), old = list[at] || { verb: "k", pattern: store.get().q };
      const verb = el("select", { "aria-label": "What to do" },
          ...VERBS.map(([v, word, text]) => el("option", { value: v, title: text }, word)));
      const text = el("input", {
        value: old.pattern,
        "aria-label": "Pattern",
        placeholder: "text, =exact, /regex/, mod:…, file:…, origin:…"
      });
      verb.value = old.verb;
      const put = (filter) => anew({
        f: filtersText(at === undefined ? [...list, filter] : list.map((f, i) => i === at ? filter : f))
      });
      const d =
          openDialog(at === undefined ? "Add a filter" : "Change the filter",
              el("form", {
                method: "dialog",
                onsubmit: () => text.value && put({ verb: verb.value, pattern: text.value })
              },
                  verb, text, el("button", { type: "submit" }, "Apply")),
              el("ul", { class: "muted" },
                  ...VERBS.map(([, word, what]) => el("li", {}, el("b", {}, word), `: ${what}`))),
              at === undefined ? el("p", {}, "Ready made: ") : null,
              at === undefined ? el("div", { class: "buttons" },
                                     ...PRESETS.map(([name, v, p]) => el("button", {
                                       onclick: () => {
                                         d.close();
                                         addFilter(v, p);
                                       }
                                     },
                                                        `${VERBS.find(([k]) => k === v)[1]} ${name}`)))
                               : null);
      text.focus();
    },
  });
  app.viewWords = () => {
    const s = store.get();
    return [
      app.view.zoom && `zoomed to ${model.name(itemAt(app.view.zoom))}`, s.q && `search ${s.q}`,
      ...filtersOf(s).map((f) => `${VERBS.find(([v]) => v === f.verb)[1]} ${f.pattern}`),
      ...contextsOf(s).map((c) => `only ${c.id}`), s.tr && `time ${s.tr.replace(",", " to ")} ms`, s.d === "b" && "callers first"
    ].filter(Boolean)
        .join(" · ");
  };
}
