// SPDX-License-Identifier: Apache-2.0
// export.js -- the view as PNG, SVG, collapsed text, CSV, and on paper.

import {byId, el, fill} from "./dom.js";
import {count, percent, visible} from "./format.js";
import {CHANGE, originOf, RUN, SURFACE} from "./color.js";
import {ledgerSums} from "./panel.js";

const PRINT_PIXELS = 16e6;
const PRINT_ROWS = 30;

// One stack a line, root first, contexts included, of value u: exactly the samples now in view.
export function collapsedText(model, tree, u) {
  const out = [], path = [];
  for (let i = 0; i < tree.n; i++) {
    const depth = tree.depth[i];
    path.length = Math.max(0, depth - 1);
    if (i) path.push(model.name(tree.item[i]).replace(/;/g, ":"));
    if (tree.self[u][i]) out.push(`${path.join(";")} ${tree.self[u][i]}`);
  }
  return out.join("\n") + (out.length ? "\n" : "");
}

const quote = (v) => {
  const text = String(v);
  const safe = /^[=+\-@\t]/.test(text) && typeof v === "string" ? `'${text}`
                                                                : text; // a spreadsheet must not run a name
  return /[",\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
};

export function csvText(rows, compare) {
  const head = ["function", "module", "self", "total", "frames", ...(compare ? ["a", "b"] : [])];
  return [
    head, ...rows.map((r) => [r.name, r.module, r.self, r.total, r.frames, ...(compare ? r.other : [])])
  ].map((r) => r.map(quote).join(","))
             .join("\n") +
         "\n";
}

const xml = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

// The boxes on the screen as SVG; bounded by what is drawn.
export function svgText(app, drawn) {
  const { scene } = drawn, { rowH, width, height, palette, theme } = scene, { model } = app;
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${
        height}" font-family="monospace" font-size="${scene.font}">`,
    `<rect width="100%" height="100%" fill="${SURFACE[theme].ground}"/>`
  ];
  for (const r of drawn.runs)
    out.push(`<rect x="${r.x}" y="${r.y}" width="${r.w}" height="${rowH - 1}" fill="${RUN[theme]}"/>`);
  for (const b of drawn.boxes) {
    const { tree } = b.pane.lay, name = model.name(tree.item[b.i]);
    const share = percent(tree.total[app.view.u][b.i], app.view.all);
    const room = Math.floor((Math.min(b.x + b.w, width) - Math.max(b.x, 0) - 6) / (scene.font * 0.602));
    const text = room >= 3 ? (name.length > room ? name.slice(0, room - 1) + "…" : name) : "";
    out.push(`<g><title>${xml(`${name} (${app.format(app.view.u).text(tree.total[app.view.u][b.i])}, ${share})`)}</title><rect x="${
        b.x}" y="${b.y}" width="${b.w}" height="${rowH - 1}" fill="${palette.fills[b.style]}"/>${
        text ? `<text x="${Math.max(b.x, 0) + 4}" y="${b.y + rowH - 5}" fill="${palette.texts[b.style]}">${
                   xml(text)}</text>`
             : ""}</g>`);
  }
  out.push("</svg>\n");
  return out.join("\n");
}

export function save(name, data, type) {
  const url = URL.createObjectURL(data instanceof Blob ? data : new Blob([data], { type }));
  const a = el("a", { href: url, download: name });
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// What the screen shows of the graph; painted for the purpose where it shows the table alone.
export function pictureOf(app) {
  if (byId("graph").clientHeight) return { canvas: byId("boxes"), drawn: app.renderer.drawn };
  const seen = app.scene(), scene = {...seen, width: 1200, height: Math.min(app.view.rows * seen.rowH, 4000), scroll: 0 };
  const canvas = document.createElement("canvas"), { ratio } = scene;
  canvas.width = scene.width * ratio;
  canvas.height = scene.height * ratio;
  const context = canvas.getContext("2d", { alpha: false });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { canvas, drawn: {...app.renderer.paint(context, scene), scene, rowH: scene.rowH } };
}

export function savePng(canvas, name) {
  canvas.toBlob((blob) => blob && save(name, blob, "image/png"), "image/png");
}

// Light, twice the width, whole rows cut into pages; header, legend and table in words.
export function preparePrint(app) {
  const scene = app.scene({ theme: "light" });
  const rows = Math.max(1, app.view.rows), width = 1400, rowH = 18;
  const perPage = 50, pages = Math.min(12, Math.ceil(rows / perPage)), images = [];
  for (let page = 0; page < pages; page++) {
    const height = Math.min(perPage, rows - page * perPage) * rowH;
    const ratio = Math.min(2, Math.sqrt(PRINT_PIXELS / (width * height)));
    const c = document.createElement("canvas");
    c.width = width * ratio;
    c.height = height * ratio;
    const context = c.getContext("2d", { alpha: false });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    app.renderer.paint(
        context, {...scene, width, height, rowH, ratio, font: 12, scroll: page * perPage * rowH, forced: false });
    images.push(el("img", {
      src: c.toDataURL("image/png"),
      alt: `Flame graph, rows ${page * perPage + 1} to ${Math.min(rows, (page + 1) * perPage)}`
    }));
  }
  const { meta } = app.model, f = app.format(app.view.u), sides = meta.compare ? [["A: ", meta.compare.a], ["B: ", meta.compare.b]] : [["", meta]];
  const legend =
      app.model.compare
          ? [...CHANGE.light.map((c, i) => [["less", "", "", "", "same or noise", "", "", "", "more"][i], c]), ["+ new, − gone"]]
          : [...new Set(meta.kinds)]
                .filter((k) => app.originsSeen().has(k))
                .map(originOf)
                .map((o) => [o.word, o.light, o.sign]);
  fill(byId("print"),
      ...sides.map(([word, { ledger }]) => {
        const l = ledger && ledgerSums(ledger);
        return el("p", {},
            word + (l ? `Samples reported ${count(l.reported)}: whole ${count(l.whole)}, truncated ${
                            count(l.truncated)}, broken ${count(l.broken)}; lost ${count(l.lost)}; idle ${
                            count(l.idle)}.`
                      : "no loss ledger."));
      }),
      el("p", {}, visible(app.viewWords())), ...images,
      el("p", {},
          ...legend.map(([word, color, sign]) => el("span", {},
                            color && el("span", { class: `swatch sign-${sign || "none"}`, color }), ` ${word} `))),
      el("table", {},
          el("tr", {}, ...["Function", "Module", ...(meta.compare ? ["A", "B", "Self, change"] : ["Self", "Total", "Share"])].map((h) => el("th", {}, h))),
          ...app.table.rows(PRINT_ROWS)
              .map((r) => el("tr", {}, ...[r.name, r.module, ...(r.compared || [f.bare(r.self), f.bare(r.total), r.share])].map((text) => el("td", {}, text))))),
      el("p", {}, visible(app.link())));
}
