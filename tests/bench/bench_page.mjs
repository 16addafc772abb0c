// SPDX-License-Identifier: Apache-2.0
// The budgets of the page (ui-anchors.md 4.11) on a synthetic profile of 200,000 frames: medians of
// five loads in headless Chromium with software raster. Rows for build-aux/run-bench; exits 1 beyond
// three times a budget. Beside what a page cannot be faster in stands what the browser takes alone, in the same
// minute: to reach the script of an empty page of as many bytes; between two frames of one that only puts a picture
// of the graph's size on its canvas.
//
//   GPROFILER_BUILD_DIR=build node tests/bench/bench_page.mjs

import {execFileSync, spawnSync} from "node:child_process";
import {mkdtempSync, readFileSync, rmSync, statSync, writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {gzipSync} from "node:zlib";
import {haveChromium, launch} from "../ui/browser.mjs";

const RUNS = 5, FAIL = 3;
const make = process.env.MAKE_PAGE || join(process.env.GPROFILER_BUILD_DIR || "build", "tests/ui/make_page");
const work = mkdtempSync(join(tmpdir(), "gprofiler-bench-"));
const path = join(work, "huge.html"), empty = join(work, "empty.html");
const HOW = "node tests/bench/bench_page.mjs";
let failed = 0;

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
function row(what, value, unit, budget, alone) {
  const over = value > budget * FAIL;
  failed |= over;
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  const peer = alone ? `${alone.toFixed(0)} ${unit}, browser alone | ${(value / alone).toFixed(2)}` : "- | -";
  console.log(`page: ${what} | ${value.toFixed(digits)} ${unit} | ${peer} | ${budget} ${unit}${
      value > budget ? (over ? " FAILED" : " (over)") : ""} | ${HOW}`);
}

// In the page: milliseconds of script of one action, redraw included.
const TIMED =
    `window.timed = (f, n) => { const list = []; for (let i = 0; i < n; i++) { const t = performance.now(); f(i); list.push(performance.now() - t); } return list.sort((a, b) => a - b)[n >> 1]; }`;

// And between two of forty frames, but for the two longest: p95.
const GAPS =
    `window.gaps = (begin, each) => new Promise((done) => { const list = []; let last = 0; const step = (now) => { if (last) list.push(now - last); last = now; each(); if (list.length < 40) requestAnimationFrame(step); else done(list.sort((x, y) => x - y)[37]); }; requestAnimationFrame(step); begin(); })`;

async function alone(browser) {
  const p = await browser.open(`file://${empty}`);
  await p.eval(GAPS);
  const ready = await p.eval("ready");
  const frames = await p.eval(`(() => { const c = document.createElement("canvas"); c.width = 1100; c.height = 740; document.body.append(c); const to = c.getContext("2d", { alpha: false }), image = new ImageData(1100, 740); return gaps(() => {}, () => to.putImageData(image, 0, 0)); })()`);
  await p.call("Page.enable"); // a tab that was more than looked at is not used again
  await p.close();
  return { ready, frames };
}

async function measure(browser) {
  const p = await browser.open(`file://${path}`);
  await p.eval(TIMED);
  await p.eval(GAPS);
  const out = { ready: await p.eval("gprofiler.ready") };
  const a = "gprofiler.app", set = (patch) => `${a}.store.change(${JSON.stringify(patch)})`;
  out.redraw = await p.eval(`timed(() => { ${a}.renderer.drawn.scene = null; ${
      a}.draw(); document.getElementById("boxes").getContext("2d").getImageData(0, 0, 1, 1); }, 9)`);
  out.hover = await p.eval(`timed((i) => ${a}.commands.hover(20 + i * 60, 100), 9)`);
  out.search = await p.eval(`timed((i) => ${a}.store.change({ q: "do_work_1".slice(0, i + 1) }), 9)`);
  await p.eval(set({ q: "" }));
  out.filter = await p.eval(`timed((i) => ${a}.store.change({ f: "d~=do_work_" + (i + 20) }), 3)`);
  await p.eval(set({ f: "" }));
  out.regroup = await p.eval(`timed((i) => ${a}.store.change({ g: ["c,p,t", "p", "-"][i] }), 3)`);
  await p.eval(set({ g: "" }));
  out.pivot = await p.eval(`(() => { const t = ${a}.table.hottest(); return timed((i) => ${
      a}.commands.pivotItem(t + i), 3); })()`);
  await p.eval(set({ p: "", w: "g" }));
  out.callers = await p.eval(`timed((i) => ${a}.store.change({ d: i % 2 ? "t" : "b" }), 3)`);
  await p.eval(set({ d: "t" }));
  out.time = await p.eval(`timed((i) => ${a}.store.change({ tr: i * 100 + "," + (i * 100 + 2000) }), 3)`);
  await p.eval(set({ tr: "" }));
  out.order = await p.eval(`timed((i) => ${a}.store.change({ o: "t", tr: i ? "0," + (90000 + i) : "" }), 3)`);
  await p.eval(set({ o: "n", tr: "" }));
  await p.settle();
  out.frames = await p.eval(`gaps(() => { let n = 0; const wide = ${
      a}.renderer.drawn.boxes.filter((b) => b.w > 80).at(-1), again = () => { ${
      a}.store.change({ z: n++ % 2 ? "" : ${
      a}.path(wide.pane, wide.i) }); if (n < 6) setTimeout(again, 150); }; again(); }, () => {})`);
  await p.call("HeapProfiler.collectGarbage");
  const { usedSize, backingStorageSize = 0 } = await p.call("Runtime.getHeapUsage");
  out.heap = (usedSize + backingStorageSize) / 1e6;
  await p.close();
  return out;
}

execFileSync(make, ["huge", path]);
const size = statSync(path).size, text = readFileSync(path, "latin1");
const script = text.slice(text.lastIndexOf("<script>") + 8, text.lastIndexOf("</script>"));
row("viewer code, minified", Buffer.byteLength(script, "latin1") / 1e3, "KB", 64);
row("viewer code, gzip", gzipSync(Buffer.from(script, "latin1")).length / 1e3, "KB", 22);
row("file of 200,000 frames", size / 1e6, "MB", 1);
if (haveChromium()) {
  const browser = await launch({ width: 1500, height: 900, args: ["--enable-precise-memory-info"] });
  const runs = [], bare = [];
  writeFileSync(empty, `<!doctype html><title>empty</title><p>.</p><script type="text/plain">${
      "A".repeat(size - 200)}</script><script>window.ready = performance.now()</script>`);
  for (let i = 0; i < RUNS; i++) {
    bare.push(await alone(browser));
    runs.push(await measure(browser));
  }
  await browser.close();
  const of = (k) => median(runs.map((r) => r[k])), floor = (k) => median(bare.map((r) => r[k]));
  row("ready after navigation", of("ready"), "ms", 400, floor("ready"));
  row("full redraw with raster", of("redraw"), "ms", 12);
  row("hover", of("hover"), "ms", 1);
  row("zoom animation, p95 of frames", of("frames"), "ms", 20, floor("frames"));
  row("key press in search", of("search"), "ms", 16);
  row("pivot", of("pivot"), "ms", 100);
  row("filter", of("filter"), "ms", 100);
  row("regroup", of("regroup"), "ms", 100);
  row("callers first", of("callers"), "ms", 100);
  row("part of the time", of("time"), "ms", 100);
  row("order of time, 130,000 times", of("order"), "ms", 300);
  row("heap, typed arrays included", of("heap"), "MB", 120);
}
const timed = spawnSync(make, ["time", path], { encoding: "utf8" });
const words = /tree (\S+) ms, page (\S+) ms/.exec(timed.stdout || "");
if (words) row("writer: CPU beyond the tree", Number(words[2]), "ms", 80);
rmSync(work, { recursive: true, force: true });
process.exitCode = failed ? 1 : 0;
