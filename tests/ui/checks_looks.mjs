// SPDX-License-Identifier: Apache-2.0
// Checks of page.mjs: accessibility, pictures, print, exports, states without a picture, times.

import {readFileSync, writeFileSync} from "node:fs";
import {execFile, execFileSync} from "node:child_process";
import {promisify} from "node:util";
import {join} from "node:path";
import {decodePng} from "./png.mjs";
import {
  UI, LOOSE, FIXED_MS, work, pageOf, stacksOf, sum, browser, open, app, total, assert, equal, hash, clickFrame, downloadsOf, pictures, gprofiler
} from "./lib.mjs";

// In the page: what a reader of rules would find fault with. Names of controls come from the browser's own
// accessibility tree, see below.
const AUDIT = `(() => {
  const found = [], visible = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden";
  const all = [...document.querySelectorAll("*")], ids = new Set();
  const where = (e) => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + (e.className ? "." + e.className : "") + " '" + e.textContent.slice(0, 20) + "'";
  for (const e of all) {
    if (e.id && ids.has(e.id)) found.push("id twice: " + e.id);
    ids.add(e.id);
  }
  for (const e of all)
    for (const a of ["aria-controls", "aria-labelledby", "aria-activedescendant"])
      if (e.hasAttribute(a) && !ids.has(e.getAttribute(a))) found.push(a + " leads nowhere: " + where(e));
  const inside = { treeitem: "tree", tab: "tablist", menuitem: "menu", row: "grid" };
  for (const e of all) {
    const want = inside[e.getAttribute("role")];
    if (want && !e.closest("[role=" + want + "]")) found.push("outside of its " + want + ": " + where(e));
    if (e.getAttribute("aria-hidden") === "true" && e.querySelector("button, a, input, [tabindex]")) found.push("focus in what is hidden: " + where(e));
  }
  for (const e of document.querySelectorAll("button, select, input, [role=tab], tr.row"))
    if (visible(e)) {
      const r = e.getBoundingClientRect();
      if (r.width && (r.height < 23.5 || r.width < 23.5) && !e.closest(".unseen")) found.push("smaller than 24 px: " + where(e) + " " + r.width.toFixed(1) + "x" + r.height.toFixed(1));
    }
  const channels = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  for (const e of document.querySelectorAll("#app *, #menu *, #dialog *")) {
    if (!visible(e) || e.closest("#mirror, .unseen") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.disabled) continue;
    let ground = e;
    while (ground && (channels(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
    const [x, y] = [getComputedStyle(e).color, ground ? getComputedStyle(ground).backgroundColor : "rgb(255,255,255)"].map((c) => luminance(channels(c))).sort((a, b) => b - a);
    if ((x + 0.05) / (y + 0.05) < 4.5) found.push("contrast " + ((x + 0.05) / (y + 0.05)).toFixed(2) + ": " + where(e));
  }
  if (!document.documentElement.lang || !document.title) found.push("no language or title");
  return found.slice(0, 8).join("\\n");
})()`;

