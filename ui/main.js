// SPDX-License-Identifier: Apache-2.0
// main.js -- boot: read the container, wire state, view, drawing and panels; say what went wrong.

import { byId, el, fill, options } from "./dom.js";
import { fromBase64, inflate, parseContainer } from "./model.js";
import { clip, count, percent, valueFormat, visible } from "./format.js";
import { coveredNodes } from "./transform.js";
import { rowNeighbour, widestChild } from "./layout.js";
import { ORIGINS, palette } from "./color.js";
import { findItems, matchedInverted, matchedSum, nextMatch, ticks } from "./search.js";
import { contextsOf, contextsText, createStore, DEFAULTS, filtersOf, filtersText } from "./state.js";
import { createViewer, defaultLevels } from "./view.js";
import { createRenderer } from "./render.js";
import { createTable } from "./table.js";
import { notice, openDialog, openMenu, PRESETS, showChips, showDetails, showHeader, showHelp, showLedger, showLegend, showNothing, showStatus, stackOf, VERBS } from "./panel.js";
import { KEYS, listen } from "./input.js";
import { createAccess } from "./access.js";
import { collapsedText, csvText, preparePrint, save, savePng, svgText } from "./export.js";

const ANIMATION_MS = 120;
const TINY = 100;
const HINT = "Click a frame to zoom, right click for more, / to search, ? for all keys";

function preferences() {
  const known = {};
  try {
    Object.assign(known, JSON.parse(localStorage.getItem("gprofiler") || "{}"));
  } catch { /* a page without storage has no preferences */ }
  return {
    get: (k, otherwise) => known[k] === undefined ? otherwise : known[k],
    set(k, v) {
      known[k] = v;
      try {
        localStorage.setItem("gprofiler", JSON.stringify(known));
      } catch { /* the same */ }
    },
  };
}

function fail(error) {
  const box = byId("failure");
  box.hidden = false;
  box.textContent = `The graph cannot be shown: ${error.message}. The table below was written with the file and needs none of it.`;
  byId("app").hidden = true;
}

