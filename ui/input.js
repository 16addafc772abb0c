// SPDX-License-Identifier: Apache-2.0
// input.js -- mouse, wheel, touch and keys -> commands. One list of keys feeds the handler, the help
// and the tests.

import {byId} from "./dom.js";

// [keys as shown, what it does, matcher keys, command]. Letters go by the character typed, except
// W A S D and + - 0, which go by their place on the keyboard.
export const KEYS = [
  ["click, Enter", "zoom to the frame", ["Enter"], "zoomSelected"],
  ["Shift+click", "select without zooming", [], ""],
  ["right click, Menu", "menu of the frame", ["ContextMenu", "Shift+F10"], "menu"],
  [
    "↑ ↓ ← →", "parent, widest child, next frame in the row",
    ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"], "arrow"
  ],
  ["Home, End", "first, deepest frame", ["Home", "End"], "ends"],
  ["Backspace, Alt+←", "back", ["Backspace", "Alt+ArrowLeft"], "back"],
  ["Alt+→", "forward", ["Alt+ArrowRight"], "forward"],
  ["z", "undo the last filter", ["z"], "undoFilter"],
  ["Esc", "leave: search, pivot, zoom, selection", ["Escape"], "escape"],
  ["0", "whole view", ["Code:Digit0", "Code:Numpad0"], "whole"],
  [
    "+ −, W S", "zoom at the selection",
    ["Code:Equal", "Code:Minus", "Code:NumpadAdd", "Code:NumpadSubtract", "Code:KeyW", "Code:KeyS"], "zoomBy"
  ],
  ["A D", "pan", ["Code:KeyA", "Code:KeyD"], "pan"],
  ["/, Ctrl+F", "search", ["/", "Ctrl+f"], "focusSearch"],
  ["n, N", "next, previous match", ["n", "N"], "match"],
  ["f", "flip: root on top or at the bottom", ["f"], "flip"],
  ["b", "callers first, or callees first", ["b"], "callersFirst"],
  ["o", "order: name, weight, time", ["o"], "nextOrder"],
  ["r", "recursion: as is, direct repeats, cycles", ["r", "R"], "nextRecursion"],
  ["c", "colour: origin, module, heat, plain", ["c"], "nextColor"],
  ["p", "callers and callees of the selection", ["p"], "pivot"],
  ["k", "keep stacks with the selected function", ["k"], "keep"],
  ["x", "drop stacks with it", ["x"], "drop"],
  ["m", "fold it into its callers", ["m"], "fold"],
  ["h", "start stacks at it", ["h"], "start"],
  ["1 2 3", "graph, callers and callees, table", ["1", "2", "3"], "viewKind"],
  ["t", "go to the table", ["t"], "focusTable"],
  ["e", "export", ["e"], "exportMenu"],
  ["l", "copy the link to this view", ["l"], "copyLink"],
  ["y, Y", "copy name, copy stack", ["y", "Y"], "copy"],
  ["Ctrl+wheel, pinch", "zoom at the pointer", [], ""],
  ["Shift+wheel, drag", "pan", [], ""],
  ["?", "this help", ["?"], "help"],
  ["In the table", "", [], ""],
  ["↑ ↓, Home, End", "rows", [], ""],
  ["click, Space", "select it in the graph; keep it, if it is no function", [], ""],
  ["Enter", "its callers and callees", [], ""],
  ["Shift+Enter", "keep stacks with it", [], ""],
  ["p k x m h y", "as above, of the row", [], ""],
  ["In the strip of time", "", [], ""],
  ["drag, ← →", "a part of the time", [], ""],
  ["Shift+← →", "its end", [], ""],
  ["click, Esc", "the whole again", [], ""],
];
export const keyOf = (command) => KEYS.find((k) => k[3] === command);

const byKey = new Map(KEYS.flatMap(([, , keys, command]) => keys.map((k) => [k, command])));

export function commandFor(e) {
  const ctrl = e.ctrlKey || e.metaKey;
  const prefix =
      (ctrl ? "Ctrl+" : "") + (e.altKey ? "Alt+" : "") + (e.shiftKey && e.key.length > 1 ? "Shift+" : "");
  if (byKey.has(prefix + e.key)) return byKey.get(prefix + e.key);
  return prefix ? "" : byKey.get(`Code:${e.code}`) || "";
}

const LOCK_MS = 180; // what a wheel began, its inertia may not turn into something else
const DRAG_PX = 4;

