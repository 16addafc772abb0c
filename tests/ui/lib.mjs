// SPDX-License-Identifier: Apache-2.0
// What the checks of page.mjs share: pages and the stacks they were made of (make_page writes both), a
// browser, and ways to ask and to touch a page.

import {mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync} from "node:fs";
import {AsyncLocalStorage} from "node:async_hooks";
import {execFile} from "node:child_process";
import {promisify} from "node:util";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {launch} from "./browser.mjs";

export const [make, pictures, gprofiler, only] = process.argv.slice(2);
export const UI = new URL("../../ui/", import.meta.url).pathname;
export const LOOSE = 3; // budgets are the bench's business; here they fail at three times
export const FIXED_MS = 50; // what the fixed piece of work takes on a calm machine like the bench's
export const work = mkdtempSync(join(tmpdir(), "gprofiler-page-"));
mkdirSync(pictures, { recursive: true });
const ORACLES = ["small", "tiny", "huge", "short"]; // whose stacks are compared with
const at = (kind, ext) => join(work, `${kind}.${ext}`), made = new Map(), run = promisify(execFile);
// Written once, when the first check needs it.
export function written(kind) {
  if (!made.has(kind))
    made.set(kind, run(make, ORACLES.includes(kind) ? [kind, at(kind, "html"), at(kind, "col"), at(kind, "times")] : [kind, at(kind, "html")]));
  return made.get(kind);
}
export const pageOf = (kind) => ({ html: at(kind, "html"), url: `file://${at(kind, "html")}` });
// The oracle: [{container, process, thread, frames, kinds, count}].
export function stacksOf(kind) {
  return readFileSync(at(kind, "col"), "latin1").split("\n").filter(Boolean).map((line) => {
    const at = line.lastIndexOf(" "), [container, process, thread, ...rest] = line.slice(0, at).split(";");
    return {
      container,
      process,
      thread,
      frames: rest.map((f) => f.slice(0, f.lastIndexOf("|"))),
      kinds: rest.map((f) => f.slice(f.lastIndexOf("|") + 1)),
      count: Number(line.slice(at + 1))
    };
  });
}
// The same by slots of time: [{slot, frames, count}], and how long a slot is.
export function timesOf(kind) {
  const [head, ...lines] = readFileSync(at(kind, "times"), "latin1").trim().split("\n");
  const [slots, us] = head.split(" ").map(Number);
  return {
    slots,
    ms: us / 1000,
    list: lines.map((line) => {
      const at = line.lastIndexOf(" "), [slot, , , , ...frames] = line.slice(0, at).split(";");
      return { slot: Number(slot), frames: frames.map((f) => f.slice(0, f.lastIndexOf("|"))), count: Number(line.slice(at + 1)) };
    })
  };
}
export const sum = (list, f = () => true) => list.filter(f).reduce((s, k) => s + k.count, 0);

export class Skip extends Error {}

// Checks run side by side in one browser, each in the context of its lane.
const lane = new AsyncLocalStorage();
let whole;
export async function begin() {
  whole = await launch({ args: ["--force-prefers-reduced-motion"] }); // but for one check
  await Promise.all(ORACLES.map(written)); // stacksOf and timesOf do not wait
}
export const inLane = async (f) => lane.run(await whole.context(), f);
export async function end() {
  await whole.close();
  rmSync(work, { recursive: true, force: true });
}
export const browser = { open: (...args) => lane.getStore().open(...args) };
export async function open(kind, hash = "", options = {}) {
  await written(kind);
  return browser.open(pageOf(kind).url + hash, options);
}
export const app = "window.gprofiler.app";
export const total = (p) => p.eval(`${app}.view.panes[0].lay.tree.total[${app}.view.u][0]`);
export const assert = (ok, text) => {
  if (!ok) throw new Error(text);
};
export const equal = (a, b, text = "") =>
    assert(Object.is(a, b), `${text}: ${JSON.stringify(a)} is not ${JSON.stringify(b)}`);
export const near = (a, b, text = "") =>
    assert(Math.abs(a - b) < 1e-6 * Math.max(1, Math.abs(b)), `${text}: ${a} is not ${b}`);
export const hash = (p) => p.eval("location.hash");
// Where a frame lies on the screen.
export const placeOf = (p, name) => p.eval(`(() => { const a = ${
    app}, g = document.getElementById("graph").getBoundingClientRect(); const b = a.renderer.drawn.boxes.find((b) => a.model.name(b.pane.lay.tree.item[b.i]) === ${
    JSON.stringify(
        name)}); return b && [g.left + Math.max(b.x, 0) + Math.min(b.w / 2, 20), g.top + b.y + 8]; })()`);
export async function clickFrame(p, name, options) {
  const at = await placeOf(p, name);
  assert(at, `${name} is drawn`);
  await p.click(at[0], at[1], options);
  await p.settle();
}


// A folder for what the page saves: file(k) waits until there are more than k and gives the k-th, by name.
export async function downloadsOf(name) {
  const folder = join(work, name);
  mkdirSync(folder, { recursive: true });
  await lane.getStore().downloadTo(folder);
  const files = () => readdirSync(folder).filter((f) => !f.endsWith(".crdownload"));
  return {
    folder,
    files,
    async file(k) {
      for (let t = 0; t < 600 && files().length <= k; t++) await new Promise((r) => setTimeout(r, 50));
      assert(files().length > k, `${name}: ${k + 1} files are saved`);
      return join(folder, files()[k]);
    }
  };
}
