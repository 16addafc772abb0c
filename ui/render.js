// SPDX-License-Identifier: Apache-2.0
// render.js -- boxes, labels, overlay, overview, on canvases no larger than what is seen.
//
// draw() paints the boxes and remembers them; hover and selection live on a second canvas, so that
// a moving mouse never paints boxes. Labels go to canvas text only: no foreign byte is markup.

import {eachBox, nodeAt, ridge} from "./layout.js";
import {fit, ladderOf} from "./label.js";
import {LABEL, SURFACE} from "./color.js";

const FONT = 'ui-monospace, SFMono-Regular, "DejaVu Sans Mono", Consolas, monospace';
const PAD = 4;
const ASCII = /^[\x20-\x7e×+−…]*$/;
const FADED = 0.35;

export function createRenderer(model, canvas, overlay, overview) {
  const ctx = canvas.getContext("2d", { alpha: false }), over = overlay.getContext("2d");
  const ladders = new Map();
  const drawn = { boxes: [], runs: [], rowH: 18, top: 0 };
  let ridged = null;
  let advance = 7.2, advanceFor = "";

  function ladder(item) {
    let l = ladders.get(item);
    if (!l) ladders.set(item, l = ladderOf(model.name(item), model.origin(item)));
    return l;
  }

  function measure(context, size) {
    const font = `${size}px ${FONT}`;
    context.font = font;
    if (advanceFor !== font) {
      advance = context.measureText("0".repeat(50)).width / 50;
      advanceFor = font;
    }
  }

  function label(context, item, suffix, room) {
    const chars = Math.floor(room / advance) - suffix.length;
    let text = fit(ladder(item), chars);
    if (!text) return "";
    while (text && !ASCII.test(text) && context.measureText(text + suffix).width > room)
      text = text.slice(0, -2) + (text.length > 2 ? "…" : "");
    return text && text + suffix;
  }

  // scene: {view, window, scroll, width, height, rowH, font, theme, palette, bits, forced}
  // Paints onto any 2D context in CSS pixels; returns the boxes and runs painted.
  function paint(context, scene) {
    const { view, window: win, scroll, width, height, rowH, theme, palette, bits } = scene;
    const surface = SURFACE[theme];
    const boxes = [], runs = [];
    const styles = palette.fills.length;
    const buckets = Array.from({ length: styles * 2 }, () => []);
    context.fillStyle = scene.forced ? "Canvas" : surface.ground;
    context.fillRect(0, 0, width, height);
    const offset = view.panes.length === 1 && view.panes[0].up ? Math.max(0, height - view.rows * rowH) : 0;
    for (const pane of view.panes) {
      const { lay } = pane, { tree } = lay;
      const yOf = (d) =>
          offset - scroll + (pane.up ? pane.top - (d - pane.base) : pane.top + (d - pane.base)) * rowH;
      const selfTotal = tree.self[view.u], whole = Math.abs(tree.total[view.u][0]) || 1;
      eachBox(lay, win.x0, win.x1, width,
          (i, x, w) => {
            const d = tree.depth[i];
            if (d < pane.base || (pane.mark && d === pane.base)) return;
            const y = yOf(d);
            if (y <= -rowH || y >= height) return;
            const a = Math.max(-2, Math.round(x)), b = Math.min(width + 2, Math.round(x + w));
            const it = tree.item[i];
            const style = palette.style(
                it, Math.abs(selfTotal[i]) / whole, view.change && it >= 0 ? view.change(tree, i) : 4);
            const hit = !bits || (it >= 0 && bits[it]);
            const box = { i, x: a, w: Math.max(1, b - a), y, pane, style, hit };
            boxes.push(box);
            buckets[style * 2 + (hit ? 1 : 0)].push(box);
          },
          (d, x, w, first, count) => {
            if (d < pane.base) return;
            const y = yOf(d);
            if (y <= -rowH || y >= height) return;
            runs.push({
              first,
              count,
              x: Math.floor(x),
              w: Math.max(1, Math.ceil(x + w) - Math.floor(x)),
              y,
              pane,
              from: win.x0 + x * (win.x1 - win.x0) / width,
              to: win.x0 + (x + w) * (win.x1 - win.x0) / width
            });
          });
    }
    fillBoxes(context, scene, buckets, runs);
    signs(context, scene, boxes);
    labels(context, scene, boxes);
    return { boxes, runs };
  }

  function fillBoxes(context, scene, buckets, runs) {
    const { palette, rowH, bits, forced } = scene;
    buckets.forEach((list, k) => {
      if (!list.length) return;
      context.globalAlpha = bits && k % 2 === 0 ? FADED : 1;
      context.fillStyle = forced ? "Canvas" : palette.fills[k >> 1];
      for (const b of list) context.fillRect(b.x, b.y, b.w, rowH);
    });
    context.globalAlpha = bits ? FADED : 1;
    context.fillStyle = forced ? "GrayText" : palette.fills[palette.run];
    for (const r of runs) context.fillRect(r.x, r.y, r.w, rowH - 1);
    context.globalAlpha = 1;
  }

  // Edges, and the second signs of origins: top edge, left bar, dotted bottom, hatch.
  function signs(context, scene, boxes) {
    const { rowH, theme, palette, forced, bits } = scene;
    context.fillStyle = forced ? "CanvasText" : theme === "dark" ? "rgba(0,0,0,.35)" : "rgba(0,0,0,.22)";
    for (const b of boxes) {
      if (b.w < 4) continue;
      context.fillRect(b.x + b.w - 1, b.y, 1, rowH);
      context.fillRect(b.x, b.y + rowH - 1, b.w, 1);
    }
    for (const b of boxes) {
      const sign = palette.signs[b.style], inlined = b.pane.lay.tree.flags[b.i] & 1;
      if (inlined && b.w >= 4 && !forced) { // no edge towards the caller
        context.fillStyle = palette.fills[b.style];
        context.globalAlpha = b.hit ? 1 : FADED;
        context.fillRect(b.x, b.pane.up ? b.y + rowH - 1 : b.y - 1, b.w - 1, 1);
        context.globalAlpha = 1;
      }
      if (!sign || b.w < 4 || sign === "bold") continue;
      context.fillStyle = forced ? "CanvasText" : "rgba(0,0,0,.55)";
      if (sign === "top") {
        context.fillRect(b.x, b.y, b.w - 1, 2);
      } else if (sign === "left") {
        context.fillRect(b.x, b.y, 2, rowH - 1);
      } else if (sign === "dots") {
        for (let x = b.x; x < b.x + b.w - 2; x += 4) context.fillRect(x, b.y + rowH - 3, 2, 2);
      } else if (sign === "hatch" && b.w >= 8) {
        hatch(context, b, rowH, theme);
      }
    }
    if (bits) {
      context.strokeStyle = SURFACE[theme].match;
      context.lineWidth = 1.5;
      for (const b of boxes)
        if (b.hit && b.w >= 2)
          context.strokeRect(b.x + 0.75, b.y + 0.75, Math.max(0.5, b.w - 1.5), rowH - 1.5);
    }
  }

  function hatch(context, b, rowH, theme) {
    context.save();
    context.beginPath();
    context.rect(b.x, b.y, b.w - 1, rowH - 1);
    context.clip();
    context.strokeStyle = theme === "dark" ? "rgba(255,255,255,.14)" : "rgba(0,0,0,.13)";
    context.lineWidth = 1;
    context.beginPath();
    for (let x = b.x - rowH - (b.x % 6); x < b.x + b.w; x += 6) {
      context.moveTo(x, b.y + rowH);
      context.lineTo(x + rowH, b.y);
    }
    context.stroke();
    context.restore();
  }

  function labels(context, scene, boxes) {
    const { view, width, rowH, theme, palette, forced, font, bits } = scene;
    measure(context, font);
    context.textBaseline = "middle";
    let color = "";
    for (const b of boxes) {
      const x = Math.max(b.x, 0) + PAD;
      const room = Math.min(b.x + b.w, width) - x - 2;
      if (room < advance) continue;
      const { tree } = b.pane.lay;
      const item = tree.item[b.i], repeat = tree.repeat ? tree.repeat[b.i] : 0;
      let text = label(context, item, repeat ? ` ×${repeat + 1}` : "", room);
      if (view.change && item >= 0) {
        const [A, B] = tree.total;
        if (view.signed)
          text = label(context, item, A && tree.total[view.u][b.i] < 0 ? " −" : "", room);
        else if (!A[b.i] && B[b.i])
          text = label(context, item, " +", room);
        else if (A[b.i] && !B[b.i])
          text = label(context, item, " −", room);
      }
      if (!text) continue;
      const want = forced ? "CanvasText" : bits && !b.hit ? SURFACE[theme].muted : palette.texts[b.style];
      if (want !== color) context.fillStyle = color = want;
      const sign = palette.signs[b.style];
      if (sign === "hatch" && !forced && b.hit) { // no lines behind text
        context.fillStyle = palette.fills[b.style];
        context.fillRect(x - 1, b.y + 1, Math.min(room, text.length * advance) + 2, rowH - 3);
        context.fillStyle = color;
      }
      if (sign === "bold") context.font = `bold ${font}px ${FONT}`;
      context.fillText(text, x, b.y + rowH / 2 + 0.5);
      if (sign === "bold") context.font = `${font}px ${FONT}`;
    }
  }

  function size(c, width, height, ratio) {
    const w = Math.max(1, Math.round(width * ratio)), h = Math.max(1, Math.round(height * ratio));
    if (c.width !== w || c.height !== h) {
      c.width = w;
      c.height = h;
      c.style.width = `${width}px`;
      c.style.height = `${height}px`;
    }
  }

  function draw(scene) {
    const ratio = scene.ratio;
    size(canvas, scene.width, scene.height, ratio);
    size(overlay, scene.width, scene.height, ratio);
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    Object.assign(drawn, paint(ctx, scene), { rowH: scene.rowH, scene });
  }

  // marks: {hover, selected, focus}: each {pane, node} or null.
  function drawOverlay(marks) {
    const scene = drawn.scene;
    if (!scene) return;
    const { rowH, theme, ratio, forced } = scene;
    over.setTransform(ratio, 0, 0, ratio, 0, 0);
    over.clearRect(0, 0, scene.width, scene.height);
    const outline = (b, color, line) => {
      over.strokeStyle = color;
      over.lineWidth = line;
      over.strokeRect(b.x + line / 2, b.y + line / 2, Math.max(1, b.w - line), rowH - line);
    };
    const accent = forced ? "Highlight" : SURFACE[theme].accent,
          text = forced ? "CanvasText" : SURFACE[theme].text;
    const hoverItem = marks.hover                ? marks.hover.pane.lay.tree.item[marks.hover.node]
                      : marks.item !== undefined ? marks.item
                                                 : -2;
    for (const b of drawn.boxes) {
      const it = b.pane.lay.tree.item[b.i];
      if (it >= 0 && it === hoverItem) outline(b, text, 1);
    }
    for (const b of drawn.boxes) {
      if (marks.hover && b.pane === marks.hover.pane && b.i === marks.hover.node) outline(b, text, 2);
      if (marks.selected && b.pane === marks.selected.pane && b.i === marks.selected.node) {
        outline(b, accent, 2);
        outline({ x: b.x + 2, y: b.y + 2, w: b.w - 4 },
            forced                 ? "Canvas"
            : LABEL.light === text ? "#fff"
                                   : SURFACE[theme].ground,
            1);
      }
    }
    if (scene.view.pivot >= 0) {
      const pivot = drawn.boxes.find((b) => !b.pane.mark && b.i === 0);
      if (pivot) outline(pivot, accent, 2);
    }
    if (marks.run) outline({ x: marks.run.x, y: marks.run.y, w: Math.max(3, marks.run.w) }, text, 2);
  }

  // What lies at a point: {pane, node}, {run}, or null.
  function hit(x, y) {
    const scene = drawn.scene;
    if (!scene) return null;
    for (const r of drawn.runs)
      if (x >= r.x && x < r.x + r.w && y >= r.y && y < r.y + drawn.rowH) return { run: r };
    const { view, window: win, width, height, rowH, scroll } = scene;
    const offset = view.panes.length === 1 && view.panes[0].up ? Math.max(0, height - view.rows * rowH) : 0;
    const row = Math.floor((y + scroll - offset) / rowH);
    const at = win.x0 + x / width * (win.x1 - win.x0);
    for (const pane of view.panes) {
      const depth = pane.base + (pane.up ? pane.top - row : row - pane.top);
      if (depth < pane.base || (pane.mark && depth === pane.base) || depth >= pane.lay.rows) continue;
      const node = nodeAt(pane.lay, at, depth);
      if (node >= 0) return { pane, node };
    }
    return null;
  }

  function drawOverview(view, win, marks, theme, width, ratio) {
    const height = 20, c = overview.getContext("2d");
    size(overview, width, height, ratio);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const s = SURFACE[theme];
    c.fillStyle = s.panel;
    c.fillRect(0, 0, width, height);
    const lay = view.panes[0].lay;
    if (!lay.whole) return;
    if (!ridged || ridged.lay !== lay || ridged.width !== width)
      ridged = { lay, width, heights: ridge(lay, Math.max(1, Math.floor(width))) };
    const { heights } = ridged;
    let deepest = 1;
    for (const h of heights)
      if (h > deepest) deepest = h;
    c.fillStyle = s.muted;
    c.globalAlpha = 0.45;
    for (let x = 0; x < heights.length; x++) {
      const h = heights[x] / deepest * (height - 3);
      c.fillRect(x, view.panes[0].up ? height - h : 0, 1, h);
    }
    c.globalAlpha = 1;
    if (marks) {
      c.fillStyle = s.match;
      for (let x = marks.indexOf(1), to; x >= 0; x = marks.indexOf(1, to)) {
        to = marks.indexOf(0, x);
        if (to < 0) to = marks.length;
        c.fillRect(x, height - 5, to - x, 5);
      }
    }
    const a = win.x0 / lay.whole * width, b = win.x1 / lay.whole * width;
    if (b - a < width - 1) {
      c.strokeStyle = s.accent;
      c.lineWidth = 2;
      c.strokeRect(a + 1, 1, Math.max(2, b - a - 2), height - 2);
    }
  }

  return { draw, drawOverlay, drawOverview, hit, paint, drawn };
}
