// SPDX-License-Identifier: Apache-2.0
// The page in headless Chromium, as the C writer wrote it: the twelve checks of ui-anchors.md 4.12.
//
//   node page.mjs MAKE_PAGE PICTURE_DIR GPROFILER [only]    TAP on stdout; pictures are kept for looking at
//
// What a check compares with comes from the stacks the page was made of (make_page writes them too).

import {mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync} from "node:fs";
import {execFileSync, spawn} from "node:child_process";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {haveChromium, launch} from "./browser.mjs";
import {same, decodePng} from "./png.mjs";

const [make, pictures, gprofiler, only] = process.argv.slice(2);
const UI = new URL("../../ui/", import.meta.url).pathname;
const LOOSE = 3; // budgets are the bench's business; here they fail at three times
const work = mkdtempSync(join(tmpdir(), "gprofiler-page-"));
mkdirSync(pictures, { recursive: true });
const ORACLES = ["small", "tiny", "huge"]; // whose stacks are compared with
const pages = new Map();
function pageOf(kind) {
  if (!pages.has(kind)) {
    const html = join(work, `${kind}.html`), col = join(work, `${kind}.col`);
    execFileSync(make, ORACLES.includes(kind) ? [kind, html, col] : [kind, html]);
    pages.set(kind, { html, url: `file://${html}`, col });
  }
  return pages.get(kind);
}
// The oracle: [{container, process, thread, frames, kinds, count}].
function stacksOf(kind) {
  return readFileSync(pageOf(kind).col, "latin1").split("\n").filter(Boolean).map((line) => {
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
const sum = (list, f = () => true) => list.filter(f).reduce((s, k) => s + k.count, 0);

class Skip extends Error {}

let browser;
const open = (kind, hash = "", options = {}) => browser.open(pageOf(kind).url + hash, options);
const app = "window.gprofiler.app";
const total = (p) => p.eval(`${app}.view.panes[0].lay.tree.total[${app}.view.u][0]`);
const assert = (ok, text) => {
  if (!ok) throw new Error(text);
};
const equal = (a, b, text = "") =>
    assert(Object.is(a, b), `${text}: ${JSON.stringify(a)} is not ${JSON.stringify(b)}`);
const near = (a, b, text = "") =>
    assert(Math.abs(a - b) < 1e-6 * Math.max(1, Math.abs(b)), `${text}: ${a} is not ${b}`);
const hash = (p) => p.eval("location.hash");
// Where a frame lies on the screen.
const placeOf = (p, name) => p.eval(`(() => { const a = ${
    app}, g = document.getElementById("graph").getBoundingClientRect(); const b = a.renderer.drawn.boxes.find((b) => a.model.name(b.pane.lay.tree.item[b.i]) === ${
    JSON.stringify(
        name)}); return b && [g.left + Math.max(b.x, 0) + Math.min(b.w / 2, 20), g.top + b.y + 8]; })()`);
async function clickFrame(p, name, options) {
  const at = await placeOf(p, name);
  assert(at, `${name} is drawn`);
  await p.click(at[0], at[1], options);
  await p.settle();
}

const checks = {
  async opens_offline_without_a_request() {
    for (const kind of ["small", "huge", "hostile"]) {
      const p = await open(kind, "", { offline: kind === "small" });
      equal(p.errors.join("; "), "", "errors");
      equal(p.requests.length, 1, "requests");
      const ms = await p.eval("gprofiler.ready");
      assert(ms < 1000 * LOOSE, `ready after ${ms} ms`);
      const csp = await p.eval('document.querySelector("meta[http-equiv]").content');
      assert(/default-src 'none'/.test(csp) && /sha256-/.test(csp) && /trusted-types 'none'/.test(csp) &&
                 !/unsafe/.test(csp),
          csp);
      const blocked = await p.strict(
          `(() => { const out = []; for (const f of [() => { document.createElement("div").innerHTML = "<b>x</b>"; }, () => (0, eval)("1"), () => new Function("1")]) try { f(); out.push("ran"); } catch { out.push("blocked"); } return out.join(); })()`);
      equal(blocked, "blocked,blocked,blocked", "markup and eval");
      equal(
          await p.eval('fetch("data:text/plain,x").then(() => "ran", () => "blocked")'), "blocked", "fetch");
      await p.close();
    }
  },
  async sums_agree_with_the_stacks() {
    for (const kind of ["small", "tiny", "huge"]) {
      const stacks = stacksOf(kind), p = await open(kind);
      equal(await total(p), sum(stacks), "root");
      const l = await p.eval(
          `(() => { const l = ${app}.model.meta.ledger; return l.complete + l.kernel_only + l.broken; })()`);
      equal(l, sum(stacks), "ledger's reported");
      assert(
          await p.eval(`(() => { const { tree } = ${
              app}.view.panes[0].lay; for (let i = 0; i < tree.n; i++) { let below = tree.self[0][i]; for (let c = i + 1; c < tree.end[i]; c = tree.end[c]) below += tree.total[0][c]; if (below !== tree.total[0][i]) return false; } return true; })()`),
          "parents hold their children");
      const rows = await p.eval(`${app}.table.rows(Infinity).map((r) => [r.name, r.self])`);
      const inFrames = sum(stacks, (s) => s.frames.length);
      equal(rows.reduce((s, r) => s + r[1], 0), inFrames, "selves of the table");
      if (kind !== "huge")
        for (const [name, self] of rows) equal(self, sum(stacks, (s) => s.frames.at(-1) === name), name);
      await p.close();
    }
  },
  async hostile_names_are_shown_and_not_run() {
    const p = await open("hostile");
    equal(await p.eval("typeof window.pwned"), "undefined", "script in a name");
    for (const h of ["#v=1&w=t", "#v=1&d=b", `#v=1&q=${encodeURIComponent("<script>")}`, "#v=1&c=m",
             `#v=1&f=k~${encodeURIComponent("<img src=x onerror=window.pwned=9>")}`,
             `#v=1&q=${encodeURIComponent("</title><script>window.pwned=1</script>")}&qf=r`]) {
      await p.eval(`location.hash = ${JSON.stringify(h)}`);
      await p.settle();
    }
    await p.eval('location.hash = "#v=1"');
    await p.settle();
    await clickFrame(p, "</script><script>window.pwned=1</script>");
    const heading = await p.eval('document.querySelector("#pane-details h2").textContent');
    equal(heading, "</script><script>window.pwned=1</script>", "details");
    equal(
        await p.eval(
            "document.querySelectorAll('#app script, #app img[src], #app svg, #static script, #static img').length"),
        0, "elements made of names");
    assert((await p.eval("document.title")).includes("<b>host</b>"), "title as text");
    const still = await p.eval('document.getElementById("static").textContent');
    assert(
        still.includes("<img src=x onerror=window.pwned=3>") && still.includes("<U+202E>"), "static table");
    assert(await p.eval(`${app}.table.rows(99).some((r) => r.name.length === 65536)`), "64 KB name");
    equal(await p.eval("typeof window.pwned"), "undefined", "script in a name");
    equal(p.errors.join("; "), "", "errors");
    await p.png(join(pictures, "hostile.png"));
    await p.close();
  },
  async search_states_its_share() {
    const stacks = stacksOf("small"), all = sum(stacks), p = await open("small");
    const has = (name) => (s) => s.frames.some((f) => f.includes(name));
    const found = async () => p.eval(`[${app}.search.share, ${app}.search.ofAll]`);
    for (const name of ["alpha", "beta", "do_sys", "main", "zzz"]) {
      await p.eval(`location.hash = "#v=1&q=${name}"`);
      await p.settle();
      if (name === "zzz")
        equal(await p.eval('document.getElementById("q-count").textContent'), "no match", "none");
      else
        equal((await found()).join(), `${sum(stacks, has(name))},${sum(stacks, has(name))}`, name);
    }
    await p.eval('location.hash = "#v=1&q=beta"');
    await p.settle();
    await clickFrame(p, "alpha");
    const under = stacks.filter((s) => s.frames[0] === "main" && s.frames[1] === "alpha");
    equal((await found())[0], sum(under, has("beta")), "zoomed");
    equal((await found())[1], sum(stacks, has("beta")), "of all, zoomed");
    const words = await p.eval('document.getElementById("q-count").textContent');
    assert(words.includes(`${(100 * sum(under, has("beta")) / sum(under)).toFixed(1)} % of view`) &&
               words.includes(`${(100 * sum(stacks, has("beta")) / all).toFixed(1)} % of all`),
        words);
    await p.eval('location.hash = "#v=1&q=beta&f=d~%3Dalpha"');
    await p.settle();
    equal((await found())[0], sum(stacks, (s) => has("beta")(s) && !s.frames.includes("alpha")), "filtered");
    for (const d of ["t", "b"]) {
      await p.eval(`location.hash = "#v=1&q=beta&d=${d}"`);
      await p.settle();
      equal((await found())[0], sum(stacks, has("beta")), `direction ${d}`);
    }
    await p.eval('location.hash = "#v=1&q=(&qf=r"');
    await p.settle();
    equal(await p.eval('document.getElementById("search").getAttribute("aria-invalid")'), "true",
        "bad expression");
    assert((await p.eval('document.getElementById("q-count").textContent')).length > 5, "says why");
    await p.png(join(pictures, "search-bad.png"));
    await p.close();
    const q = await open("huge", "#v=1&q=pkg");
    await q.png(join(pictures, "search-huge.png"));
    await q.close();
  },
  async every_state_comes_back_from_its_address() {
    const p = await open("small");
    const item = (name) => p.eval(`${app}.view && (() => { const m = ${
        app}.model; for (let i = 0; i < m.nitems; i++) if (m.rawName(i) === ${
        JSON.stringify(name)}) return i; })()`);
    const states = [
      "", "y=f", "d=b", "o=w", "g=p,t", "g=-", "c=m", "c=h", "c=d", "r=1", "r=2", "l=1", "q=beta",
      "q=%5Eb&qf=r", "f=m~%3Dbeta", "f=s~%3Dbeta,k~%3Dinner", "x=p.100", "x=c.web-1", "x=o.kernel",
      "a=100000,600000", "w=t", "t=name"
    ];
    await clickFrame(p, "alpha");
    states.push((await hash(p)).replace("#v=1&", ""));
    await p.eval(`${app}.commands.pivotItem(${await item("beta")})`);
    await p.settle();
    states.push((await hash(p)).replace("#v=1&", ""));
    await p.close();
    for (const s of states) {
      const one = await open("small", `#v=1&${s}`), address = await hash(one), pixels = await one.png();
      await one.close();
      const two = await open("small");
      await two.eval(`location.hash = ${JSON.stringify(`#v=1&${s}`)}`);
      await two.settle();
      equal(await hash(two), address, s);
      assert(same(await two.png(), pixels), `pixels of ${s}`);
      await two.close();
    }
  },
  async back_and_forward_lead_through_the_views() {
    const p = await open("small");
    const start = await hash(p);
    await clickFrame(p, "alpha");
    const first = await hash(p);
    assert(first.includes("z="), first);
    await clickFrame(p, "beta");
    const second = await hash(p);
    assert(second !== first, "second zoom");
    await p.key("Backspace");
    await p.until(`location.hash === ${JSON.stringify(first)}`);
    await p.settle();
    await p.back();
    equal(await hash(p), start, "Back");
    await p.forward();
    equal(await hash(p), first, "Forward");
    near(await p.eval(`${app}.window().x1 - ${app}.window().x0`), await p.eval(`${app}.view.viewSum`),
        "window");
    await p.close();
  },
  async flip_mirrors_and_orders_sort() {
    const rows = async (h) => {
      const p = await open("small", h);
      const list = await p.eval(`(() => { const d = ${
          app}.renderer.drawn, g = document.getElementById("graph"); return d.boxes.map((b) => [b.x, b.w, ${
          app}.view.panes[0].up ? Math.round((g.clientHeight - b.y - 18) / 18) : Math.round(b.y / 18), ${
          app}.model.name(b.pane.lay.tree.item[b.i])].join()).sort(); })()`);
      await p.close();
      return list.join("\n");
    };
    equal(await rows("#v=1"), await rows("#v=1&y=f"), "mirrored");
    const p = await open("small", "#v=1&o=w");
    assert(
        await p.eval(`(() => { const l = ${
            app}.view.panes[0].lay; for (let i = 0; i < l.tree.n; i++) { let last = Infinity; for (let c = i + 1; c < l.tree.end[i]; c = l.tree.end[c]) { if (l.width[c] > last) return false; last = l.width[c]; } } return true; })()`),
        "heaviest first");
    await p.close();
  },
  async callers_first_and_sandwich_agree_with_the_stacks() {
    const stacks = stacksOf("small");
    const p = await open("small", "#v=1&d=b");
    const roots = await p.eval(`(() => { const { tree } = ${
        app}.view.panes[0].lay; const out = []; for (let c = 1; c < tree.end[0]; c = tree.end[c]) if (!${
        app}.model.isContext(tree.item[c])) out.push([${
        app}.model.rawName(tree.item[c]), tree.total[0][c]]); return out; })()`);
    for (const [name, v] of roots) equal(v, sum(stacks, (s) => s.frames.at(-1) === name), name);
    await p.png(join(pictures, "callers-first.png"));
    for (const name of ["alpha", "beta", "main"]) {
      await p.eval(
          `(() => { const m = ${app}.model; for (let i = 0; i < m.fun.n; i++) if (m.rawName(i) === "${
              name}") ${app}.commands.pivotItem(i); })()`);
      await p.settle();
      const halves = await p.eval(`${app}.view.panes.map((q) => q.lay.whole)`);
      equal(halves.join(), [0, 1].map(() => sum(stacks, (s) => s.frames.includes(name))).join(), name);
    }
    await p.png(join(pictures, "sandwich.png"));
    await p.close();
  },
  async one_process_thread_container_origin() {
    const stacks = stacksOf("small"), all = sum(stacks);
    const cases = [
      ["x=p.100", (s) => s.process === "app/100"], ["x=t.101", (s) => s.thread === "worker/101"],
      ["x=c.web-1", (s) => s.container === "web-1"], ["x=c.", (s) => s.container === ""],
      ["x=o.kernel", (s) => s.kinds.includes("2")], ["x=p.100,p.200", (s) => /\/(100|200)$/.test(s.process)],
      ["x=p.100,o.cpp", (s) => s.process === "app/100" && s.kinds.includes("3")],
      ["x=p.%3Dapp", (s) => s.process.startsWith("app/")]
    ];
    for (const [x, f] of cases) {
      if (!f) continue;
      const p = await open("small", `#v=1&${x}`);
      equal(await total(p), sum(stacks, f), x);
      const rows = await p.eval(`${app}.table.rows(99).map((r) => [r.name, r.self, r.total])`);
      for (const [name, self, t] of rows) {
        equal(self, sum(stacks, (s) => f(s) && s.frames.at(-1) === name), `${x} ${name} self`);
        equal(t, sum(stacks, (s) => f(s) && s.frames.includes(name)), `${x} ${name} total`);
      }
      const share = await p.eval(`${app}.view.all`);
      equal(share, all, "shares stay of all");
      await p.close();
    }
  },
  async deep_wide_and_huge_stay_within_the_screen() {
    for (const kind of ["deep", "wide", "million"]) {
      const p = await open(kind);
      const [w, h, rw, rh] = await p.eval(
          '(() => { const c = document.getElementById("boxes"), g = document.getElementById("graph"), r = devicePixelRatio; return [c.width, c.height, Math.ceil(g.clientWidth * r), Math.ceil(g.clientHeight * r)]; })()');
      assert(w <= rw && h <= rh, `canvas ${w}x${h} in ${rw}x${rh}`);
      await p.eval('document.getElementById("graph").focus()');
      await p.key("End");
      await p.settle();
      const deepest = await p.eval(`(() => { const a = ${
          app}, s = a.view.selected, g = document.getElementById("graph").getBoundingClientRect(); const b = a.renderer.drawn.boxes.find((b) => b.i === s.node); return [s.node === s.pane.lay.deepest, b ? [g.left + b.x + 1, g.top + b.y + 5] : null]; })()`);
      assert(deepest[0], `${kind}: deepest selected`);
      if (deepest[1]) {
        await p.move(deepest[1][0], deepest[1][1]);
        await p.settle();
        assert((await p.eval('document.getElementById("status").textContent')).length > 20, "hit");
      }
      const gaps = await p.eval(`(() => { const l = ${
          app}.view.panes[0].lay, px = 800; const seen = Array.from({ length: Math.min(l.rows, 60) }, () => new Uint8Array(px)), want = seen.map(() => new Uint8Array(px)); const { boxes, runs } = ${
          app}.renderer.drawn; const W = ${app}.renderer.drawn.scene.width, H = 18, top = ${
          app}.renderer.drawn.scene.scroll; let bad = 0; const rows = new Map(); for (const b of [...boxes, ...runs]) { const r = Math.round((b.y + top) / H); if (!rows.has(r)) rows.set(r, new Uint8Array(Math.ceil(W))); rows.get(r).fill(1, Math.max(0, Math.floor(b.x)), Math.min(Math.ceil(W), Math.ceil(b.x + b.w))); } const { tree } = l, w = ${
          app}.window(), scale = W / (w.x1 - w.x0); for (let i = 0; i < tree.n; i++) { const p = tree.parent[i]; if (p >= 0 && l.width[p] * scale < 1) { i = tree.end[p] - 1; continue; } const row = rows.get(tree.depth[i]); if (!row) continue; const x = Math.floor((l.start[i] + l.width[i] / 2 - w.x0) * scale); if (x >= 0 && x < W && !row[x]) bad++; } return bad; })()`);
      equal(gaps, 0, `${kind}: holes`);
      await p.png(join(pictures, `${kind}.png`));
      if (kind === "deep") {
        const words = await p.eval('document.getElementById("rows").textContent');
        assert(/ of 5\u202f002 · deepest/.test(words), words);
      }
      await p.close();
    }
  },
  async keyboard_alone_reaches_everything() {
    const p = await open("small");
    for (let i = 0; i < 60 && await p.eval("document.activeElement.id") !== "graph"; i++) await p.key("Tab");
    equal(await p.eval("document.activeElement.id"), "graph", "Tab reaches the graph");
    for (const k of ["ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown"]) await p.key(k);
    await p.settle();
    const name = await p.eval(`${app}.model.name(${app}.selectedItem())`);
    const said = await p.eval(
        'document.getElementById(document.getElementById("graph").getAttribute("aria-activedescendant")).textContent');
    assert(said.startsWith(name) && /of all, self/.test(said), said);
    equal(await p.eval('document.getElementById("node-current").getAttribute("aria-level")'), "5", "level");
    const { nodes } = await p.call("Accessibility.getFullAXTree");
    assert(nodes.some((n) => n.role?.value === "treeitem" && n.name?.value.includes(name)),
        "accessibility tree names the frame");
    assert(!nodes.some((n) => n.role?.value === "button" && !n.ignored && !n.name?.value),
        "every button has a name");
    await p.key("Enter");
    await p.settle();
    assert((await hash(p)).includes("z="), "Enter zooms");
    await p.key("f");
    await p.settle();
    assert((await hash(p)).includes("y=f"), "f flips");
    await p.key("/");
    await p.type("beta");
    await p.settle();
    assert((await hash(p)).includes("q=beta"), "typing searches");
    assert(!(await hash(p)).includes("d=b"), "letters in the field are text");
    await p.key("Enter");
    await p.settle();
    await p.key("Escape");
    await p.key("?");
    await p.settle();
    assert(await p.eval('document.getElementById("dialog").open'), "? shows help");
    const help = await p.eval('document.getElementById("dialog").textContent');
    for (const word of ["callers and callees", "undo the last filter", "copy the link"])
      assert(help.includes(word), word);
    await p.key("Escape");
    await p.settle();
    await p.key("e");
    await p.settle();
    assert(!(await p.eval('document.getElementById("menu").hidden')), "e opens export");
    equal(await p.eval("document.activeElement.getAttribute('role')"), "menuitem", "focus in the menu");
    await p.key("Escape");
    await p.settle();
    equal(await p.eval("document.activeElement.id"), "b-export", "focus returns");
    await p.eval('document.getElementById("graph").focus()');
    await p.key("t");
    await p.settle();
    await p.key("ArrowDown");
    await p.key("Enter");
    await p.settle();
    assert((await hash(p)).includes("p="), "Enter in the table pivots");
    await p.close();
    const q = await open("small", "", {
      media: [{ name: "prefers-reduced-motion", value: "reduce" }, { name: "forced-colors", value: "active" }]
    });
    await clickFrame(q, "alpha");
    equal(q.errors.join("; "), "", "forced colours");
    await q.png(join(pictures, "forced-colours.png"));
    await q.close();
  },
  async pictures_print_and_exports() {
    const themes = [
      ["light", [{ name: "prefers-color-scheme", value: "light" }]],
      ["dark", [{ name: "prefers-color-scheme", value: "dark" }]]
    ];
    for (const kind of ["small", "huge", "tiny", "compare"])
      for (const [theme, media] of themes) {
        const p = await open(kind, "", { media });
        await p.png(join(pictures, `${kind}-${theme}.png`));
        await p.close();
      }
    for (const type of ["protanopia", "deuteranopia", "tritanopia"]) {
      const p = await open("hostile");
      await p.call("Emulation.setEmulatedVisionDeficiency", { type });
      await p.png(join(pictures, `vision-${type}.png`));
      await p.close();
    }
    const p = await open("small");
    const pdf = await p.pdf(join(pictures, "print.pdf"));
    assert(pdf.length > 20000, "PDF has a picture");
    const printed = await p.eval('document.getElementById("print").textContent');
    assert(/Samples reported/.test(printed) && /kernel/.test(printed) && /alpha/.test(printed) &&
               /file:/.test(printed),
        printed.slice(0, 200));
    const stacks = stacksOf("small"), downloads = join(work, "downloads");
    mkdirSync(downloads, { recursive: true });
    await browser.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: downloads });
    for (let i = 0; i < 4; i++) {
      await p.eval(`${app}.commands.exportMenu()`);
      await p.eval(`document.querySelectorAll("#menu button")[${i}].click()`);
      for (let t = 0; t < 100 && readdirSync(downloads).filter((f) => !f.endsWith(".crdownload")).length <= i;
           t++)
        await new Promise((r) => setTimeout(r, 50));
    }
    const files = Object.fromEntries(
        readdirSync(downloads).map((f) => [f.replace(/^.*?\./, ""), readFileSync(join(downloads, f))]));
    assert(decodePng(files.png).width > 400, "PNG");
    const svg = files.svg.toString();
    assert(
        svg.startsWith("<svg") && svg.includes(">alpha<") && await p.eval(`new XMLSerializer ? true : false`),
        "SVG");
    const text = files["folded.txt"].toString().trim().split("\n");
    equal(text.reduce((s, l) => s + Number(l.slice(l.lastIndexOf(" ") + 1)), 0), sum(stacks), "folded text");
    for (const line of text) {
      const frames = line.slice(0, line.lastIndexOf(" ")).split(";").slice(2);
      assert(stacks.some((s) => s.frames.join() === frames.join()), line);
    }
    const csv = files.csv.toString().trim().split("\n");
    equal(csv[0], "function,module,self,total,frames", "CSV");
    for (const line of csv.slice(1)) {
      const [name, , self, t] = line.split(",");
      equal(Number(self), sum(stacks, (s) => s.frames.at(-1) === name), line);
      equal(Number(t), sum(stacks, (s) => s.frames.includes(name)), line);
    }
    await p.close();
  },
  async compare_mirrors_and_bytes_read_as_bytes() {
    const classes = async (kind) => {
      const p = await open(kind);
      const list = await p.eval(`(() => { const { tree } = ${
          app}.view.panes[0].lay; const out = {}; for (let i = 1; i < tree.n; i++) { let path = ""; for (let k = i; k > 0; k = tree.parent[k]) path = ${
          app}.model.rawName(tree.item[k]) + ";" + path; out[path] = [${
          app}.view.change(tree, i) - 4, tree.total[0][i], tree.total[1][i]]; } return out; })()`);
      equal(p.errors.join("; "), "", "errors");
      await p.png(join(pictures, `${kind}.png`));
      await p.close();
      return list;
    };
    const there = await classes("compare"), back = await classes("compare-swapped");
    equal(Object.keys(there).length, Object.keys(back).length, "same tree");
    for (const k of Object.keys(there)) {
      equal(there[k][0] + 0, -back[k][0] + 0, k);
      equal(there[k][1], back[k][2], k);
    }
    assert(Object.values(there).some(([c]) => c > 2) && Object.values(there).some(([c]) => c === 0),
        "change is painted, noise is not");
    const p = await open("bytes");
    assert((await p.eval('document.getElementById("facts").textContent')).includes("2.00 MiB"), "bytes");
    await p.eval('location.hash = "#v=1&u=1"');
    await p.settle();
    equal(await total(p), 600, "second value type");
    await p.png(join(pictures, "bytes.png"));
    await p.close();
  },
  async states_without_a_picture_say_why() {
    let p = await open("empty");
    assert((await p.eval('document.getElementById("nothing").textContent')).includes("gprofiler check"),
        "empty");
    await p.png(join(pictures, "empty.png"));
    await p.close();
    p = await open("one");
    assert(
        (await p.eval('document.getElementById("notices").textContent')).includes("1 sample"), "one sample");
    await p.png(join(pictures, "one.png"));
    await p.close();
    p = await open("small", "#v=1&f=k~nothing-like-it");
    assert((await p.eval('document.getElementById("nothing").textContent')).includes("nothing-like-it"),
        "filtered to nothing");
    await p.png(join(pictures, "filtered-away.png"));
    await p.close();
    p = await open("small", "#v=1&z=0.0&y=sideways");
    const notices = await p.eval('document.getElementById("notices").textContent');
    assert(/zoomed frame/.test(notices) && /link's y/.test(notices), notices);
    await p.close();
    p = await browser.open(null);
    await p.call("Emulation.setScriptExecutionDisabled", { value: true });
    await p.call("Page.navigate", { url: pageOf("small").url });
    await new Promise((r) => setTimeout(r, 800));
    await p.call("Emulation.setScriptExecutionDisabled", { value: false });
    assert((await p.eval('document.getElementById("static").innerText')).includes("alpha"),
        "no script: the table");
    await p.png(join(pictures, "no-script.png"));
    await p.close();
    p = await browser.open(null);
    await p.call("Page.addScriptToEvaluateOnNewDocument", { source: "delete window.DecompressionStream" });
    await p.goto(pageOf("small").url);
    assert((await p.eval('document.getElementById("failure").textContent')).includes("cannot be shown"),
        "no DecompressionStream");
    assert(!(await p.eval('document.getElementById("static").hidden')), "the table stays");
    await p.close();
    const text = readFileSync(pageOf("small").html, "latin1");
    writeFileSync(join(work, "damaged.html"), text.replace(/(id="profile">.{400})..../, "$1AAAA"), "latin1");
    p = await browser.open(`file://${join(work, "damaged.html")}`);
    assert((await p.eval('document.getElementById("failure").textContent')).length > 20 &&
               !(await p.eval('document.getElementById("static").hidden')),
        "damaged");
    await p.png(join(pictures, "damaged.png"));
    await p.close();
  },
  async the_joined_page_works_without_a_bundler() {
    const out = join(work, "joined.html");
    execFileSync("python3", [join(UI, "bundle.py"), UI, out, "--no-esbuild", "--page", pageOf("small").html]);
    const p = await browser.open(`file://${out}`);
    equal(p.errors.join("; "), "", "errors");
    equal(await total(p), sum(stacksOf("small")), "root");
    await clickFrame(p, "alpha");
    assert((await hash(p)).includes("z="), "click zooms");
    await p.close();
  },
  async a_profile_of_this_machine() {
    const out = join(work, "real");
    const busy = spawn("sh", ["-c", "while :; do :; done"], { stdio: "ignore" });
    try {
      execFileSync(gprofiler,
          [
            "-o", out, "-d", "4", "-f", "99", "--pid-file", join(work, "pid"), "--log-file", join(work, "log")
          ],
          { stdio: "pipe", env: {...process.env, GPROFILER_LOCK_NAME: `gprofiler-page-${process.pid}` } });
    } catch (e) {
      throw new Skip(
          `gprofiler cannot profile here: ${String(e.stderr || e.message).trim().split("\n").at(-1)}`);
    } finally {
      busy.kill("SIGKILL");
    }
    const lines = readFileSync(join(out, "last_profile.col"), "latin1")
                      .split("\n")
                      .filter((l) => l && !l.startsWith("#"));
    const column = JSON.parse(readFileSync(join(out, "last_profile.col"), "utf8").split("\n")[0].slice(2))
                           .application_metadata_enabled
                       ? 2
                       : 1;
    const stacks = lines.map((l) => ({
      frames: l.slice(0, l.lastIndexOf(" ")).split(";").slice(column),
      count: Number(l.slice(l.lastIndexOf(" ") + 1))
    }));
    const p = await browser.open(`file://${join(out, "last_flamegraph.html")}`);
    equal(p.errors.join("; "), "", "errors");
    equal(p.requests.length, 1, "requests");
    equal(await total(p), sum(stacks), "samples, against the collapsed text");
    const reported = await p.eval(`(() => { const l = ${
        app}.model.meta.ledger; return l.entries - l.idle - l.filtered - l.lost_ring - l.aggregation_full; })()`);
    equal(await total(p), reported, "samples, against the ledger");
    await p.eval(`location.hash = "#v=1&q=%3Dsh"`);
    await p.settle();
    const sh = sum(stacks, (s) => s.frames[0] === "sh");
    assert(sh > 100, `the busy shell is in the text: ${sh}`);
    assert(await p.eval(`${app}.search.ofAll`) >= sh, "and found in the page");
    await p.eval(`location.hash = "#v=1"`);
    await p.settle();
    await p.png(join(pictures, "this-machine.png"));
    await p.eval(`${app}.commands.pivotItem(${app}.table.hottest())`);
    await p.settle();
    await p.png(join(pictures, "this-machine-sandwich.png"));
    await p.close();
  },
  async filters_by_key_menu_and_legend() {
    const stacks = stacksOf("small"), all = sum(stacks), p = await open("small");
    const left = async (f, text) => equal(await total(p), sum(stacks, f), text);
    const key = async (name, k) => {
      await clickFrame(p, name, { modifiers: 8 });
      await p.key(k);
      await p.settle();
    };
    await key("inner", "k");
    await left((s) => s.frames.includes("inner"), "k keeps");
    await p.key("z");
    await p.settle();
    await left(() => true, "z undoes");
    await key("beta", "x");
    await left((s) => !s.frames.includes("beta"), "x drops");
    await p.back();
    await left(() => true, "Back undoes");
    await key("beta", "m");
    equal(await total(p), all, "folding keeps every sample");
    assert(!await placeOf(p, "beta"), "folded frames are gone");
    equal(await p.eval('document.querySelectorAll("#chips .chip").length'), 1, "a chip says so");
    await p.eval('document.querySelector("#chips .chip button:last-child").click()');
    await p.settle();
    assert(await placeOf(p, "beta"), "removing the chip brings them back");
    await key("beta", "h");
    await left((s) => s.frames.includes("beta"), "h starts at");
    equal(await p.eval(`${app}.view.base.total[0][0]`), sum(stacks, (s) => s.frames.includes("beta")),
        "start at");
    await p.eval('location.hash = "#v=1"');
    await p.settle();
    const legend = (word, shift) =>
        p.eval(`[...document.querySelectorAll("#legend button")].find((b) => b.textContent === "${
            word}").dispatchEvent(new MouseEvent("click", { bubbles: true, shiftKey: ${shift} }))`);
    await legend("C++", false);
    await p.settle();
    equal(await total(p), all, "a folded origin keeps every sample");
    assert(!await placeOf(p, "inner") && !await placeOf(p, "beta"), "no C++ frame is left");
    await legend("C++", false);
    await p.settle();
    assert(await placeOf(p, "beta"), "a second click unfolds");
    await legend("kernel", true);
    await p.settle();
    await left((s) => s.kinds.includes("2"), "Shift+click keeps the origin");
    await p.eval('location.hash = "#v=1"');
    await p.settle();
    const at = await placeOf(p, "inner");
    await p.click(at[0], at[1], { button: "right" });
    await p.settle();
    await p.png(join(pictures, "menu.png"));
    await p.eval(
        `[...document.querySelectorAll("#menu button")].find((b) => b.textContent.startsWith("Cut")).click()`);
    await p.settle();
    assert((await hash(p)).includes("f=x~%3Dinner") || (await hash(p)).includes("f=x~=inner"), await hash(p));
    equal(p.errors.join("; "), "", "errors");
    await p.close();
  },
  async wheel_drag_and_overview_move_the_window() {
    const
        p = await open("small"),
        g = await p.eval(
            '(() => { const r = document.getElementById("graph").getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()');
    const size = () => p.eval(`(() => { const w = ${app}.window(); return [w.x0, w.x1 - w.x0]; })()`);
    const wheel = async (deltaY, modifiers) => {
      await p.eval(
          'window.heard = new Promise((r) => addEventListener("wheel", () => setTimeout(r), { once: true, capture: true, passive: true })); 0');
      await p.call("Input.dispatchMouseEvent",
          { type: "mouseWheel", x: g[0] + g[2] / 2, y: g[1] + 40, deltaX: 0, deltaY, modifiers });
      await p.eval("window.heard");
      // Within 180 ms a turn of the wheel keeps what its first one began (input.js).
      await new Promise((r) => setTimeout(r, 250));
      await p.settle();
    };
    const [, whole] = await size();
    await wheel(200, 0);
    equal((await size())[1], whole, "the wheel alone does not zoom");
    await wheel(-300, 2);
    const [x0, zoomed] = await size();
    assert(zoomed < whole * 0.6 && (await hash(p)).includes("a="), `Ctrl+wheel zooms: ${zoomed} of ${whole}`);
    await wheel(200, 8);
    const [x1, still] = await size();
    assert(x1 > x0 && Math.abs(still - zoomed) < 1e-3 * whole, "Shift+wheel pans");
    await p.call("Input.dispatchMouseEvent",
        { type: "mousePressed", x: g[0] + 300, y: g[1] + 60, button: "left", clickCount: 1 });
    for (const x of [320, 360, 400])
      await p.call("Input.dispatchMouseEvent",
          { type: "mouseMoved", x: g[0] + x, y: g[1] + 60, button: "left", buttons: 1 });
    await p.call("Input.dispatchMouseEvent",
        { type: "mouseReleased", x: g[0] + 400, y: g[1] + 60, button: "left", clickCount: 1 });
    await p.settle();
    const [x2] = await size();
    assert(x2 < x1 && !(await hash(p)).includes("z="), "drag pans and does not click");
    const o = await p.eval(
        '(() => { const r = document.getElementById("overview").getBoundingClientRect(); return [r.left, r.top + 8, r.width]; })()');
    await p.call("Input.dispatchMouseEvent",
        { type: "mousePressed", x: o[0] + o[2] * 0.5, y: o[1], button: "left", clickCount: 1 });
    for (const f of [0.6, 0.75])
      await p.call("Input.dispatchMouseEvent",
          { type: "mouseMoved", x: o[0] + o[2] * f, y: o[1], button: "left", buttons: 1 });
    await p.call("Input.dispatchMouseEvent",
        { type: "mouseReleased", x: o[0] + o[2] * 0.75, y: o[1], button: "left", clickCount: 1 });
    await p.settle();
    const [x3, part] = await size();
    assert(Math.abs(x3 / whole - 0.5) < 0.02 && Math.abs(part / whole - 0.25) < 0.03,
        `overview: ${x3 / whole} ${part / whole}`);
    await p.eval('document.getElementById("graph").focus()');
    await p.key("0");
    await p.settle();
    equal((await size())[1], whole, "0 shows the whole");
    equal(p.errors.join("; "), "", "errors");
    await p.close();
  },
  async narrow_and_coarse_screens() {
    const p = await open("small", "", { size: [480, 800], scale: 2 });
    equal(p.errors.join("; "), "", "errors");
    await p.call("Emulation.setTouchEmulationEnabled", { enabled: true });
    const at = await placeOf(p, "alpha");
    const tap = async () => {
      await p.call("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [{ x: at[0], y: at[1] }] });
      await p.call("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
      await p.settle();
    };
    await tap();
    assert((await hash(p)).includes("s=") && !(await hash(p)).includes("z="),
        `first tap selects: ${await hash(p)}`);
    await tap();
    assert((await hash(p)).includes("z="), "second tap zooms");
    await p.png(join(pictures, "narrow.png"));
    await p.close();
  },
};

async function main() {
  const names = Object.keys(checks).filter((k) => !only || k.includes(only));
  console.log(`1..${names.length}`);
  if (!haveChromium()) {
    names.forEach((k, i) => console.log(`ok ${i + 1} - page__${k} # SKIP Chromium is not installed`));
    return 0;
  }
  browser = await launch();
  let failed = 0;
  for (const [i, name] of names.entries()) {
    const began = performance.now();
    try {
      await checks[name]();
      console.log(`ok ${i + 1} - page__${name}\n# ${((performance.now() - began) / 1e3).toFixed(1)} s`);
    } catch (e) {
      if (e instanceof Skip) {
        console.log(`ok ${i + 1} - page__${name} # SKIP ${e.message}`);
        continue;
      }
      failed = 1;
      console.log(`not ok ${i + 1} - page__${name}\n# ${e.message.replace(/\n/g, "\n# ")}`);
    }
  }
  await browser.close();
  rmSync(work, { recursive: true, force: true });
  return failed;
}

process.exitCode = await main();