export function start(model) {
  const graph = byId("graph"), prefs = preferences();
  const store = createStore({
    hash: () => location.hash,
    push: (h) => history.pushState({ gprofiler: true }, "", h),
    replace: (h) => history.replaceState(history.state, "", h),
  }, (text) => notice(text, "hash"));
  const app = { model, store, prefs, commands: {}, wholeShare: 1, idleStatus: HINT };
  const dark = matchMedia("(prefers-color-scheme: dark)"), forced = matchMedia("(forced-colors: active)");
  const calm = matchMedia("(prefers-reduced-motion: reduce)"), coarse = matchMedia("(pointer: coarse)");
  const viewer = createViewer(model);
  const formats = model.tree.self.map((_, u) => valueFormat((model.meta.values || [])[u], model.nsPerSample));
  const marks = { hover: null, selected: null, run: null };
  let win = { x0: 0, x1: 1 }, target = null, animation = 0, settleTimer = 0, colors = null, colorsFor = "", tickColumns = null;
  const pendingFrames = new Map();

  app.format = (u) => formats[u] || formats[0] || valueFormat(null, 0);
  app.valueName = (u) => ((model.meta.values || [])[u] || {}).name || "value";
  app.renderer = createRenderer(model, byId("boxes"), byId("overlay"), byId("overview"));
  app.path = viewer.path;
  app.swatch = (item) => {
    const o = ORIGINS[model.origin(item)] || ORIGINS.unknown;
    return el("span", { class: `swatch sign-${o.sign || "none"}`, color: o[app.theme], title: o.word });
  };
  app.share = (v, column) => model.compare && (column === "a" || column === "b") ? percent(v, model.tree.total[column === "a" ? 0 : 1][0]) : percent(v, app.view.all);
  app.frame = (name, f) => {
    if (!pendingFrames.has(name)) requestAnimationFrame(() => {
      const run = pendingFrames.get(name);
      pendingFrames.delete(name);
      run();
    });
    pendingFrames.set(name, f);
  };

  // ---- drawing ----

  const pixels = () => Math.max(50, graph.clientWidth || byId("left").clientWidth - 16);
  const rowHeight = () => Number(prefs.get("row", 0)) || (coarse.matches ? 24 : 18);
  app.scene = (over) => {
    const theme = over && over.theme || app.theme;
    const changes = model.compare || app.view.signed;
    const key = `${theme}|${store.get().c}|${changes}`;
    if (key !== colorsFor) {
      colors = palette(model, store.get().c, theme, changes);
      colorsFor = key;
    }
    return { view: app.view, window: win, scroll: graph.scrollTop, width: pixels(), height: graph.clientHeight, rowH: rowHeight(), ratio: devicePixelRatio || 1,
      font: 12 + Number(prefs.get("font", 0)), theme, palette: colors, bits: app.search && app.search.bits, forced: forced.matches };
  };
  app.draw = () => {
    if (!app.view || graph.hidden || !graph.clientHeight) return;
    const scene = app.scene();
    app.renderer.draw(scene);
    marks.selected = app.view.selected;
    app.renderer.drawOverlay(marks);
    app.renderer.drawOverview(app.view, win, tickColumns, app.theme, pixels(), scene.ratio);
  };
  app.window = () => ({ ...win });

  function glide(to) {
    cancelAnimationFrame(animation);
    const from = { ...win }, began = performance.now();
    target = to;
    const whole = app.view.panes[0].lay.whole;
    if (calm.matches || !app.ready || (from.x0 === to.x0 && from.x1 === to.x1) || from.x1 > whole * 1.0001) {
      win = to;
      app.draw();
      return;
    }
    const step = (now) => {
      const t = Math.min(1, (now - began) / ANIMATION_MS), k = t * (2 - t);
      win = t >= 1 ? to : { x0: from.x0 + (to.x0 - from.x0) * k, x1: from.x1 + (to.x1 - from.x1) * k };
      app.draw();
      if (t < 1) animation = requestAnimationFrame(step);
    };
    animation = requestAnimationFrame(step);
  }

  function clamp(x0, x1) {
    const whole = app.view.panes[0].lay.whole, least = whole * 1e-6;
    let size = Math.min(whole, Math.max(least, x1 - x0));
    x0 = Math.max(0, Math.min(whole - size, x0));
    return { x0, x1: x0 + size };
  }
  const setWindow = (w) => {
    cancelAnimationFrame(animation);
    win = w;
    app.frame("draw", app.draw);
  };
  app.setWindowAround = (from, px, factor) => {
    const f = px / pixels(), at = from.x0 + f * (from.x1 - from.x0), size = (from.x1 - from.x0) * factor;
    setWindow(clamp(at - f * size, at + (1 - f) * size));
  };
  app.shiftWindow = (from, fraction) => setWindow(clamp(from.x0 + fraction * (from.x1 - from.x0), from.x1 + fraction * (from.x1 - from.x0)));
  app.setFractions = (a, b) => setWindow(clamp(a * app.view.panes[0].lay.whole, b * app.view.panes[0].lay.whole));
  app.centerWindow = (f) => {
    const half = (win.x1 - win.x0) / 2, at = f * app.view.panes[0].lay.whole;
    setWindow(clamp(at - half, at + half));
  };
  // The window that dragging or the wheel led to becomes part of the address.
  app.settle = (wait = 0) => {
    clearTimeout(settleTimer);
    settleTimer = setTimeout(() => {
      const whole = app.view.panes[0].lay.whole;
      const a = Math.floor(win.x0 / whole * 1e6), b = Math.ceil(win.x1 / whole * 1e6);
      if (a <= 0 && b >= 1e6) store.change({ a: "", z: "" });
      else if (target === null || win.x0 !== target.x0 || win.x1 !== target.x1) store.change({ a: `${a},${b}` });
    }, wait);
  };
  app.setPanelWidth = (w) => {
    byId("panel").style.width = `${Math.max(260, Math.min(w, document.body.clientWidth * 0.6))}px`;
    prefs.set("panel", Math.max(260, w));
    app.frame("resize", resize);
  };

  function rowOf(at) {
    const { pane, node } = at, d = pane.lay.tree.depth[node];
    return pane.up ? pane.top - (d - pane.base) : pane.top + (d - pane.base);
  }
  function scrollTo(at, context) {
    const h = rowHeight(), y = rowOf(at) * h, offset = Math.max(0, graph.clientHeight - app.view.rows * h);
    if (app.view.panes.length === 1 && app.view.panes[0].up && offset) return;
    const keep = context * h;
    if (y - keep < graph.scrollTop) graph.scrollTop = Math.max(0, y - keep);
    else if (y + h + keep > graph.scrollTop + graph.clientHeight) graph.scrollTop = y + h + keep - graph.clientHeight;
  }

  // A flame grows from its foot: that is what stays in place.
  function resize() {
    const foot = app.view.panes[0].up && graph.scrollHeight - graph.scrollTop - (app.height || graph.clientHeight);
    update(store.get(), store.get());
    if (app.view.panes[0].up) {
      graph.scrollTop = graph.scrollHeight - graph.clientHeight - foot;
      app.draw();
    }
    app.height = graph.clientHeight;
  }

  // ---- the one update ----

  function update(state, before) {
    app.view = viewer.derive(state, pixels());
    const { view } = app;
    byId("app").dataset.view = state.w;
    showNothing(app);
    byId("spacer").style.height = `${view.rows * rowHeight()}px`;
    for (const k of ["hover", "run"]) marks[k] = null;
    searchUpdate(state);
    const shape = state.d !== before.d || state.y !== before.y || state.p !== before.p;
    toolbar(state);
    showChips(app);
    showLegend(app);
    if (shape || !app.ready) graph.scrollTop = view.pivotRow ? Math.max(0, view.pivotRow * rowHeight() - graph.clientHeight / 2) : view.panes[0].up ? view.rows * rowHeight() : 0;
    const at = state.z !== before.z || !app.ready ? view.zoom : null;
    if (at && at.node > 0) scrollTo(at, 3);
    const chosen = state.s !== before.s || !app.ready ? view.selected : null;
    if (chosen) scrollTo(chosen, 1);
    glide(view.window);
    if (state.s !== before.s || state.z !== before.z || !app.ready || shape || state.u !== before.u || state.f !== before.f || state.x !== before.x) showDetails(app);
    if (state.s !== before.s && state.s && !app.fromTable) showTab("details");
    // The picture first; what is read after it may wait for the next frame.
    if (app.ready) app.frame("words", words);
    else words();
    notice(view.missing.length ? `The ${view.missing.join(" and ")} of this link is not in this profile or not in this view.` : "", "missing");
    notice(view.bad.length ? `A filter could not be read: ${view.bad.join("; ")}` : "", "filter");
    if (state.f !== before.f || state.x !== before.x) app.access.say(`${percent(view.base.total[view.u][0], view.all)} of all samples left`);
    showStatus(app, null);
  }

  function words() {
    app.table.update();
    app.access.update();
    app.fromTable = false;
  }

  function searchUpdate(state) {
    const { view } = app, box = byId("search"), words = byId("q-count");
    const found = app.search = findItems(model, state.q, state.qf);
    if (box.value !== state.q) box.value = state.q;
    box.setAttribute("aria-invalid", found && found.error ? "true" : "false");
    words.className = found && found.error ? "bad" : "";
    tickColumns = null;
    if (!found || found.error) {
      words.textContent = found ? found.error : "";
      if (found) app.search = { functions: 0 };
      return;
    }
    const lay = view.panes[0].lay, u = view.u, tree = lay.tree;
    tickColumns = lay.whole ? ticks(lay, found.bits, Math.floor(pixels())) : null;
    let part;
    if (view.turned) {
      part = matchedInverted(tree, u, found.bits, coveredNodes(view.base, found.bits), view.zoom ? view.zoom.node : 0);
    } else {
      const z = view.zoom && !view.zoom.pane.mark ? view.zoom.node : 0;
      part = matchedSum(tree, tree.total[u], found.bits, z, tree.end[z]);
      if (!z && tree.item[0] >= 0 && found.bits[tree.item[0]]) part.sum = tree.total[u][0];
    }
    const whole = matchedSum(model.tree, model.tree.total[u], found.bits);
    Object.assign(found, { share: part.sum, ofAll: whole.sum, frames: part.frames });
    const where = app.matchAt ? `${app.matchAt}/` : "";
    words.textContent = found.functions ? `${where}${count(part.frames)} · ${percent(part.sum, view.viewSum)} of view · ${percent(whole.sum, view.all)} of all` : "no match";
    words.title = `${count(found.functions)} functions, ${count(part.frames)} frames; each stack counted once, by its outermost match`;
    app.access.say(words.textContent);
  }

  function toolbar(state) {
    const flame = state.y === "f";
    fill(byId("b-flip"), flame ? "Flame" : "Icicle");
    byId("b-flip").title = "Flip: root on top (icicle) or at the bottom (flame) (f)";
    fill(byId("b-callers"), "Callers first");
    byId("b-callers").title = "Merge by callers: leaves at the root (b)";
    byId("b-callers").setAttribute("aria-pressed", state.d === "b");
    options(byId("s-order"), [["n", "name"], ["w", "weight"]], state.d === "b" ? "w" : state.o);
    byId("s-order").disabled = state.d === "b";
    options(byId("s-group"), [["-", "nothing"], ["n", "process name"], ["p", "process"], ["n,t", "name, thread"], ["p,t", "process, thread"], ["c,n", "container, name"], ["c,p", "container, process"], ["c,p,t", "container, process, thread"]], state.g || defaultLevels(model));
    options(byId("s-color"), [["o", "origin"], ["m", "module"], ["h", "heat (self)"], ["d", "plain"]], state.c);
    options(byId("s-recursion"), [["0", "as it is"], ["1", "repeats as one"], ["2", "cycles as one"], ["l", "chains as one"]], state.l ? "l" : state.r);
    byId("l-value").hidden = model.compare || formats.length < 2;
    options(byId("s-value"), formats.map((_, i) => [String(i), app.valueName(i)]), state.u);
    byId("l-width").hidden = byId("l-norm").hidden = !model.compare;
    options(byId("s-width"), [["m", "the larger"], ["A", "A"], ["B", "B"]], state.v2);
    options(byId("s-norm"), [["total", "by total"], ["dur", "by duration"], ["none", "as counted"]], state.n);
    fill(byId("b-reset"), "Whole");
    byId("b-reset").title = "Zoom out to everything (0)";
    byId("b-reset").disabled = !state.z && !state.a;
    byId("q-case").setAttribute("aria-pressed", state.qf.includes("i"));
    byId("q-regex").setAttribute("aria-pressed", state.qf.includes("r"));
    fill(byId("b-theme"), app.theme === "dark" ? "Light" : "Dark");
  }

  function showTab(name) {
    for (const k of ["functions", "details", "ledger"]) {
      byId(`tab-${k}`).setAttribute("aria-selected", k === name);
      byId(`tab-${k}`).tabIndex = k === name ? 0 : -1;
      byId(`pane-${k}`).hidden = k !== name;
    }
    if (name === "functions") app.table.repaint();
  }

  function setTheme() {
    const want = prefs.get("theme", "");
    app.theme = want || (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = app.theme;
  }

  // ---- commands ----

  const current = () => app.view.selected || app.view.zoom;
  const itemAt = (at) => at ? at.pane.lay.tree.item[at.node] : -1;
  app.selectedItem = () => itemAt(app.view && current());
  app.originsSeen = () => new Set(Array.from(new Set(app.view.base.item)).filter((i) => i >= 0).map(model.origin));
  const exact = (item) => model.isContext(item) ? `=${model.name(item)}` : `=${model.rawName(item)}`;
  const push = (patch) => store.change(patch, { push: true });
  const copy = (text, what) => {
    const done = () => { notice("", "copy"); app.access.say(`${what} copied`); app.idleStatus = `${what} copied`; showStatus(app, null); app.idleStatus = HINT; };
    const byHand = () => openDialog(`Copy ${what}`, el("textarea", { rows: 8, cols: 70, readonly: true, "aria-label": what }, text), el("form", { method: "dialog" }, el("button", {}, "Close"))).querySelector("textarea").select();
    if (navigator.clipboard && navigator.clipboard.writeText) navigator.clipboard.writeText(text).then(done, byHand);
    else byHand();
  };
  const addFilter = (verb, pattern) => push({ f: filtersText([...filtersOf(store.get()), { verb, pattern }]), z: "", a: "", s: "" });
  const stem = () => `${visible(model.meta.host || "profile").replace(/[^\w.-]+/g, "_").slice(0, 60)}_${new Date(model.meta.start || 0).toISOString().slice(0, 19).replace(/:/g, "-")}`;

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
      for (let i = 0; i < tree.n; i++) if (tree.item[i] === item && (!best || pane.lay.width[i] > best.pane.lay.width[best.node])) best = { pane, node: i };
    }
    return best;
  }
  const entriesFor = (at, item) => {
    const c = app.commands, fun = item >= 0 && !model.isContext(item), name = clip(model.name(item), 40);
    return [
      at && { text: "Zoom to it", key: "Enter", run: () => zoomTo(at) },
      fun && { text: "Callers and callees", key: "p", run: () => c.pivotItem(item) }, "-",
      item >= 0 && { text: `Keep stacks with ${name}`, key: "k", run: () => c.keepItem(item) },
      item >= 0 && { text: "Drop them", key: "x", run: () => c.filterItem("d", item) },
      fun && { text: "Fold it into its callers", key: "m", run: () => c.filterItem("m", item) },
      fun && { text: "Cut what it calls", run: () => c.filterItem("x", item) },
      fun && { text: "Start stacks here", key: "h", run: () => c.filterItem("s", item) },
      fun && model.module(item) && { text: "Keep its module", run: () => addFilter("k", `mod:=${model.module(item)}`) }, "-",
      { text: "Copy name", key: "y", run: () => copy(model.rawName(item), "name") },
      at && { text: "Copy stack", key: "Y", run: () => copy(stackOf(app, at).map(model.name).join("\n"), "stack") },
      { text: "Copy link to this view", key: "l", run: c.copyLink },
    ].filter(Boolean);
  };
  app.itemMenu = (item, x, y) => openMenu(entriesFor(null, item), x, y);
  app.hoverItem = (item) => {
    marks.item = item;
    app.frame("overlay", () => app.renderer.drawOverlay(marks));
  };

  Object.assign(app.commands, {
    hover(x, y) {
      const hit = x < 0 ? null : app.renderer.hit(x, y);
      marks.hover = hit && hit.pane ? hit : null;
      marks.run = hit && hit.run;
      graph.style.cursor = hit ? "pointer" : "default";
      app.renderer.drawOverlay(marks);
      showStatus(app, hit);
    },
    click(x, y, shift, touch) {
      const hit = app.renderer.hit(x, y);
      graph.focus({ preventScroll: true });
      if (!hit) return;
      if (hit.run) {
        const whole = app.view.panes[0].lay.whole;
        push({ a: `${Math.floor(hit.run.from / whole * 1e6)},${Math.min(1e6, Math.ceil(hit.run.to / whole * 1e6))}`, z: "" });
      } else if (shift || (touch && !(marks.selected && marks.selected.node === hit.node && marks.selected.pane === hit.pane))) select(hit);
      else zoomTo(hit);
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
      if (e.key === "ArrowUp" || e.key === "ArrowDown") node = (e.key === "ArrowUp") === !up ? lay.tree.parent[at.node] : widestChild(lay, at.node);
      else node = rowNeighbour(lay, at.node, e.key === "ArrowRight" ? 1 : -1, 3 * (win.x1 - win.x0) / pixels());
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
      if (list.length) push({ f: filtersText(list.slice(0, -1)) });
      else if (store.get().x) push({ x: contextsText(contextsOf(store.get()).slice(0, -1)) });
    },
    escape() {
      const s = store.get();
      if (!byId("menu").hidden) byId("menu").hidden = true;
      else if (s.q) store.change({ q: "" });
      else if (s.p) push({ p: "", w: "g", z: "", a: "", s: "" });
      else if (s.z || s.a) push({ z: "", a: "" });
      else if (s.s) store.change({ s: "" });
    },
    whole: () => push({ z: "", a: "" }),
    zoomBy(e) {
      const at = current(), lay = app.view.panes[0].lay;
      const middle = at ? (at.pane.lay.start[at.node] + at.pane.lay.width[at.node] / 2 - win.x0) / (win.x1 - win.x0) * pixels() : pixels() / 2;
      app.setWindowAround(win, Math.max(0, Math.min(pixels(), middle)), e.code === "Minus" || e.code === "NumpadSubtract" || e.code === "KeyS" ? 1.5 : 1 / 1.5);
      if (lay.whole) app.settle(200);
    },
    pan(e) {
      app.shiftWindow(win, e.code === "KeyA" ? -0.1 : 0.1);
      app.settle(200);
    },
    focusSearch() {
      byId("search").focus();
      byId("search").select();
    },
    match(e) {
      if (!app.search || !app.search.bits) return;
      const pane = app.view.panes[0], from = app.view.selected && app.view.selected.pane === pane ? app.view.selected.node : 0;
      const next = nextMatch(pane.lay.tree, app.search.bits, from, e.shiftKey || e.key === "N" ? -1 : 1);
      if (!next) return;
      app.matchAt = count(next.number);
      const { start: s, width } = pane.lay;
      if (s[next.node] + width[next.node] <= win.x0 || s[next.node] >= win.x1) push({ z: "", a: "", s: app.path(pane, next.node) });
      else select({ pane, node: next.node });
    },
    flip: () => push({ y: store.get().y === "f" ? "i" : "f" }),
    callersFirst: () => push({ d: store.get().d === "b" ? "t" : "b", z: "", a: "", s: "", p: "", w: "g" }),
    nextOrder: () => store.change({ o: store.get().o === "n" ? "w" : "n" }),
    nextRecursion: (e) => push({ r: e && e.key === "R" ? (store.get().r === "2" ? "0" : "2") : String((Number(store.get().r) + 1) % 2), l: "", z: "", a: "", s: "" }),
    nextColor: () => store.change({ c: { o: "m", m: "h", h: "d", d: "o" }[store.get().c] }),
    pivot: () => app.selectedItem() >= 0 && app.commands.pivotItem(app.selectedItem()),
    pivotItem: (item) => item >= 0 && push({ p: viewer.hashOf(item), w: "s", d: "t", z: "", a: "", s: "" }),
    keep: () => app.commands.keepItem(app.selectedItem()),
    drop: () => app.commands.filterItem("d", app.selectedItem()),
    fold: () => app.commands.filterItem("m", app.selectedItem()),
    start: () => app.commands.filterItem("s", app.selectedItem()),
    keepItem: (item) => model.isContext(item) && item >= 0 ? app.commands.onlyContext(item) : app.commands.filterItem("k", item),
    filterItem: (verb, item) => item >= 0 && addFilter(verb, exact(item)),
    onlyContext(item) {
      const c = model.context(item);
      const f = c.kind === 0 ? { kind: "c", id: c.name } : c.kind === 1 ? (!c.pid ? { kind: "p", id: `=${c.name}` } : { kind: "p", id: String(c.pid), start: String(c.uid) }) : { kind: "t", id: c.tid ? String(c.tid) : `=${c.name}` };
      push({ x: contextsText([...contextsOf(store.get()).filter((k) => k.kind !== f.kind), f]), z: "", a: "", s: "" });
    },
    onlyOrigin: (origin) => push({ x: contextsText([...contextsOf(store.get()).filter((k) => k.kind !== "o"), { kind: "o", id: origin }]), z: "", a: "", s: "" }),
    foldOrigin(origin) {
      const list = filtersOf(store.get()), is = (f) => f.verb === "m" && f.pattern === `origin:${origin}`;
      push({ f: filtersText(list.some(is) ? list.filter((f) => !is(f)) : [...list, { verb: "m", pattern: `origin:${origin}` }]), z: "", a: "", s: "" });
    },
    selectItem(item) {
      const at = widestOf(item);
      if (at) select(at);
      else notice(`${clip(model.name(item), 80)} is not in this view (callers first shows only what is wide enough; filters may hide it).`, "missing");
    },
    searchFor: (q) => store.change({ q, qf: "" }),
    viewKind(e) {
      if (e.key === "1") push({ w: "g", p: "" });
      else if (e.key === "3") push({ w: "t" });
      else app.commands.pivotItem(app.selectedItem() >= 0 && !model.isContext(app.selectedItem()) ? app.selectedItem() : app.table.hottest());
    },
    focusTable() {
      showTab("functions");
      app.table.focus();
    },
    copyName: () => current() && copy(model.rawName(app.selectedItem()), "name"),
    copyStack: () => current() && copy(stackOf(app, current()).map(model.name).join("\n"), "stack"),
    copy: (e) => (e.key === "Y" ? app.commands.copyStack : app.commands.copyName)(),
    copyLink: () => copy(location.href, "link"),
    help: () => showHelp(KEYS),
    exportMenu() {
      const box = byId("b-export").getBoundingClientRect();
      openMenu([
        { text: "Picture (PNG)", run: () => savePng(`${stem()}.png`) },
        { text: "Picture (SVG)", run: () => save(`${stem()}.svg`, svgText(app, app.renderer.drawn), "image/svg+xml") },
        { text: "Stacks (collapsed text)", run: () => save(`${stem()}.folded.txt`, collapsedText(model, app.view.base, app.view.u), "text/plain") },
        { text: "Table (CSV)", run: () => save(`${stem()}.csv`, csvText(app.table.rows(Infinity), model.compare), "text/csv") },
        "-", { text: "Print or PDF", run: () => print() }, { text: "Copy link to this view", key: "l", run: app.commands.copyLink },
      ], box.left, box.bottom, byId("b-export"));
    },
    editFilter(at) {
      const list = filtersOf(store.get()), old = list[at] || { verb: "k", pattern: store.get().q };
      const verb = el("select", { "aria-label": "What to do" }, ...VERBS.map(([v, word, text]) => el("option", { value: v, title: text }, word)));
      const text = el("input", { value: old.pattern, "aria-label": "Pattern", placeholder: "text, =exact, /regex/, mod:…, file:…, origin:…" });
      verb.value = old.verb;
      const put = (filter) => push({ f: filtersText(at === undefined ? [...list, filter] : list.map((f, i) => i === at ? filter : f)), z: "", a: "", s: "" });
      const d = openDialog(at === undefined ? "Add a filter" : "Change the filter",
        el("form", { method: "dialog", onsubmit: () => text.value && put({ verb: verb.value, pattern: text.value }) }, verb, text, el("button", {}, "Apply")),
        el("ul", { class: "muted" }, ...VERBS.map(([, word, what]) => el("li", {}, el("b", {}, word), `: ${what}`))),
        at === undefined ? el("p", {}, "Ready made: ") : null,
        at === undefined ? el("div", { class: "buttons" }, ...PRESETS.map(([name, v, p]) => el("button", { type: "button", onclick: () => { d.close(); addFilter(v, p); } }, `${VERBS.find(([k]) => k === v)[1]} ${name}`))) : null);
      text.focus();
    },
  });
  app.viewWords = () => {
    const s = store.get();
    return [app.view.zoom && `zoomed to ${model.name(itemAt(app.view.zoom))}`, s.q && `search ${s.q}`, ...filtersOf(s).map((f) => `${VERBS.find(([v]) => v === f.verb)[1]} ${f.pattern}`), ...contextsOf(s).map((c) => `only ${c.id}`), s.d === "b" && "callers first"].filter(Boolean).join(" · ");
  };

  // ---- wiring ----

  function wire() {
    const c = app.commands, on = (id, f) => byId(id).addEventListener("click", f), changed = (id, f) => byId(id).addEventListener("change", () => f(byId(id).value));
    on("b-flip", c.flip);
    on("b-callers", c.callersFirst);
    on("b-filter", () => c.editFilter());
    on("b-reset", c.whole);
    on("b-export", c.exportMenu);
    on("b-help", c.help);
    on("b-theme", () => {
      prefs.set("theme", app.theme === "dark" ? "light" : "dark");
      setTheme();
      app.table.repaint();
      resize();
    });
    on("ledger-bar", () => showTab("ledger"));
    on("q-prev", () => c.match({ key: "N" }));
    on("q-next", () => c.match({ key: "n" }));
    for (const [id, flag] of [["q-case", "i"], ["q-regex", "r"]]) on(id, () => {
      const has = store.get().qf.includes(flag);
      const set = new Set([...store.get().qf].filter((f) => f !== flag));
      if (!has) set.add(flag);
      store.change({ qf: ["i", "r"].filter((f) => set.has(f)).join("") });
    });
    changed("s-order", (v) => store.change({ o: v }));
    changed("s-group", (v) => push({ g: v === defaultLevels(model) ? "" : v, z: "", a: "", s: "" }));
    changed("s-color", (v) => store.change({ c: v }));
    changed("s-recursion", (v) => push({ r: v === "l" ? "0" : v, l: v === "l" ? "1" : "", z: "", a: "", s: "" }));
    changed("s-value", (v) => push({ u: v }));
    changed("s-width", (v) => push({ v2: v }));
    changed("s-norm", (v) => push({ n: v }));
    byId("search").addEventListener("input", () => {
      app.matchAt = "";
      store.change({ q: byId("search").value });
    });
    byId("search").addEventListener("keydown", (e) => {
      if (e.key === "Enter") c.match({ key: e.shiftKey ? "N" : "n" });
      else if (e.key === "Escape") {
        if (store.get().q) store.change({ q: "" });
        graph.focus();
      } else return;
      e.preventDefault();
    });
    const tabs = ["functions", "details", "ledger"];
    for (const name of tabs) on(`tab-${name}`, () => showTab(name));
    byId("tabs").addEventListener("keydown", (e) => {
      const at = tabs.findIndex((t) => byId(`tab-${t}`).getAttribute("aria-selected") === "true"), step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (!step) return;
      const to = tabs[(at + step + 3) % 3];
      showTab(to);
      byId(`tab-${to}`).focus();
    });
    addEventListener("popstate", () => store.reload());
    addEventListener("hashchange", () => store.reload());
    addEventListener("beforeprint", () => preparePrint(app));
    for (const query of [dark, forced, coarse]) query.addEventListener("change", () => {
      setTheme();
      resize();
    });
    new ResizeObserver(() => app.frame("resize", resize)).observe(byId("left"));
    listen(app);
  }

  setTheme();
  document.title = clip(visible(document.title), 200);
  byId("app").hidden = false;
  const still = byId("static");
  if (still) still.hidden = true;
  app.table = createTable(app);
  app.access = createAccess(app);
  showHeader(app);
  showLedger(app);
  showTab("functions");
  if (prefs.get("panel", 0)) byId("panel").style.width = `${prefs.get("panel", 0)}px`;
  wire();
  store.listen(update);
  update(store.get(), DEFAULTS);
  app.ready = true;
  const all = model.tree.total.length ? model.tree.total[0][0] : 0;
  if (all > 0 && all < TINY && !model.compare) notice(`Only ${app.format(0).text(all)}: shares carry a wide error, shown as ± in the status line.`, "tiny");
  if (model.meta.folded) notice(`The file holds ${count(model.meta.nodes)} frames, its limit; ${count(model.meta.folded)} of the narrowest were put together as “(small frames)”. Sums are exact.`, "folded");
  return app;
}

async function boot() {
  try {
    const bytes = await inflate(fromBase64(byId("profile").textContent));
    const app = start(parseContainer(bytes));
    window.gprofiler = { app, ready: performance.now() };
    document.documentElement.dataset.ready = "1";
  } catch (error) {
    fail(error);
    document.documentElement.dataset.ready = "failed";
    if (!error.section) throw error;
  }
}

boot();