export function listen(app) {
  const graph = byId("graph"), { commands, signal } = app;
  const at = (e) => {
    const box = graph.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  };
  let pending = null, drag = null, clicks = 0, wheel = { kind: "", until: 0 };
  const pinch = new Map();

  graph.addEventListener("pointermove", (e) => {
    if (pinch.has(e.pointerId)) pinch.set(e.pointerId, at(e));
    if (pinch.size === 2) return pinched();
    if (drag) return dragged(e);
    pending = at(e);
    app.frame("hover", () => pending && commands.hover(...pending));
  });
  graph.addEventListener("pointerleave", () => {
    pending = null;
    app.frame("hover", () => commands.hover(-1, -1));
  });
  graph.addEventListener("pointerdown", (e) => {
    if (e.button !== 0 || e.offsetX >= graph.clientWidth) return;
    if (e.pointerType === "touch") {
      pinch.set(e.pointerId, at(e));
      if (pinch.size === 2) drag = null;
    }
    drag = {
      x: e.clientX,
      y: e.clientY,
      win: app.window(),
      scroll: graph.scrollTop,
      moved: false,
      touch: e.pointerType === "touch"
    };
    if (pinch.size === 2) {
      const [[a], [b]] = [...pinch.values()];
      drag = { pinch: Math.abs(a - b) || 1, middle: (a + b) / 2, win: app.window(), moved: true };
    }
  });
  const pinched = () => {
    const [[a], [b]] = [...pinch.values()];
    if (!drag || !drag.pinch) return;
    app.setWindowAround(drag.win, drag.middle, drag.pinch / (Math.abs(a - b) || 1));
  };
  const dragged = (e) => {
    const dx = e.clientX - drag.x, dy = e.clientY - drag.y;
    if (!drag.moved && Math.abs(dx) + Math.abs(dy) < DRAG_PX) return;
    if (!drag.moved && !drag.touch) graph.setPointerCapture(e.pointerId);
    drag.moved = true;
    if (drag.pinch) return;
    app.shiftWindow(drag.win, -dx / graph.clientWidth);
    if (!drag.touch) graph.scrollTop = drag.scroll - dy;
  };
  const release = (e) => {
    pinch.delete(e.pointerId);
    const was = drag;
    drag = null;
    if (!was) return;
    if (was.moved) {
      clicks = performance.now();
      app.settle();
    }
  };
  graph.addEventListener("pointerup", release);
  graph.addEventListener("pointercancel", release);
  graph.addEventListener("click", (e) => {
    if (performance.now() - clicks < 50) return;
    commands.click(...at(e), e.shiftKey, e.pointerType === "touch");
  });
  graph.addEventListener("contextmenu", (e) => {
    e.preventDefault();
    commands.contextMenu(...at(e), e.clientX, e.clientY);
  });

  graph.addEventListener("wheel", (e) => {
    const now = performance.now();
    const kind = e.ctrlKey || e.metaKey                                  ? "zoom"
                 : e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY) ? "pan"
                                                                         : "scroll";
    if (now < wheel.until && wheel.kind !== kind) {
      wheel.until = now + LOCK_MS;
      e.preventDefault();
      return;
    }
    wheel = { kind, until: now + LOCK_MS };
    if (kind === "scroll") return; // the browser scrolls the rows
    e.preventDefault();
    const unit = e.deltaMode === 1 ? 20 : 1;
    if (kind === "zoom")
      app.setWindowAround(app.window(), at(e)[0], Math.exp(Math.max(-1, Math.min(1, e.deltaY * unit / 300))));
    else
      app.shiftWindow(app.window(),
          (Math.abs(e.deltaX) > Math.abs(e.deltaY) ? e.deltaX : e.deltaY) * unit / graph.clientWidth);
    app.settle(200);
  }, { passive: false });
  graph.addEventListener("scroll", () => app.frame("draw", app.draw));

  graph.addEventListener("keydown", (e) => {
    const name = commandFor(e);
    if (!name || name === "focusSearch") return;
    e.preventDefault();
    commands[name](e);
  });
  document.addEventListener("keydown", (e) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName);
    const find = (e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "f" && !e.altKey;
    if (find && e.target.id === "search") return; // a second Ctrl+F is the browser's
    if (find || (e.key === "/" && !typing && !e.ctrlKey && !e.altKey)) {
      e.preventDefault();
      commands.focusSearch();
    } else if (!typing && !graph.contains(e.target) && byId("pane-functions").contains(e.target) &&
               e.key.length === 1 && commandFor(e)) {
      e.preventDefault();
      commands[commandFor(e)](e);
    } else if (e.key === "Escape" && !typing && !graph.contains(e.target)) {
      commands.escape(e);
    }
  }, { signal });
  // A page dropped on this one is compared with it.
  document.addEventListener("dragover", (e) => e.preventDefault(), { signal });
  document.addEventListener("drop", (e) => {
    e.preventDefault();
    if (e.dataTransfer.files.length) app.compareWith(e.dataTransfer.files[0]);
  }, { signal });
  listenOverview(app);
  listenDivider(app);
}

function listenOverview(app) {
  const overview = byId("overview");
  let from = null;
  const fraction = (e) => Math.max(0, Math.min(1, e.offsetX / overview.clientWidth));
  overview.addEventListener("pointerdown", (e) => {
    from = fraction(e);
    overview.setPointerCapture(e.pointerId);
  });
  overview.addEventListener("pointermove", (e) => {
    if (from !== null && Math.abs(fraction(e) - from) * overview.clientWidth > DRAG_PX)
      app.setFractions(Math.min(from, fraction(e)), Math.max(from, fraction(e)));
  });
  overview.addEventListener("pointerup", (e) => {
    if (from === null) return;
    if (Math.abs(fraction(e) - from) * overview.clientWidth <= DRAG_PX) app.centerWindow(from);
    from = null;
    app.settle();
  });
}

function listenDivider(app) {
  const divider = byId("divider");
  const set = (x) => app.setPanelWidth(Math.round(document.body.clientWidth - x));
  const tell = () => {
    for (const [key, v] of [["now", byId("panel").clientWidth], ["min", 260], ["max", document.body.clientWidth * 0.6]])
      divider.setAttribute(`aria-value${key}`, Math.round(v));
  };
  const observer = new ResizeObserver(tell);
  observer.observe(byId("panel"));
  app.signal.addEventListener("abort", () => observer.disconnect());
  divider.addEventListener("pointerdown", (e) => divider.setPointerCapture(e.pointerId));
  divider.addEventListener("pointermove", (e) => divider.hasPointerCapture(e.pointerId) && set(e.clientX));
  divider.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: -20, ArrowRight: 20 }[e.key];
    if (step) set(divider.getBoundingClientRect().left + step);
  });
}
