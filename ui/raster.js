// SPDX-License-Identifier: Apache-2.0
// raster.js -- boxes as pixels. No DOM.
//
// Of a row of boxes all lines are alike but the last (and the first, under some signs): one line is filled
// and copied. That takes a third of what a canvas needs for a rectangle or three a box, and knows no blending:
// what lies over what is mixed beforehand (`inks`), once a palette.

const FADED = 0.35;

const mixed = (under, over, share) => {
  let out = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    const a = under >>> shift & 255, b = over >>> shift & 255;
    out |= Math.round(a + (b - a) * share) << shift;
  }
  return out >>> 0;
};

// Colours of a palette as pixels: for each style, faded and not (2 * style + hit), its fill, edge, sign and
// hatch. `pixel` makes one of a CSS colour.
export function inksOf(palette, theme, surface, forced, pixel) {
  const ground = pixel(forced ? "Canvas" : surface.ground), black = pixel("#000"), white = pixel("#fff"), n = 2 * palette.fills.length;
  const text = pixel(forced ? "CanvasText" : surface.text), dark = theme === "dark", column = () => new Uint32Array(n);
  const inks = { ground, match: pixel(forced ? "Highlight" : surface.match), fill: column(), edge: column(), sign: column(), hatch: column() };
  palette.fills.forEach((css, style) => {
    for (const hit of [0, 1]) {
      const k = 2 * style + hit, of = pixel(forced ? (style === palette.run ? "GrayText" : "Canvas") : css);
      const fill = inks.fill[k] = hit ? of : mixed(ground, of, FADED);
      inks.edge[k] = forced ? text : mixed(fill, black, dark ? 0.35 : 0.22);
      inks.sign[k] = forced ? text : mixed(fill, black, 0.55);
      inks.hatch[k] = mixed(fill, forced ? text : dark ? white : black, forced ? 0.3 : 0.14);
    }
  });
  return inks;
}

// Paints boxes and runs {x, w, row, style, hit, up, inlined} (runs: neither sign nor edge) of rows of `rowH`,
// the first of them at `top`, all in CSS pixels times `ratio`, into `pixels` of `width` x `height`. `scratch` keeps
// memory from one time to the next.
export function rasterize(pixels, width, height, { boxes, runs, inks, signs, marked, top, rowH, ratio }, scratch) {
  const first = Math.floor(-top / rowH), rows = Math.ceil(height / ratio / rowH) + 1, size = width * rows;
  if (!scratch.lines || scratch.lines.length !== size)
    Object.assign(scratch, { lines: new Uint32Array(size), feet: new Uint32Array(size) });
  const { lines, feet } = scratch;
  lines.fill(inks.ground);
  feet.fill(inks.ground);
  const thin = Math.max(1, Math.round(ratio)), left = (b) => Math.max(0, Math.round(b.x * ratio)),
        right = (b) => Math.min(width, Math.round((b.x + b.w) * ratio)), yOf = (row) => Math.round((top + row * rowH) * ratio);
  const put = (to, ink, a, z) => {
    if (z - a > 24)
      to.fill(ink, a, z);
    else
      while (a < z) to[a++] = ink;
  };
  for (const b of boxes) {
    const at = (b.row - first) * width, a = at + left(b), z = at + right(b), k = 2 * b.style + b.hit, fill = inks.fill[k];
    put(lines, fill, a, z);
    if (b.w < 4) {
      put(feet, fill, a, z);
      continue;
    }
    put(feet, inks.edge[k], a, z);
    const edge = at + Math.round((b.x + b.w) * ratio) - thin; // out of sight where the box goes on
    put(lines, inks.edge[k], edge, z);
    if (signs[b.style] === "left" && b.x >= 0) put(lines, inks.sign[k], a, Math.min(z, a + 2 * thin));
    if (b.inlined) { // no edge towards the caller
      const from = b.up ? a : a - width;
      if (from >= 0) put(feet, fill, from, from + z - a - thin);
    }
  }
  for (const r of runs) put(lines, inks.fill[2 * r.style + r.hit], (r.row - first) * width + left(r), (r.row - first) * width + right(r));
  pixels.fill(inks.ground);
  for (let k = 0; k < rows; k++) {
    const end = yOf(first + k + 1), foot = end - thin, line = lines.subarray(k * width, (k + 1) * width);
    for (let y = Math.max(0, yOf(first + k)); y < Math.min(height, end); y++)
      pixels.set(y < foot ? line : feet.subarray(k * width, (k + 1) * width), y * width);
  }
  const area = (ink, x0, x1, y0, y1) => {
    for (let y = Math.max(0, y0); y < Math.min(height, y1); y++) put(pixels, ink, y * width + x0, y * width + x1);
  };
  for (const b of boxes) {
    const sign = signs[b.style], outlined = marked && b.hit && b.w >= 2;
    if (!outlined && (!sign || b.w < 4)) continue;
    const x0 = left(b), x1 = right(b), y0 = yOf(b.row), y1 = yOf(b.row + 1), k = 2 * b.style + b.hit, two = 2 * thin;
    if (b.w < 4) {
      // nothing but the outline
    } else if (sign === "top") {
      area(inks.sign[k], x0, x1 - thin, y0, y0 + two);
    } else if (sign === "dots") {
      for (let x = x0; x < x1 - two; x += 2 * two) area(inks.sign[k], x, x + two, y1 - 3 * thin, y1 - thin);
    } else if (sign === "hatch" && b.w >= 8) {
      for (let y = Math.max(0, y0); y < Math.min(height, y1 - thin); y++)
        for (let x = x0 + 6 * thin - 1 - (x0 + y) % (6 * thin); x < x1 - thin; x += 6 * thin)
          put(pixels, inks.hatch[k], y * width + Math.max(x0, x + 1 - thin), y * width + x + 1);
    }
    if (!outlined) continue;
    const line = Math.max(1, Math.round(1.5 * ratio));
    area(inks.match, x0, x1, y0, Math.min(y1, y0 + line));
    area(inks.match, x0, x1, y1 - line, y1);
    if (b.x >= 0) area(inks.match, x0, Math.min(x1, x0 + line), y0, y1);
    area(inks.match, Math.max(x0, Math.round((b.x + b.w) * ratio) - line), x1, y0, y1);
  }
}
