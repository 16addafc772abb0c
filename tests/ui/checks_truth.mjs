// SPDX-License-Identifier: Apache-2.0
// Checks of page.mjs: what the page says of numbers and names, against the stacks it was made of.

import {readFileSync, writeFileSync} from "node:fs";
import {execFile, spawn} from "node:child_process";
import {promisify} from "node:util";
import {join} from "node:path";
import {
  work, pageOf, written, stacksOf, sum, Skip, browser, open, app, total, assert, equal, hash, clickFrame, downloadsOf, pictures, gprofiler
} from "./lib.mjs";

// A graph larger than any screen: the canvas is not, the deepest frame is reached, and no column is left out.
async function staysWithinTheScreen(kind) {
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
  if (kind === "million")
    assert((await p.eval('document.getElementById("notices").textContent')).includes("the times are not kept"), "says why no strip");
  if (kind === "deep") {
    const words = await p.eval('document.getElementById("rows").textContent');
    assert(/ of 5\u202f002 · deepest/.test(words), words);
  }
  await p.close();
}

export const truth = {
  async opens_offline_without_a_request() {
    for (const kind of ["small", "huge", "hostile"]) {
      const p = await open(kind, "", { offline: kind === "small" });
      equal(p.errors.join("; "), "", "errors");
      equal(p.requests.length, 1, "requests");
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
    await p.eval('location.hash = "#v=1"');
    await p.settle();
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
  deep_stays_within_the_screen: () => staysWithinTheScreen("deep"),
  wide_stays_within_the_screen: () => staysWithinTheScreen("wide"),
  huge_stays_within_the_screen: () => staysWithinTheScreen("million"),
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
  async two_pages_are_compared_in_the_browser() {
    const paths = (p) => p.eval(`(() => { const { tree } = ${app}.view.panes[0].lay, out = {}; for (let i = 1; i < tree.n; i++) { let path = ""; for (let k = i; k > 0; k = tree.parent[k]) path = ${
        app}.model.rawName(tree.item[k]) + ";" + path; out[path] = [tree.total[0][i], tree.total[1][i], ${
        app}.view.change(tree, i)].join(); } return out; })()`);
    const joined = await open("compare"), want = await paths(joined);
    const wantFacts = await joined.eval('document.getElementById("facts").textContent');
    await joined.close();
    const p = await open("small");
    writeFileSync(join(work, "other.html"), "<title>something else</title>");
    await p.choose("#compare-file", [join(work, "other.html")]);
    await p.until('document.getElementById("notices").textContent.includes("no page of gprofiler")');
    await written("small-second");
    await p.choose("#compare-file", [pageOf("small-second").html]);
    await p.until(`${app}.model.compare`);
    await p.settle();
    const got = await paths(p);
    equal(JSON.stringify(Object.entries(got).sort()), JSON.stringify(Object.entries(want).sort()), "as the writer joins");
    equal(await p.eval('document.getElementById("facts").textContent'), wantFacts, "says both");
    await p.png(join(pictures, "compare-in-browser.png"));
    const downloads = await downloadsOf("joined");
    await p.eval(`${app}.commands.exportMenu()`);
    await p.eval('[...document.querySelectorAll("#menu button")].find((b) => b.textContent.startsWith("This comparison")).click()');
    const saved = await browser.open(`file://${await downloads.file(0)}`);
    equal(JSON.stringify(Object.entries(await paths(saved)).sort()), JSON.stringify(Object.entries(want).sort()), "kept as a page");
    equal(await saved.eval('document.getElementById("facts").textContent'), wantFacts, "that says both");
    assert((await saved.eval("document.title")).includes("Compare"), await saved.eval("document.title"));
    await clickFrame(saved, "alpha");
    await saved.reload();
    assert(await saved.eval(`${app}.view.zoom && ${app}.model.rawName(${app}.selectedItem()) === "alpha"`), "with links of its own");
    equal(saved.errors.join("; "), "", "errors");
    await saved.close();
    await p.raw("Page.bringToFront");
    const button = (word) => p.eval(`[...document.querySelectorAll("#notices button")].find((b) => b.textContent.startsWith("${word}")).click()`);
    await button("Swap");
    await p.settle();
    const swapped = await paths(p);
    for (const k of Object.keys(want)) {
      const [a, b] = want[k].split(",");
      equal(swapped[k].split(",").slice(0, 2).join(), `${b},${a}`, k);
    }
    await button("Back");
    await p.settle();
    assert(!await p.eval(`${app}.model.compare`), "one again");
    await clickFrame(p, "alpha");
    assert((await hash(p)).includes("z="), "and alive");
    equal(p.errors.join("; "), "", "errors");
    await p.close();
  },
  async a_profile_of_this_machine() {
    const out = join(work, "real");
    const busy = spawn("sh", ["-c", "while :; do :; done"], { stdio: "ignore" }), began = performance.now();
    let used;
    try {
      await promisify(execFile)(gprofiler,
          [
            "-o", out, "-d", "4", "-f", "99", "--pid-file", join(work, "pid"), "--log-file", join(work, "log")
          ],
          { env: {...process.env, GPROFILER_LOCK_NAME: `gprofiler-page-${process.pid}` } });
      // The share of one CPU that the shell had: utime and stime in ticks of 10 ms (proc(5)).
      const ticks = readFileSync(`/proc/${busy.pid}/stat`, "latin1").split(") ")[1].split(" ");
      used = 10 * (Number(ticks[11]) + Number(ticks[12])) / (performance.now() - began);
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
    equal(await p.eval(`${app}.view.strip.sums.reduce((n, column) => n + column.reduce((a, b) => a + b, 0), 0)`),
        sum(stacks), "samples, against the time strip");
    const [slots, slotMs] = await p.eval(`[${app}.model.times.slots, ${app}.model.times.slotMs]`);
    assert(slots * slotMs > 500 && slots * slotMs < 20000, `times of four seconds: ${slots} of ${slotMs} ms`);
    await p.eval(`location.hash = "#v=1&q=%3Dsh"`);
    await p.settle();
    const sh = sum(stacks, (s) => s.frames[0] === "sh");
    assert(sh > used * 4 * 99 / 3, `the busy shell is in the text: ${sh}, with ${used.toFixed(2)} of a CPU for 4 s at 99 Hz`);
    assert(await p.eval(`${app}.search.ofAll`) >= sh, "and found in the page");
    await p.eval(`location.hash = "#v=1"`);
    await p.settle();
    await p.png(join(pictures, "this-machine.png"));
    await p.eval(`${app}.commands.pivotItem(${app}.table.hottest())`);
    await p.settle();
    await p.png(join(pictures, "this-machine-sandwich.png"));
    await p.close();
  },
};
