// SPDX-License-Identifier: Apache-2.0
// Checks of page.mjs: addresses, history, keys, pointers, menus: ways through the page.

import {join} from "node:path";
import {same} from "./png.mjs";
import {
  pageOf, stacksOf, timesOf, sum, open, app, total, assert, equal, near, hash, placeOf, clickFrame, pictures
} from "./lib.mjs";

// Led to from the state before, and loaded: the same picture. A third of the states at a time.
async function comesBack(mine) {
  const p = await open("small");
  const item = (name) => p.eval(`${app}.view && (() => { const m = ${
      app}.model; for (let i = 0; i < m.nitems; i++) if (m.rawName(i) === ${
      JSON.stringify(name)}) return i; })()`);
  const states = [
    "", "y=f", "d=b", "o=w", "g=p,t", "g=-", "c=m", "c=h", "c=d", "r=1", "r=2", "l=1", "q=beta",
    "q=%5Eb&qf=r", "f=m~%3Dbeta", "f=s~%3Dbeta,k~%3Dinner", "x=p.100", "x=c.web-1", "x=o.kernel",
    "a=100000,600000", "w=t", "t=name", "o=t", "tr=1000,3000", "tr=2000,9000&o=t&q=beta", "g=t,c", "f=d~%3Dalpha,x~mod:%3Dlibc.so"
  ];
  await clickFrame(p, "alpha");
  states.push((await hash(p)).replace("#v=1&", ""));
  await p.eval(`${app}.commands.pivotItem(${await item("beta")})`);
  await p.settle();
  states.push((await hash(p)).replace("#v=1&", ""));
  await p.move(1, 1); // over nothing
  for (const s of states.filter((_, k) => mine(k))) {
    await p.eval(`document.getElementById("tab-functions").click(); document.activeElement.blur(); location.hash = ${JSON.stringify(`#v=1&${s}`)}`);
    await p.settle();
    const address = await hash(p), pixels = await p.png();
    await p.reload();
    equal(await hash(p), address, s);
    assert(same(await p.png(), pixels), `pixels of ${s}`);
  }
  await p.close();
}

export const ways = {
  every_state_comes_back_from_its_address: () => comesBack((k) => k % 3 === 0),
  every_state_comes_back_from_its_address_too: () => comesBack((k) => k % 3 === 1),
  every_state_comes_back_from_its_address_as_well: () => comesBack((k) => k % 3 === 2),
  async back_and_forward_lead_through_the_views() {
    const p = await open("small", "", { media: [{ name: "prefers-reduced-motion", value: "no-preference" }] });
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
  async a_part_of_the_time_is_a_graph_of_its_own() {
    const p = await open("short"), { list, slots, ms } = timesOf("short");
    const strip = await p.eval(
        '(() => { const r = document.getElementById("strip").getBoundingClientRect(); return [r.left, r.top + 16, r.width]; })()');
    const x = (slot) => strip[0] + (slot + 0.5) / slots * strip[2];
    const range = async () => (await p.eval(`JSON.stringify(${app}.view.range)`));
    equal(await range(), "null", "the whole at first");
    await p.png(join(pictures, "time-strip.png"));
    await p.drag([x(40), strip[1]], [x(60), strip[1]], [x(79), strip[1]]);
    equal(await range(), "[40,80]", "what was dragged over");
    const inside = (f = () => true) => sum(list, (s) => s.slot >= 40 && s.slot < 80 && f(s));
    equal(await total(p), inside(), "samples of that time");
    const rows = await p.eval(`${app}.table.rows(99).map((r) => [r.name, r.self])`);
    for (const [name, self] of rows) equal(self, inside((s) => s.frames.at(-1) === name), name);
    assert((await p.eval('document.getElementById("chips").textContent')).includes("time "), "a chip says so");
    const address = await hash(p);
    assert(address.includes("tr="), address);
    await p.eval('document.getElementById("graph").focus()');
    await p.key("z");
    await p.settle();
    equal(await total(p), sum(list), "z shows the whole again");
    await p.back();
    equal(await hash(p), address, "Back");
    await p.click(x(10), await p.eval('document.getElementById("strip").getBoundingClientRect().top + 16'));
    await p.settle();
    equal(await range(), "null", "a click in the strip shows the whole");
    await p.eval('document.getElementById("strip-box").focus()');
    await p.key("ArrowRight");
    await p.settle();
    assert(await range() !== "null" && /samples/.test(await p.eval(
               'document.getElementById("strip-box").getAttribute("aria-valuetext")')),
        "arrow keys choose a part");
    await p.key("Escape");
    await p.settle();
    equal(await range(), "null", "Escape leaves it");
    await p.eval('document.getElementById("graph").focus()');
    await p.key("o");
    await p.key("o");
    await p.settle();
    assert((await hash(p)).includes("o=t"), await hash(p));
    equal(await total(p), sum(list), "order of time keeps every sample");
    // From left to right: what is below main, against the slots of the stacks.
    const drawn = await p.eval(`(() => { const { tree } = ${app}.view.panes[0].lay, m = ${
        app}.model, out = []; for (let i = 1; i < tree.n; i++) if (["load", "serve"].includes(m.rawName(tree.item[i]))) out.push(m.rawName(tree.item[i]) + " " + tree.total[0][i]); return out; })()`);
    const want = [];
    for (const s of list.filter((s) => s.frames.at(-1) !== "collect").sort((a, b) => a.slot - b.slot)) {
      const name = s.frames.at(-1);
      if (want.length && want.at(-1)[0] === name)
        want.at(-1)[1] += s.count;
      else
        want.push([name, s.count]);
    }
    equal(drawn.join(), want.map((w) => w.join(" ")).join(), "calls in the order of time");
    assert(ms > 0 && want.length >= 4, "more than one of each");
    await p.png(join(pictures, "time-order.png"));
    await p.eval('location.hash = "#v=1&q=serve"');
    await p.settle();
    await p.png(join(pictures, "time-search.png"));
    equal(p.errors.join("; "), "", "errors");
    await p.close();
    const none = await open("bytes");
    assert(await none.eval('document.getElementById("strip-box").hidden'), "no times, no strip");
    await none.close();
  },
  // The hottest function of one process, who calls it, what it takes of the machine; and that as a link.
  async a_newcomer_gets_from_a_process_to_its_hottest_function() {
    const stacks = stacksOf("small").filter((s) => s.process.startsWith("nginx/")), p = await open("small");
    await clickFrame(p, "nginx (200)");
    const rows = await p.eval(`${app}.table.rows(99).map((r) => [r.name, r.self, r.total])`);
    assert(rows.length === new Set(stacks.flatMap((s) => s.frames)).size, `the table is of the process: ${rows.length} rows`);
    for (const [name, self, t] of rows) {
      equal(self, sum(stacks, (s) => s.frames.at(-1) === name), `${name} self`);
      equal(t, sum(stacks, (s) => s.frames.includes(name)), `${name} total`);
    }
    const hottest = rows[0][0], details = () => p.eval('document.getElementById("pane-details").textContent');
    assert((await details()).includes("Hottest in it") && / of all CPUs/.test(await details()), await details());
    await p.eval('document.querySelector("#pane-details .links button").click()');
    await p.settle();
    equal(await p.eval(`${app}.model.rawName(${app}.selectedItem())`), hottest, "one click leads to it");
    assert(/Callers .*main/.test((await details()).replace(/\n/g, " ")), await details());
    const at = await placeOf(p, hottest);
    await p.move(at[0], at[1]);
    await p.settle();
    const expected = await p.eval(`${app}.model.meta.ledger.expected`), node = await p.eval(
        `(() => { const s = ${app}.view.selected; return s.pane.lay.tree.total[0][s.node]; })()`);
    const status = await p.eval('document.getElementById("status").textContent');
    assert(status.includes(`${(100 * node / expected).toPrecision(3)} % of the machine`), status);
    const link = await hash(p);
    const colleague = await open("small", link);
    equal(await colleague.eval(`${app}.model.rawName(${app}.selectedItem())`), hottest, "the link shows it");
    await colleague.png(join(pictures, "newcomer.png"));
    await colleague.close();
    equal(p.errors.join("; "), "", "errors");
    await p.close();
  },
  async settings_stay_on_this_machine() {
    const p = await open("small", "", { media: [{ name: "prefers-color-scheme", value: "light" }] });
    const menu = async (word) => {
      await p.eval('document.getElementById("b-theme").click()');
      await p.eval(`[...document.querySelectorAll("#menu button")].find((b) => b.textContent.includes("${word}")).click()`);
      await p.settle();
    };
    const address = await hash(p);
    await menu("Dark");
    equal(await p.eval("document.documentElement.dataset.theme"), "dark", "dark");
    await menu("Rows of 24");
    equal(await p.eval(`${app}.renderer.drawn.rowH`), 24, "rows");
    await menu("14 px");
    equal(await p.eval(`${app}.renderer.drawn.scene.font`), 14, "labels");
    equal(await hash(p), address, "not in the address");
    await p.goto(pageOf("small").url);
    equal(await p.eval(`document.documentElement.dataset.theme + ${app}.renderer.drawn.rowH`), "dark24", "kept");
    await p.png(join(pictures, "settings.png"));
    for (const word of ["as the system", "to fit", "12 px"]) await menu(word);
    equal(await p.eval(`document.documentElement.dataset.theme + ${app}.renderer.drawn.rowH`), "light18", "as before");
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
    const seen = (id) => p.eval(`document.getElementById("${id}").offsetHeight > 0`);
    assert(await seen("graph") && !await seen("pane-functions"), "the graph is a tab of its own");
    await p.eval('document.getElementById("tab-functions").click()');
    await p.settle();
    assert(!await seen("graph") && await seen("pane-functions"), "and the table another");
    await p.png(join(pictures, "narrow-table.png"));
    await p.eval('document.getElementById("tab-graph").click()');
    await p.settle();
    assert(await seen("graph"), "back to the graph");
    await p.reload();
    assert((await p.eval('document.getElementById("status").textContent')).includes("Tap a frame"), "its hint is for fingers");
    await p.close();
  },
};
