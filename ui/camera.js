// SPDX-License-Identifier: Apache-2.0
// camera.js -- what part of the graph is seen and how it gets there: scene, window, zoom, scroll.
//
// All positions are in units of the width measure (layout.js). Adds its verbs to `app`.

import {byId} from "./dom.js";
import {count} from "./format.js";
import {palette} from "./color.js";

const ANIMATION_MS = 120;
const FRAME_MS = 16;
const REST_MS = 60; // shorter, and what is read gets between two steps of somebody on the way

export function addCamera(app) {
  const { model, store, prefs } = app, graph = byId("graph");
  const forced = matchMedia("(forced-colors: active)"), coarse = matchMedia("(pointer: coarse)");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let win = { x0: 0, x1: 1 }, target = null, animation = 0, settleTimer = 0, restTimer = 0, colors = null, colorsFor = "";

  const pixels = app.pixels = () => Math.max(50, graph.clientWidth || byId("left").clientWidth - 16);
  const rowHeight = app.rowHeight = () => Number(prefs.get("row", 0)) || (coarse.matches ? 24 : 18);
  app.forced = () => forced.matches;
  app.scene = (over) => {
    const theme = over && over.theme || app.theme;
    const changes = model.compare || app.view.signed;
    const key = `${theme}|${store.get().c}|${changes}`;
    if (key !== colorsFor) {
      colors = palette(model, store.get().c, theme, changes);
      colorsFor = key;
    }
    return {
      view: app.view,
      window: win,
      scroll: graph.scrollTop,
      width: pixels(),
      height: graph.clientHeight,
      rowH: rowHeight(),
      ratio: devicePixelRatio || 1,
      font: 12 + Number(prefs.get("font", 0)),
      theme,
      palette: colors,
      bits: app.search && app.search.bits,
      forced: forced.matches
    };
  };
  const sizeNow = app.sizeNow = () => `${pixels()} ${graph.clientHeight}`;
  // f, in a frame after the graph has come to rest: what is read after the picture does not hold it up.
  app.atRest = (f, wait = app.ready ? REST_MS : 0) => {
    clearTimeout(restTimer);
    restTimer = setTimeout(() => animation ? app.atRest(f) : app.frame("rest", f), wait);
  };
  app.draw = () => {
    if (!app.view || graph.hidden || !graph.clientHeight) return;
    const scene = app.scene();
    app.renderer.draw(scene);
    app.drawnSize = sizeNow();
    app.height = scene.height;
    showRows(scene);
    app.marks.selected = app.view.selected;
    app.renderer.drawOverlay(app.marks);
    app.renderer.drawOverview(scene, app.tickColumns);
  };
  // Where the rows in sight lie among all, when they do not fit.
  function showRows(scene) {
    const button = byId("rows"), first = Math.floor(scene.scroll / scene.rowH);
    const seen = Math.floor(scene.height / scene.rowH), all = app.view.rows;
    button.hidden = all <= seen + 1;
    if (button.hidden) return;
    const from = app.view.panes[0].up ? Math.max(1, all - first - seen) : first + 1;
    const words = `rows ${count(from)} to ${count(Math.min(all, from + seen))} of ${count(all)} · deepest`;
    if (button.textContent !== words) button.textContent = words; // else every frame is laid out anew
  }
  app.window = () => ({...win });
  function stop() {
    cancelAnimationFrame(animation);
    animation = 0;
  }

  app.glide = (to) => {
    stop();
    const from = {...win };
    let began = 0;
    target = to;
    const whole = app.view.panes[0].lay.whole;
    if (calm.matches || !app.ready || (from.x0 === to.x0 && from.x1 === to.x1) || from.x1 > whole * 1.0001) {
      win = to;
      app.draw();
      return;
    }
    const step = (now) => {
      began = began || now - FRAME_MS;
      const t = Math.min(1, (now - began) / ANIMATION_MS), k = t * (2 - t);
      win = t >= 1 ? to : { x0: from.x0 + (to.x0 - from.x0) * k, x1: from.x1 + (to.x1 - from.x1) * k };
      app.draw();
      animation = t < 1 ? requestAnimationFrame(step) : 0;
    };
    animation = requestAnimationFrame(step);
  };

  function clamp(x0, x1) {
    const whole = app.view.panes[0].lay.whole, least = whole * 1e-6;
    let size = Math.min(whole, Math.max(least, x1 - x0));
    x0 = Math.max(0, Math.min(whole - size, x0));
    return { x0, x1: x0 + size };
  }
  const setWindow = (w) => {
    stop();
    win = w;
    app.frame("draw", app.draw);
  };
  app.setWindowAround = (from, px, factor) => {
    const f = px / pixels(), at = from.x0 + f * (from.x1 - from.x0), size = (from.x1 - from.x0) * factor;
    setWindow(clamp(at - f * size, at + (1 - f) * size));
  };
  app.shiftWindow = (from, fraction) =>
      setWindow(clamp(from.x0 + fraction * (from.x1 - from.x0), from.x1 + fraction * (from.x1 - from.x0)));
  app.setFractions = (a, b) =>
      setWindow(clamp(a * app.view.panes[0].lay.whole, b * app.view.panes[0].lay.whole));
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
      if (a <= 0 && b >= 1e6)
        store.change({ a: "", z: "" });
      else if (target === null || win.x0 !== target.x0 || win.x1 !== target.x1)
        store.change({ a: `${a},${b}` });
    }, wait);
  };
  app.setPanelWidth = (w) => {
    byId("panel").style.width = `${Math.max(260, Math.min(w, document.body.clientWidth * 0.6))}px`;
    prefs.set("panel", Math.max(260, w));
    app.frame("resize", app.resize);
  };

  function rowOf(at) {
    const { pane, node } = at, d = pane.lay.tree.depth[node];
    return pane.up ? pane.top - (d - pane.base) : pane.top + (d - pane.base);
  }
  app.scrollTo = (at, context) => {
    const h = rowHeight(), y = rowOf(at) * h, offset = Math.max(0, graph.clientHeight - app.view.rows * h);
    if (app.view.panes.length === 1 && app.view.panes[0].up && offset) return;
    const keep = context * h;
    if (y - keep < graph.scrollTop)
      graph.scrollTop = Math.max(0, y - keep);
    else if (y + h + keep > graph.scrollTop + graph.clientHeight)
      graph.scrollTop = y + h + keep - graph.clientHeight;
  };
}
