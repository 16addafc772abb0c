// SPDX-License-Identifier: Apache-2.0
// strip.js -- the time strip: samples by slot of time, by the kind of code they were in; dragging over
// it shows the graph of that part only.

import {byId} from "./dom.js";
import {count, nanoseconds, percent} from "./format.js";
import {originOf, SURFACE} from "./color.js";
import {hitsIn} from "./search.js";
import {rangeText, slotsBelow} from "./time.js";

const HEIGHT = 32;
const MOVED_PX = 3;

export function createStrip(app) {
  const { model, store } = app, { times } = model, canvas = byId("strip"), box = byId("strip-box");
  box.hidden = !times;
  if (!times) return { draw() {}, words: () => "" };
  let drag = null, hits = null;

  const at = (slot) => nanoseconds(Math.round(times.startMs + slot * times.slotMs) * 1e6).replace(/^0 ns$/, "0 s");
  const sumOf = (strip, from, to) => {
    let sum = 0;
    for (const column of strip.sums)
      for (let s = from; s < to; s++) sum += column[s];
    return sum;
  };

  // Samples under a match of the search, by slot.
  function matched() {
    const bits = app.search && app.search.bits, { strip } = app.view;
    if (!bits) return null;
    if (!hits || hits.bits !== bits || hits.strip !== strip)
      hits = { bits, strip, sums: slotsBelow(model, strip.where, hitsIn(model.tree, app.search)) };
    return hits.sums;
  }

  // Slots shorter than two ticks would show the sampler's comb, and bars want three pixels: some slots make
  // one bar.
  function bars(c, width) {
    const { strip } = app.view, { theme } = app, tick = model.nsPerSample / 1e6 || 0;
    const together = Math.max(1, Math.ceil(3 * times.slots / width), Math.ceil(2 * tick / times.slotMs));
    const n = Math.ceil(times.slots / together), heights = new Float64Array(n);
    const joined = (column) => {
      const out = new Float64Array(n);
      for (let s = 0; s < times.slots; s++) out[s / together | 0] += column[s];
      return out;
    };
    const columns = new Map(strip.kinds.map((k) => [k, joined(strip.sums[k])]));
    for (const column of columns.values())
      for (let s = 0; s < n; s++) heights[s] += column[s];
    let highest = 1;
    for (const h of heights) highest = Math.max(highest, h);
    const x = (s) => Math.round(Math.min(s * together, times.slots) * width / times.slots), y = (v) => v / highest * (HEIGHT - 2);
    const base = new Float64Array(n), named = (k) => k === 32 ? "context" : (model.meta.kinds || [])[k];
    // Alike colours lie beside each other: the kernel at the foot, then what calls it.
    const kinds = strip.kinds.slice().sort((a, b) => (named(b) === "kernel") - (named(a) === "kernel") || a - b);
    for (const k of kinds) {
      const column = columns.get(k);
      c.fillStyle = app.forced() ? "GrayText" : originOf(named(k))[theme];
      for (let s = 0; s < n; s++) {
        if (!column[s]) continue;
        const from = y(base[s]), to = y(base[s] += column[s]);
        c.fillRect(x(s), HEIGHT - to, Math.max(1, x(s + 1) - x(s)), to - from);
      }
    }
    const every = matched(), found = every && joined(every);
    if (!found) return;
    c.fillStyle = app.forced() ? "Highlight" : SURFACE[theme].match;
    for (let s = 0; s < n; s++)
      if (found[s]) c.fillRect(x(s), HEIGHT - y(found[s]), Math.max(1, x(s + 1) - x(s)), 2);
  }

  function draw() {
    const width = app.pixels(), ratio = devicePixelRatio || 1, c = canvas.getContext("2d");
    canvas.width = Math.round(width * ratio);
    canvas.height = HEIGHT * ratio;
    canvas.style.width = `${width}px`;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = app.forced() ? "Canvas" : SURFACE[app.theme].panel;
    c.fillRect(0, 0, width, HEIGHT);
    bars(c, width);
    const range = drag ? drag.range : app.view.range;
    if (range) {
      const [a, b] = range.map((s) => s * width / times.slots);
      c.globalAlpha = 0.7;
      c.fillStyle = app.forced() ? "Canvas" : SURFACE[app.theme].panel;
      c.fillRect(0, 0, a, HEIGHT);
      c.fillRect(b, 0, width - b, HEIGHT);
      c.globalAlpha = 1;
      c.strokeStyle = app.forced() ? "Highlight" : SURFACE[app.theme].accent;
      c.lineWidth = 2;
      c.strokeRect(a + 1, 1, Math.max(1, b - a - 2), HEIGHT - 2);
    }
    const ends = [0, times.slots].map(at);
    c.font = "11px system-ui, sans-serif";
    c.textBaseline = "top";
    ends.forEach((text, k) => {
      const w = c.measureText(text).width, left = k ? width - w - 4 : 4;
      c.fillStyle = app.forced() ? "Canvas" : SURFACE[app.theme].panel;
      c.fillRect(left - 2, 0, w + 4, 13);
      c.fillStyle = app.forced() ? "CanvasText" : SURFACE[app.theme].text;
      c.fillText(text, left, 1);
    });
    box.setAttribute("aria-valuetext", words(range));
    box.setAttribute("aria-valuenow", range ? range[0] : 0);
    box.setAttribute("aria-valuemax", times.slots);
  }

  function words(range) {
    const { strip } = app.view, whole = [0, times.slots], sum = sumOf(strip, ...(range || whole));
    return `${range ? "" : "all of "}${(range || whole).map(at).join(" – ")}: ${count(sum)} samples, ${
        percent(sum, model.tree.total[0][0])} of all`;
  }

  const slotAt = (e) => {
    const { left, width } = canvas.getBoundingClientRect();
    return Math.max(0, Math.min(times.slots - 1, Math.floor((e.clientX - left) / width * times.slots)));
  };
  const set = (range) => store.push(
      { tr: range && (range[0] > 0 || range[1] < times.slots) ? rangeText(times, range) : "", a: "" });
  box.addEventListener("pointerdown", (e) => {
    if (e.button) return;
    drag = { at: slotAt(e), x: e.clientX, moved: false, range: app.view.range };
    box.setPointerCapture(e.pointerId);
  });
  box.addEventListener("pointermove", (e) => {
    const s = slotAt(e);
    if (drag && Math.abs(e.clientX - drag.x) > MOVED_PX) drag.moved = true;
    if (drag && drag.moved) {
      drag.range = [Math.min(drag.at, s), Math.max(drag.at, s) + 1];
      app.frame("strip", draw);
    }
    app.say(words(drag && drag.moved ? drag.range : [s, s + 1]));
  });
  box.addEventListener("pointerleave", () => app.say(""));
  box.addEventListener("pointerup", () => {
    const was = drag;
    drag = null;
    if (was) set(was.moved ? was.range : null); // a click shows the whole again
  });
  box.addEventListener("pointercancel", () => {
    drag = null;
    draw();
  });
  box.addEventListener("keydown", (e) => {
    const n = times.slots, step = Math.max(1, Math.round(n / 100));
    let [a, b] = app.view.range || [0, n];
    if (e.key === "ArrowLeft" || e.key === "ArrowRight") {
      const d = e.key === "ArrowLeft" ? -step : step;
      if (e.shiftKey)
        b = Math.max(a + 1, Math.min(n, b + d)); // the end alone
      else if (!app.view.range)
        [a, b] = d > 0 ? [0, 10 * step] : [n - 10 * step, n];
      else if (a + d >= 0 && b + d <= n)
        [a, b] = [a + d, b + d];
    } else if (e.key === "Escape" || e.key === "Delete" || e.key === "Backspace") {
      [a, b] = [0, n];
    } else {
      return;
    }
    e.preventDefault();
    e.stopPropagation();
    set([Math.max(0, a), Math.min(n, b)]);
    app.access.say(words(app.view.range));
  });
  return { draw, words };
}