export const looks = {
  async nothing_is_found_by_the_rules_of_accessibility() {
    const audit = async (p, what) => {
      await p.settle();
      equal(await p.eval(AUDIT), "", what);
      const { nodes } = await p.call("Accessibility.getFullAXTree");
      const nameless = nodes.filter((n) => !n.ignored && /^(button|combobox|textbox|searchbox|tab|menuitem|slider|tree|treeitem|grid|dialog)$/.test(
                                             n.role?.value) && !n.name?.value);
      equal(nameless.map((n) => n.role.value).join(), "", `controls without a name, ${what}`);
    };
    const themes = (p, theme) =>
        p.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: theme }] });
    for (const [kind, h] of [["small", "#v=1&q=beta&f=d~%3Dinner&x=p.100"], ["short", "#v=1&tr=100,400"], ["compare", ""],
           ["small", "#v=1&p=zzz&z=a.b"]]) {
      const p = await open(kind, h);
      if (kind === "small") await clickFrame(p, "alpha");
      for (const theme of ["light", "dark"]) {
        await themes(p, theme);
        await audit(p, `${theme} ${kind}${h}`);
      }
      await p.close();
    }
    const empty = await open("empty");
    await audit(empty, "empty");
    await empty.close();
    // Colours of all of these are on the others.
    const p = await open("small");
    for (const act of [`${app}.commands.exportMenu()`, `${app}.commands.help()`, `${app}.commands.editFilter()`,
           'document.getElementById("tab-ledger").click()']) {
      await p.eval(`void ${act}`);
      await audit(p, act);
      await p.eval(`document.getElementById("dialog").close(); ${app}.commands.escape()`);
    }
    await p.close();
  },
  async pictures_print_and_exports() {
    for (const kind of ["small", "huge", "tiny", "compare"]) {
      const p = await open(kind);
      for (const value of ["light", "dark"]) {
        await p.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
        await p.settle();
        await p.png(join(pictures, `${kind}-${value}.png`));
      }
      await p.close();
    }
    const seen = await open("hostile");
    for (const type of ["protanopia", "deuteranopia", "tritanopia"]) {
      await seen.call("Emulation.setEmulatedVisionDeficiency", { type });
      await seen.png(join(pictures, `vision-${type}.png`));
    }
    await seen.close();
    const p = await open("small");
    const pdf = await p.pdf(join(pictures, "print.pdf"));
    assert(pdf.length > 20000, "PDF has a picture");
    const printed = await p.eval('document.getElementById("print").textContent');
    assert(/Samples reported/.test(printed) && /kernel/.test(printed) && /alpha/.test(printed) &&
               /file:/.test(printed),
        printed.slice(0, 200));
    const stacks = stacksOf("small"), downloads = await downloadsOf("downloads");
    for (let i = 0; i < 4; i++) {
      await p.eval(`${app}.commands.exportMenu()`);
      await p.eval(`document.querySelectorAll("#menu button")[${i}].click()`);
      await downloads.file(i);
    }
    const files = Object.fromEntries(
        downloads.files().map((f) => [f.replace(/^.*?\./, ""), readFileSync(join(downloads.folder, f))]));
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
  // Names that are hard on every form, opened by others: the browser's own SVG, convert, Python's csv.
  async exports_open_with_other_tools() {
    const p = await open("hostile"), all = await total(p), downloads = await downloadsOf("others");
    const texts = await p.eval(`${app}.renderer.drawn.boxes.length`), rows = await p.eval(`${app}.table.rows(Infinity).map((r) => [r.name, r.self])`);
    for (let i = 0; i < 4; i++) {
      await p.eval(`${app}.commands.exportMenu()`);
      await p.eval(`document.querySelectorAll("#menu button")[${i}].click()`);
      await downloads.file(i);
    }
    equal(p.errors.join("; "), "", "errors");
    await p.close();
    const of = (ext) => join(downloads.folder, downloads.files().find((f) => f.endsWith(ext)));
    const svg = await browser.open(`file://${of(".svg")}`);
    equal(await svg.eval('document.documentElement.localName + document.querySelectorAll("parsererror, script").length'), "svg0", "well formed, and nothing but a picture");
    equal(await svg.eval('document.querySelectorAll("g > title").length'), texts, "a title for every box");
    equal(svg.errors.join("; "), "", "errors");
    await svg.close();
    const again = join(work, "again.html");
    await promisify(execFile)(gprofiler, ["convert", of(".folded.txt"), "--to", "html", "-o", again]);
    const q = await browser.open(`file://${again}`);
    equal(await total(q), all, "every sample, through convert");
    await q.close();
    const { stdout } = await promisify(execFile)("python3",
        ["-c", "import csv, json, sys; print(json.dumps(list(csv.reader(open(sys.argv[1], newline='', encoding='utf-8')))))", of(".csv")], { maxBuffer: 1 << 24 });
    const read = JSON.parse(stdout).slice(1);
    assert(read.every((r) => r.length === 5) && read.length === rows.length, "five fields a row, a row a function");
    read.forEach(([name, , self], i) => {
      equal(name.replace(/^'(?=[=+\-@])/, ""), rows[i][0], "names");
      equal(Number(self), rows[i][1], name.slice(0, 50));
    });
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
    await p.eval('location.hash = "#v=1&x=p.100&f=d~%3Dalpha,k~%3Dzzz"');
    await p.settle();
    const took = await p.eval('[...document.querySelectorAll("#nothing li")].map((l) => l.textContent).join("\\n")');
    const stacks = stacksOf("small"), all = sum(stacks), mine = (s) => s.process === "app/100";
    const percentOf = (f) => `${(100 * sum(stacks, f) / all).toFixed(1)} % left`;
    assert(took.split("\n").length === 3 && took.split("\n")[0].includes(percentOf(mine)) &&
               took.split("\n")[1].includes(percentOf((s) => mine(s) && !s.frames.includes("alpha"))),
        took);
    await p.png(join(pictures, "filtered-away.png"));
    await p.close();
    p = await open("small", "#v=1&z=0.0&y=sideways");
    const notices = await p.eval('document.getElementById("notices").textContent');
    assert(/zoomed frame/.test(notices) && /link's y/.test(notices), notices);
    await p.close();
    p = await browser.open(null);
    await p.call("Emulation.setScriptExecutionDisabled", { value: true });
    const loaded = p.next("Page.loadEventFired");
    await p.call("Page.navigate", { url: pageOf("small").url });
    await loaded;
    await p.png(join(pictures, "no-script.png"));
    await p.call("Emulation.setScriptExecutionDisabled", { value: false });
    assert((await p.eval('document.getElementById("static").innerText')).includes("alpha"),
        "no script: the table");
    await p.close();
    p = await browser.open(null);
    await p.call("Page.addScriptToEvaluateOnNewDocument", { source: "delete window.DecompressionStream" });
    await p.goto(pageOf("small").url);
    assert((await p.eval('document.getElementById("failure").textContent')).includes("cannot be shown"),
        "no DecompressionStream");
    assert(await p.eval('document.getElementById("static").checkVisibility()'), "the table stays");
    await p.close();
    const text = readFileSync(pageOf("small").html, "latin1");
    writeFileSync(join(work, "damaged.html"), text.replace(/(id="profile">.{400})..../, "$1AAAA"), "latin1");
    p = await browser.open(`file://${join(work, "damaged.html")}`);
    assert((await p.eval('document.getElementById("failure").textContent')).length > 20 &&
               await p.eval('document.getElementById("static").checkVisibility()'),
        "damaged");
    await p.png(join(pictures, "damaged.png"));
    await p.close();
    // Cut short before its script: the table comes after a while.
    writeFileSync(join(work, "short.html"), text.slice(0, text.indexOf('id="profile">') + 400), "latin1");
    p = await browser.open(null);
    await p.call("Page.navigate", { url: `file://${join(work, "short.html")}` });
    await p.until('location.href.includes("short.html") && document.getElementById("static")?.checkVisibility()');
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
  // CPU time of the page's own thread, the best of several, and in the measure of what a fixed piece of work
  // takes now and here: other work on the machine, or a slower one, makes both slow.
  async budgets_hold_three_times_over() {
    const limits = {
      ready: 1000, redraw: 12, hover: 1, search: 16, filter: 100, regroup: 100, pivot: 100, time: 100, chronological: 300
    };
    const all = Object.fromEntries(Object.keys(limits).map((k) => [k, []])), fixed = [];
    const work = `(() => { const a = new Float64Array(150000); for (let i = 0, r = 1; i < a.length; i++) a[i] = r = r * 48271 % 2147483647; a.sort(); const m = new Map(); for (const v of a.subarray(0, 30000)) m.set(v, [v]); return m.size; })()`;
    const p = await browser.open(null);
    await p.call("Performance.enable", { timeDomain: "threadTicks" });
    const used = async () =>
        1e3 * (await p.call("Performance.getMetrics")).metrics.find((m) => m.name === "TaskDuration").value;
    // Each action by itself, `several` of them as one where one is too short to tell.
    const cpu = async (what, n, several, expression) => {
      for (let i = 0; i < n; i++) {
        const start = await used();
        await p.eval(work);
        fixed.push(await used() - start);
        const before = await used();
        await p.eval(`(() => { for (let i = ${i * several}; i < ${(i + 1) * several}; i++) { ${expression}; } })()`);
        all[what].push((await used() - before) / several);
      }
      await p.settle();
    };
    const change = (patch) => `${app}.store.change(${patch})`, before = await used();
    await p.goto(pageOf("huge").url);
    all.ready.push(await used() - before);
    await cpu("redraw", 4, 3, `${app}.renderer.drawn.scene = null; ${app}.draw()`);
    await cpu("hover", 3, 9, `${app}.commands.hover(20 + i % 9 * 60, 100)`);
    await cpu("search", 9, 1, change('{ q: "do_work_1".slice(0, i + 1) }'));
    await p.eval(change('{ q: "" }'));
    await cpu("filter", 6, 1, change('{ f: "d~=do_work_" + (i + 20) }'));
    await p.eval(change('{ f: "" }'));
    await cpu("regroup", 4, 1, change('{ g: ["c,p,t", "p", "-", "n"][i] }'));
    await p.eval(change('{ g: "" }'));
    await cpu("pivot", 3, 1, `${app}.commands.pivotItem(${app}.table.hottest() + i)`);
    await p.eval(change('{ p: "", w: "g" }'));
    await cpu("time", 3, 1, change('{ tr: `${i * 100},${i * 100 + 2000}` }'));
    await p.eval(change('{ tr: "" }'));
    await cpu("chronological", 3, 1, change('{ o: "t", tr: i ? `0,${90000 + i}` : "" }'));
    await p.close();
    const slow = Math.max(1, fixed.sort((a, b) => a - b)[fixed.length >> 1] / FIXED_MS);
    const over = [], words = [];
    for (const [k, calm] of Object.entries(limits)) {
      const limit = calm * slow, [best, ...more] = all[k].sort((a, b) => a - b), median = [best, ...more][all[k].length >> 1];
      words.push(`${k} ${median.toFixed(1)} (best ${best.toFixed(1)}) of ${calm} ms`);
      if (best > limit * LOOSE) over.push(words.at(-1));
    }
    console.log(`# CPU of a machine ${slow.toFixed(1)} times as slow as a calm one: ${words.join(", ")}`);
    equal(over.join(), "", "beyond three times");
  },
};
