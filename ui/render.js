// SPDX-License-Identifier: Apache-2.0
// render.js -- boxes, labels, overlay, overview, on canvases no larger than what is seen.
//
// draw() paints the boxes and remembers them; hover and selection live on a second canvas, so that
// a moving mouse never paints boxes. Labels go to canvas text only: no foreign byte is markup.

import {eachBox, nodeAt, ridge} from "./layout.js";
import {FLAG} from "./model.js";
import {inksOf, rasterize} from "./raster.js";
import {fit, ladderOf} from "./label.js";
import {LABEL, SURFACE} from "./color.js";

const FONT = 'ui-monospace, SFMono-Regular, "DejaVu Sans Mono", Consolas, monospace';
const PAD = 4;
const PLACED = ["scroll", "width", "height", "rowH", "ratio", "font", "theme", "palette", "forced"]; // of a scene: what moves or recolours boxes
const ASCII = /^[\x20-\x7e×+−…]*$/;

export function createRenderer(model, canvas, overlay, overview) {
  const ctx = canvas.getContext("2d", { alpha: false }), over = overlay.getContext("2d");
  const dot = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const ladders = new Map();
  const scratch = {};
  let image = { width: 0 }, inks = null;
  const drawn = { boxes: [], runs: [], rowH: 18, top: 0 };
  let ridged = null, outlined = false;
  let advance = 7.2, advanceFor = "";

  function ladder(item) {
    let l = ladders.get(item);
    if (!l) {
      ladders.set(item, l = ladderOf(model.name(item), model.origin(item)));
      l.plain = ASCII.test(l[0]);
    }
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
    const forms = ladder(item);
    let text = fit(forms, Math.floor(room / advance) - suffix.length);
    while (text && !forms.plain && context.measureText(text + suffix).width > room)
      text = text.slice(0, -2) + (text.length > 2 ? "…" : "");
    return text && text + suffix;
  }

  // A CSS colour as a pixel.
  function pixel(css) {
    dot.fillStyle = css;
    dot.fillRect(0, 0, 1, 1);
    return new Uint32Array(dot.getImageData(0, 0, 1, 1).data.buffer)[0];
  }

  const isHit = (bits, item) => !bits || (item >= 0 && bits[item]) ? 1 : 0;
  const topOf = ({ view, height, rowH, scroll }) =>
      (view.panes.length === 1 && view.panes[0].up ? Math.max(0, height - view.rows * rowH) : 0) - scroll;

  // scene: {view, window, scroll, width, height, rowH, ratio, font, theme, palette, bits, forced}
  // Paints onto any 2D context; returns the boxes and runs painted, in CSS pixels.
  function paint(context, scene) {
    const placed = place(scene);
    paintPlaced(context, scene, placed);
    return placed;
  }

  function place(scene) {
    const { view, window: win, width, height, rowH, palette, bits, forced } = scene;
    const boxes = [], runs = [], top = topOf(scene);
    for (const pane of view.panes) {
      const { lay, base, up, mark } = pane, { tree } = lay;
      const selfTotal = tree.self[view.u], whole = Math.abs(tree.total[view.u][0]) || 1;
      const least = mark ? base + 1 : base, rowOf = (d) => pane.top + (up ? base - d : d - base);
      const seen = (y) => y > -rowH && y < height;
      eachBox(lay, win.x0, win.x1, width,
          (i, x, w) => {
            const d = tree.depth[i], row = rowOf(d), y = top + row * rowH;
            if (d < least || !seen(y)) return;
            const a = Math.max(-2, Math.round(x)), b = Math.min(width + 2, Math.round(x + w));
            const it = tree.item[i];
            const style = palette.style(
                it, Math.abs(selfTotal[i]) / whole, view.change && it >= 0 ? view.change(tree, i) : 4);
            boxes.push({ i, x: a, w: Math.max(1, b - a), y, row, pane, up, style, hit: isHit(bits, it), inlined: !forced && tree.flags[i] & FLAG.INLINED });
          },
          (d, x, w, first, count) => {
            const row = rowOf(d), y = top + row * rowH, left = Math.floor(x);
            if (d < base || !seen(y)) return;
            const unit = (win.x1 - win.x0) / width;
            runs.push({
              first,
              count,
              x: left,
              w: Math.max(1, Math.ceil(x + w) - left),
              y,
              row,
              pane,
              style: palette.run,
              hit: bits ? 0 : 1,
              from: win.x0 + x * unit,
              to: win.x0 + (x + w) * unit
            });
          });
    }
    return { boxes, runs };
  }

  function paintPlaced(context, scene, { boxes, runs }) {
    const { width, height, rowH, ratio, theme, palette, bits, forced } = scene;
    const w = Math.max(1, Math.round(width * ratio)), h = Math.max(1, Math.round(height * ratio));
    if (image.width !== w || image.height !== h) image = new ImageData(w, h);
    if (!inks || inks.palette !== palette || inks.forced !== forced)
      inks = Object.assign(inksOf(palette, theme, SURFACE[theme], forced, pixel), { palette, forced });
    rasterize(new Uint32Array(image.data.buffer), w, h, { boxes, runs, inks, signs: palette.signs, marked: bits, top: topOf(scene), rowH, ratio }, scratch);
    context.putImageData(image, 0, 0);
    labels(context, scene, boxes);
  }

  function labels(context, scene, boxes) {
    const { view, width, rowH, theme, palette, forced, font, bits } = scene;
    measure(context, font);
    context.textBaseline = "middle";
    let color = "", bold = false;
    for (const b of boxes) {
      const x = Math.max(b.x, 0) + PAD;
      const room = Math.min(b.x + b.w, width) - x - 2;
      if (room < advance) continue;
      const { tree } = b.pane.lay, item = tree.item[b.i], repeat = tree.repeat ? tree.repeat[b.i] : 0;
      let suffix = repeat ? ` ×${repeat + 1}` : "";
      if (view.change && item >= 0) {
        const [A, B] = tree.total;
        suffix = view.signed ? (tree.total[view.u][b.i] < 0 ? " −" : "") : !A[b.i] && B[b.i] ? " +" : A[b.i] && !B[b.i] ? " −" : suffix;
        if (forced && !suffix) suffix = [" ▼", "", " ▲"][1 + Math.sign(view.change(tree, b.i) - 4)];
      }
      const text = label(context, item, suffix, room);
      if (!text) continue;
      const want = forced ? "CanvasText" : bits && !b.hit ? SURFACE[theme].muted : palette.texts[b.style];
      if (want !== color) context.fillStyle = color = want;
      const sign = palette.signs[b.style];
      if (sign === "hatch" && !forced && b.hit) { // no lines behind text
        context.fillStyle = palette.fills[b.style];
        context.fillRect(x - 1, b.y + 2, Math.min(room, text.length * advance) + 2, rowH - 4);
        context.fillStyle = color;
      }
      if (bold !== (sign === "bold")) {
        bold = !bold;
        context.font = `${bold ? "bold " : ""}${font}px ${FONT}`;
      }
      context.fillText(text, x, b.y + rowH / 2 + 0.5);
    }
  }

  function spread(c, width, height) {
    c.style.width = `${width}px`;
    c.style.height = `${height}px`;
  }

  function size(c, width, height, ratio) {
    const w = Math.max(1, Math.round(width * ratio)), h = Math.max(1, Math.round(height * ratio));
    if (c.width === w && c.height === h) return;
    c.width = w;
    c.height = h;
    spread(c, width, height);
  }

  const inPlace = (a, b) => a && PLACED.every((k) => a[k] === b[k]) && a.view.panes === b.view.panes &&
                            a.window.x0 === b.window.x0 && a.window.x1 === b.window.x1;

  // Where nothing moved, what a search no longer finds or finds now is all that may look different.
  function draw(scene) {
    const { ratio, bits } = scene, before = drawn.scene, still = inPlace(before, scene);
    let same = still && !before.bits === !bits;
    drawn.scene = scene;
    if (still && before.bits !== bits) {
      for (const b of drawn.boxes) {
        const hit = isHit(bits, b.pane.lay.tree.item[b.i]);
        same = same && hit === b.hit;
        b.hit = hit;
      }
      for (const r of drawn.runs) r.hit = bits ? 0 : 1;
    }
    if (same) return;
    size(canvas, scene.width, scene.height, ratio);
    spread(overlay, scene.width, scene.height); // the focus ring lies on it; its pixels may wait
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!still) Object.assign(drawn, place(scene), { rowH: scene.rowH });
    paintPlaced(ctx, scene, drawn);
  }

  // marks: {hover, selected, focus}: each {pane, node} or null.
  function drawOverlay(marks) {
    const scene = drawn.scene;
    if (!scene) return;
    const { rowH, theme, ratio, forced } = scene, lines = [];
    const outline = (b, color, line) => lines.push([b, color, line]);
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
    // An empty canvas is left alone: to touch one costs its memory, and a turn of the browser's in every frame.
    if (!lines.length && !outlined) return;
    outlined = lines.length > 0;
    size(overlay, scene.width, scene.height, ratio);
    over.setTransform(ratio, 0, 0, ratio, 0, 0);
    over.clearRect(0, 0, scene.width, scene.height);
    for (const [b, color, line] of lines) {
      over.strokeStyle = color;
      over.lineWidth = line;
      over.strokeRect(b.x + line / 2, b.y + line / 2, Math.max(1, b.w - line), rowH - line);
    }
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

  // Depths as one shape that hangs from the top or stands on the foot: a picture, laid under every frame.
  function ridgeImage(depths, height, up, ratio, color) {
    const image = new OffscreenCanvas(overview.width, overview.height), c = image.getContext("2d");
    const shape = new Path2D(), deepest = depths.reduce((a, b) => Math.max(a, b), 1), foot = up ? height : 0;
    shape.moveTo(0, foot);
    depths.forEach((d, x) => {
      const y = Math.abs(foot - d / deepest * (height - 3));
      shape.lineTo(x, y);
      shape.lineTo(x + 1, y);
    });
    shape.lineTo(depths.length, foot);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = color;
    c.globalAlpha = 0.45;
    c.fill(shape);
    return image;
  }

  function drawOverview({ view, window: win, theme, width, ratio, forced }, marks) {
    const height = 20, c = overview.getContext("2d");
    size(overview, width, height, ratio);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const s = forced ? { panel: "Canvas", muted: "GrayText", match: "Highlight", accent: "Highlight" } : SURFACE[theme];
    c.fillStyle = s.panel;
    c.fillRect(0, 0, width, height);
    const lay = view.panes[0].lay;
    if (!lay.whole) return;
    if (!ridged || ridged.lay !== lay || ridged.width !== overview.width || ridged.color !== s.muted)
      ridged = {
        lay,
        width: overview.width,
        color: s.muted,
        image: ridgeImage(ridge(lay, Math.max(1, Math.floor(width))), height, view.panes[0].up, ratio, s.muted)
      };
    c.drawImage(ridged.image, 0, 0, overview.width / ratio, overview.height / ratio);
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
