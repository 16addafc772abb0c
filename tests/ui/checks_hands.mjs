// SPDX-License-Identifier: Apache-2.0
// Checks of page.mjs: every key, the table by mouse and keys, addresses nobody of ours wrote, small screens.

import {readFileSync} from "node:fs";
import {join} from "node:path";
import {decodePng} from "./png.mjs";
import {UI, stacksOf, sum, open, app, total, assert, equal, hash, clickFrame, downloadsOf, pictures} from "./lib.mjs";

const { KEYS } = await import(join(UI, "input.js"));

const go = async (p, h) => {
  await p.eval(`location.hash = ${JSON.stringify(h)}`);
  await p.settle();
};
const selected = (p) => p.eval(`${app}.view.selected ? ${app}.model.rawName(${app}.view.selected.pane.lay.tree.item[${app}.view.selected.node]) : ""`);
const width = (p) => p.eval(`${app}.window().x1 - ${app}.window().x0`);
const menuOpen = (p) => p.eval('!document.getElementById("menu").hidden');
const holds = (text) => async (p, before) => (await hash(p)).includes(text) && !before.hash.includes(text);
const lacks = (text) => async (p, before) => !(await hash(p)).includes(text) && before.hash.includes(text);
const copied = (what) => (p) => p.until(`/${what}.* copied/.test(document.getElementById("status").textContent) || document.getElementById("dialog").open`);

// Key of the list: [where it is pressed (S: the path of main;alpha), what is to come of it].
const EFFECTS = {
  Enter: ["s=S", holds("z=")],
  ContextMenu: ["s=S", menuOpen],
  "Shift+F10": ["s=S", menuOpen],
  ArrowUp: ["s=S", async (p) => await selected(p) === "main"],
  ArrowDown: ["s=S", async (p, { selected: was }) => (await p.eval(`${app}.model.rawName(${app}.view.selected.pane.lay.tree.item[${app}.view.selected.pane.lay.tree.parent[${app}.view.selected.node]])`)) === was],
  ArrowRight: ["s=S", async (p, { node }) => await p.eval(`${app}.view.selected.node`) > node],
  ArrowLeft: ["s=S", (p, { node }) => p.eval(`${app}.view.selected.node === ${node}`), async (p) => {
    await p.eval('document.getElementById("graph").focus()');
    await p.key("ArrowRight");
    assert(await selected(p) !== "alpha", "there is another frame in the row");
  }],
  Home: ["s=S", (p) => p.eval(`${app}.view.selected.node === 1`)],
  End: ["s=S", (p) => p.eval(`${app}.view.selected.node === ${app}.view.panes[0].lay.deepest`)],
  Backspace: ["s=S", (p, before) => p.until(`location.hash !== ${JSON.stringify(before.hash)}`)],
  "Alt+ArrowLeft": ["s=S", (p, before) => p.until(`location.hash !== ${JSON.stringify(before.hash)}`)],
  "Alt+ArrowRight": ["s=S", (p, before) => p.until(`location.hash === ${JSON.stringify(before.hash)}`), (p) => p.back()],
  z: ["f=d~=beta", lacks("f=")],
  Escape: ["s=S&z=S", lacks("z=")],
  "Code:Digit0": ["z=S", lacks("z=")],
  "Code:Numpad0": ["z=S", lacks("z=")],
  "Code:Equal": ["s=S", async (p, { width: was }) => await width(p) < was],
  "Code:NumpadAdd": ["s=S", async (p, { width: was }) => await width(p) < was],
  "Code:KeyW": ["s=S", async (p, { width: was }) => await width(p) < was],
  "Code:Minus": ["a=400000,500000", async (p, { width: was }) => await width(p) > was],
  "Code:NumpadSubtract": ["a=400000,500000", async (p, { width: was }) => await width(p) > was],
  "Code:KeyS": ["a=400000,500000", async (p, { width: was }) => await width(p) > was],
  "Code:KeyA": ["a=400000,500000", async (p, { x0 }) => await p.eval(`${app}.window().x0`) < x0],
  "Code:KeyD": ["a=400000,500000", async (p, { x0 }) => await p.eval(`${app}.window().x0`) > x0],
  "/": ["", (p) => p.eval('document.activeElement.id === "search"')],
  "Ctrl+f": ["", (p) => p.eval('document.activeElement.id === "search"')],
  n: ["q=beta", async (p) => await selected(p) === "beta"],
  N: ["q=beta", async (p) => await selected(p) === "beta"],
  f: ["", holds("y=f")],
  b: ["", holds("d=b")],
  o: ["", holds("o=w")],
  r: ["", holds("r=1")],
  R: ["", holds("r=2")],
  c: ["", holds("c=m")],
  p: ["s=S", holds("p=")],
  k: ["s=S", holds("f=k~=alpha")],
  x: ["s=S", holds("f=d~=alpha")],
  m: ["s=S", holds("f=m~=alpha")],
  h: ["s=S", holds("f=s~=alpha")],
  1: ["w=s&p=P", lacks("p=")],
  2: ["s=S", holds("p=")],
  3: ["", holds("w=t")],
  t: ["", (p) => p.eval('document.activeElement.matches("#pane-functions tr.row")')],
  e: ["", menuOpen],
  l: ["", copied("link")],
  y: ["s=S", copied("name")],
  Y: ["s=S", copied("stack")],
  "?": ["", (p) => p.eval('document.getElementById("dialog").open')]
};
const CODES = { Equal: "=", Minus: "-", NumpadAdd: "+", NumpadSubtract: "-", Digit0: "0", Numpad0: "0", KeyW: "w", KeyS: "s", KeyA: "a", KeyD: "d" };

export const hands = {
  async every_key_does_what_the_help_says() {
    const p = await open("small");
    const keys = KEYS.flatMap(([, , list]) => list);
    equal(keys.slice().sort().join(" "), Object.keys(EFFECTS).sort().join(" "), "keys of the page, keys of this check");
    await clickFrame(p, "alpha", { modifiers: 8 });
    const path = /s=([^&]*)/.exec(await hash(p))[1], pivot = await p.eval(`${app}.hashOf(${app}.selectedItem())`);
    for (const key of keys) {
      const [h, came, then] = EFFECTS[key];
      await go(p, "#v=1");
      await go(p, `#v=1${h && "&"}${h.replace(/=S/g, `=${path}`).replace("=P", `=${pivot}`)}`);
      const before = {
        hash: await hash(p), selected: await selected(p), width: await width(p), x0: await p.eval(`${app}.window().x0`),
        node: await p.eval(`${app}.view.selected ? ${app}.view.selected.node : -1`)
      };
      if (then) await then(p);
      await p.eval('document.getElementById("graph").focus()');
      const code = /^Code:(.*)/.exec(key), [, ctrl, alt, shift, plain] = /^(Ctrl\+)?(Alt\+)?(Shift\+)?(.+)$/.exec(key);
      if (code)
        await p.key(CODES[code[1]], { code: code[1] });
      else
        await p.key(plain, { modifiers: (alt ? 1 : 0) | (ctrl ? 2 : 0) | (shift || /^[A-Z]$/.test(plain) ? 8 : 0) });
      await p.settle();
      assert(await came(p, before), `${key}: ${before.hash} led to ${await hash(p)}, ${await selected(p)}`);
      await p.eval('document.getElementById("dialog").close(); document.getElementById("menu").hidden = true');
    }
    equal(p.errors.join("; "), "", "errors");
    await p.close();
  },
  async rows_of_the_table_by_mouse_and_by_keys() {
    const stacks = stacksOf("small"), p = await open("small");
    const rows = async (by) => {
      await go(p, "#v=1");
      await p.eval(`(() => { const s = document.querySelector("#pane-functions select"); s.value = "${by}"; s.dispatchEvent(new Event("change")); })()`);
      await p.settle();
      return p.eval(`${app}.table.rows(99).map((r) => [r.name, r.total])`);
    };
    // Focus on the first row, by keys from the head of the table.
    const press = async (key, options) => {
      await p.eval('document.querySelector("#pane-functions tr.row").focus()');
      await p.key(key, options);
      await p.settle();
    };
    for (const by of ["function", "file", "module", "origin", "process", "name", "thread", "container"]) {
      const [[name, of]] = await rows(by);
      await press("Enter", { modifiers: 8 });
      equal(await total(p), of, `Shift+Enter keeps what ${name} has (${by})`);
      await rows(by);
      await press("k");
      equal(await total(p), of, `k keeps it (${by})`);
      await rows(by);
      await press("x");
      equal(await total(p), sum(stacks) - of, `x drops it (${by})`);
      await rows(by);
      await p.eval('document.querySelector("#pane-functions tr.row").dispatchEvent(new MouseEvent("contextmenu", { bubbles: true, cancelable: true, clientX: 900, clientY: 200 }))');
      assert(await menuOpen(p), `a menu (${by})`);
      await p.key("ArrowDown");
      await p.key("Escape");
      assert(await p.eval('document.activeElement.matches("#pane-functions tr.row")'), `focus returns to the row (${by})`);
      await p.eval('document.querySelector("#pane-functions tr.row").dispatchEvent(new MouseEvent("contextmenu", { bubbles: true, cancelable: true, clientX: 900, clientY: 200 }))');
      await p.eval('[...document.querySelectorAll("#menu button")].find((b) => b.textContent.startsWith("Keep stacks")).click()');
      await p.settle();
      equal(await total(p), of, `its menu keeps it (${by})`);
    }
    // Functions: a click selects, Enter and a double click pivot, other letters are of the row and not of the graph.
    const [, [second]] = await rows("function");
    await p.eval('document.querySelectorAll("#pane-functions tr.row")[1].click()');
    await p.settle();
    equal(await selected(p), second, "a click selects");
    assert(await p.eval('!document.getElementById("pane-functions").hidden'), "and the table stays");
    const [[first]] = await rows("function");
    await clickFrame(p, "main", { modifiers: 8 });
    await p.eval('document.getElementById("tab-functions").click()');
    await press("m");
    assert((await hash(p)).includes(`f=m~=${first}`), `m folds the row's function: ${await hash(p)}`);
    await rows("function");
    await press("ArrowDown");
    assert(await p.eval('document.activeElement.dataset.at') === "1", "arrows move");
    await p.key("End");
    await p.settle();
    equal(Number(await p.eval('document.activeElement.dataset.at')), (await rows("function")).length - 1, "End");
    await press("Enter");
    assert((await hash(p)).includes("p="), "Enter pivots");
    await p.eval('document.querySelector("#chips button").click()');
    assert(await menuOpen(p), "the pivot's chip offers others");
    await p.key("ArrowDown");
    await p.key("Enter");
    await p.settle();
    equal(await p.eval(`${app}.model.rawName(${app}.view.pivot)`), (await p.eval(`${app}.table.hottestOf(2).map(([i]) => ${app}.model.rawName(i))`))[1], "another pivot");
    await p.eval('document.querySelector("#chips button:last-child").click()');
    await p.settle();
    equal(await hash(p), "#v=1", "the chip's cross leads back to the whole");
    // By filter or zoom: shares are of what is seen, and the table says of what.
    await go(p, "#v=1&x=p.%3Dnginx");
    const part = stacks.filter((s) => s.process.startsWith("nginx/"));
    const text = await p.eval('document.getElementById("pane-functions").textContent');
    assert(text.includes("shares of what the filters left"), text.slice(0, 200));
    const hot = await p.eval(`${app}.table.rows(1)[0].name`), self = sum(part, (s) => s.frames.at(-1) === hot);
    const cell = await p.eval('document.querySelector("#pane-functions tr.row td.num").textContent');
    equal(cell, `${(100 * self / sum(part)).toPrecision(3)} %`, "of the process");
    // Sorted by every column, both ways.
    for (const [column, at] of [["Self", "self"], ["Total", "total"], ["Function", "name"]]) {
      const click = () => p.eval(`[...document.querySelectorAll("#pane-functions th button")].find((b) => b.textContent.startsWith("${column}")).click()`);
      await go(p, "#v=1&t=frames");
      await click();
      await p.settle();
      const down = await p.eval(`${app}.table.rows(99).map((r) => r.${at})`), order = (a, b) => a < b ? -1 : a > b ? 1 : 0;
      equal(JSON.stringify(down), JSON.stringify(down.slice().sort((a, b) => order(b, a))), `${column}, largest first`);
      equal(await p.eval('document.querySelector("#pane-functions th[aria-sort=descending]").textContent.trim().split(" ")[0]'), column, "aria-sort");
      await click();
      await p.settle();
      equal(JSON.stringify(await p.eval(`${app}.table.rows(99).map((r) => r.${at})`)), JSON.stringify(down.slice().sort(order)), `${column}, least first`);
    }
    equal(p.errors.join("; "), "", "errors");
    await p.close();
  },
  async filters_are_chips_that_can_be_edited() {
    const stacks = stacksOf("small"), p = await open("small"), has = (name) => (s) => s.frames.includes(name);
    const press = async (key) => {
      await p.key(key);
      await p.settle();
    };
    await p.eval('document.getElementById("b-filter").click()');
    await p.type("=beta");
    await press("Enter");
    equal(await total(p), sum(stacks, has("beta")), "typed into the dialog");
    await p.eval('document.querySelector("#chips .chip button").click()');
    equal(await p.eval('document.querySelector("#dialog input").value'), "=beta", "the chip brings it back");
    await p.eval('document.querySelector("#dialog select").value = "d"');
    await press("Enter");
    equal(await total(p), sum(stacks) - sum(stacks, has("beta")), "with another verb");
    await p.eval('document.getElementById("b-filter").click()');
    await p.eval('[...document.querySelectorAll("#dialog .buttons button")].find((b) => b.textContent === "fold C library").click()');
    await p.settle();
    equal(await p.eval('document.querySelectorAll("#chips .chip").length'), 2, "a ready made one beside it");
    await p.eval('document.getElementById("graph").focus()');
    await press("z");
    await press("z");
    equal(await total(p), sum(stacks), "undone, one after the other");
    await p.back();
    assert((await hash(p)).includes("f=d~=beta"), "and Back undoes that");
    await p.until('/of all samples left/.test(document.getElementById("live").textContent)');
    equal(p.errors.join("; "), "", "errors");
    await p.close();
  },
  async the_header_says_what_is_lost_and_the_search_what_it_found() {
    const low = await open("deep"), said = (id) => low.eval(`document.getElementById("${id}").textContent`);
    assert(/^! \d\d\.\d % whole/.test(await said("ledger-words")) && await low.eval('document.getElementById("ledger-words").className') === "warn", await said("ledger-words"));
    await low.move(100, await low.eval('document.getElementById("graph").getBoundingClientRect().top + 8'));
    await low.settle();
    assert((await said("status")).includes("share of recorded samples"), await said("status"));
    await low.close();
    const p = await open("small"), text = (id) => p.eval(`document.getElementById("${id}").textContent`);
    await p.eval('document.getElementById("ledger-bar").click()');
    assert(await p.eval('!document.getElementById("pane-ledger").hidden'), "a click opens the sums");
    const cells = await p.eval('[...document.querySelector("#pane-ledger table").rows].slice(1).map((r) => [r.cells[0].textContent, Number(r.cells[1].textContent.replace(/\\D/g, ""))])');
    const [[, expected], ...parts] = cells;
    equal(parts.reduce((s, [, v]) => s + v, 0), expected, `expected = ${parts.map(([k]) => k).join(" + ")}`);
    const search = async (q) => {
      await p.eval('document.getElementById("search").focus(); document.getElementById("search").select()');
      await p.raw("Input.insertText", { text: q });
      await p.settle();
    };
    await search("BETA");
    const found = await text("q-count");
    assert(/^\d+ · /.test(found), found);
    await p.key("Enter");
    await p.settle();
    assert((await text("q-count")).startsWith("1/"), await text("q-count"));
    await p.eval('document.getElementById("q-case").click()');
    await p.settle();
    equal(await text("q-count"), "no match", "Aa");
    await p.eval('document.getElementById("q-case").click(); document.getElementById("q-regex").click()');
    await search("^b.ta$");
    equal(await text("q-count"), found, ".*");
    await p.until(`document.getElementById("live").textContent === ${JSON.stringify(found)}`);
    await p.close();
    const one = await open("one");
    await one.move(100, await one.eval('document.getElementById("graph").getBoundingClientRect().top + 8'));
    await one.settle();
    assert(/±\d+ points/.test(await one.eval('document.getElementById("status").textContent')), "few samples: the error");
    await one.close();
  },
  async two_fingers_zoom() {
    const p = await open("small", "", { size: [390, 844], scale: 2 });
    await p.call("Emulation.setTouchEmulationEnabled", { enabled: true, maxTouchPoints: 2 });
    const y = await p.eval('document.getElementById("graph").getBoundingClientRect().top + 60'), whole = await width(p);
    const touch = (type, ...xs) => p.call("Input.dispatchTouchEvent", { type, touchPoints: xs.map((x, id) => ({ x, y, id })) });
    await touch("touchStart", 150, 210);
    for (const d of [10, 30, 60]) await touch("touchMove", 150 - d, 210 + d);
    await touch("touchEnd");
    await p.settle();
    const zoomed = await width(p);
    assert(zoomed < whole * 0.6 && (await hash(p)).includes("a="), `apart: ${zoomed} of ${whole}`);
    assert(!(await hash(p)).includes("z="), "and no tap");
    await touch("touchStart", 200);
    for (const x of [180, 150, 100]) await touch("touchMove", x);
    await touch("touchEnd");
    await p.settle();
    assert(Math.abs(await width(p) - zoomed) < 1e-4 * whole, `one finger pans: ${await width(p)} of ${whole}, ${zoomed} before`); // the address holds millionths
    await p.close();
  },
  async addresses_that_nobody_of_ours_wrote() {
    const all = sum(stacksOf("small")), p = await open("small");
    const long = "a".repeat(60000), alive = async (h) => {
      equal(p.errors.join("; "), "", `errors of ${h.slice(0, 80)}`);
      await go(p, "#v=1");
      equal(await total(p), all, `after ${h.slice(0, 80)}`);
    };
    const noticed = ["v=2", "y=sideways", "a=9,1", "a=1,2,3", "tr=700,700", "t=__proto__", "t=constructor-", "n=0", "n=-1", "n=1e9", "u=-1", "u=42", "w=%",
      "q=%E0%A4%A", "z=..%2F..", "z=zz.zz", "s=^^", "p=zzzz", "f=k~", "f=q~x", "f=k~/(/", "x=y.1", "r=3", "l=2", "g=c,,p", "d=", "o=x", "c=zz", "v2=C"];
    for (const h of noticed) {
      await go(p, `#v=1&${h}`);
      assert((await p.eval('document.getElementById("notices").textContent')).length > 10, `${h} is said to be unreadable`);
      await alive(h);
    }
    for (const h of ["", "#", "#&&&", "#v=1&=", "#=1", "#__proto__=1&constructor=2", `#q=${long}`, `#z=${long}`, `#zz=${long}`, `#f=k~${long}`,
           `#p=${"z".repeat(5000)}`, "#z=9999999~a", `#z=${"1.".repeat(4000)}`, `#f=${Array(300).fill("m~zzz").join(",")}`, "#x=p.1.1,t.=,c.%252c,o.nothing",
           "#q=%3Cimg%20src=x%20onerror=window.pwned=1%3E&f=k~%3Cscript%3E", "#a=0,999999999999", "#tr=0,999999999999", "#z=^&s=^", "#w=s", "#p=&w=s"]) {
      await go(p, h || "#");
      await alive(h);
    }
    equal(await p.eval("typeof window.pwned"), "undefined", "nothing ran");
    await go(p, "#v=1&later=1&y=f");
    await p.eval('document.getElementById("graph").focus()');
    await p.key("f");
    await p.settle();
    equal(await hash(p), "#v=1&later=1", "what a later version wrote is kept");
    await p.close();
  },
  async the_table_alone_and_back_by_mouse() {
    const p = await open("small", "#v=1&w=t"), seen = (id) => p.eval(`document.getElementById("${id}").offsetHeight > 0`);
    assert(!await seen("graph") && await seen("pane-functions"), "a link to the table");
    const downloads = await downloadsOf("alone");
    for (const [i, kind] of ["png", "svg"].entries()) {
      await p.eval(`${app}.commands.exportMenu()`);
      await p.eval(`document.querySelectorAll("#menu button")[${i}].click()`);
      const data = readFileSync(await downloads.file(i));
      if (kind === "png")
        assert(decodePng(data).width === 1200, "a picture of the graph all the same");
      else
        assert(data.toString().includes(">alpha<"), "and as SVG");
    }
    await p.eval('document.getElementById("b-alone").click()');
    await p.settle();
    assert(await seen("graph") && (await hash(p)) === "#v=1", "the button brings the graph");
    await p.eval('document.getElementById("b-alone").click()');
    await p.settle();
    equal(await hash(p), "#v=1&w=t", "and takes it away");
    equal(p.errors.join("; "), "", "errors");
    await p.close();
  },
  // Nothing lies over anything else, and nothing outside of the screen.
  async every_part_has_its_place_on_every_screen() {
    const crowd = `(() => {
      const seen = [...document.querySelectorAll("#head > *, #toolbar button, #toolbar select, #toolbar input, #tabs button, #status")].filter((e) => e.getClientRects().length), out = [];
      const box = (e) => { const r = e.getBoundingClientRect(), g = e.closest(".group"), c = g ? g.getBoundingClientRect() : r; return [Math.max(r.left, c.left), r.top, Math.min(r.right, c.right), r.bottom]; };
      for (const [i, e] of seen.entries()) {
        const a = box(e), what = e.id || e.textContent;
        if (a[3] > innerHeight + 1 || a[2] > innerWidth + 1 || a[0] < -1) out.push(what + " outside: " + a.map(Math.round));
        for (const f of seen.slice(i + 1)) {
          const b = box(f);
          if (Math.min(a[2], b[2]) - Math.max(a[0], b[0]) > 1 && Math.min(a[3], b[3]) - Math.max(a[1], b[1]) > 1 && !e.contains(f)) out.push(what + " over " + (f.id || f.textContent));
        }
      }
      if (document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight) out.push("the page scrolls: " + document.documentElement.scrollWidth + " x " + document.documentElement.scrollHeight);
      if (document.getElementById("graph").clientHeight < 60) out.push("no room for the graph");
      return out.join("; ");
    })()`;
    for (const [kind, size, touch] of [["deep", [1280, 800]], ["deep", [820, 1180], true], ["deep", [390, 844], true], ["deep", [300, 600]], ["tiny", [300, 600]], ["compare", [390, 844], true]]) {
      const p = await open(kind, "#v=1&q=a", { size, scale: touch ? 2 : 1 });
      if (touch) {
        await p.call("Emulation.setTouchEmulationEnabled", { enabled: true });
        await p.settle();
      }
      equal(await p.eval(crowd), "", `${kind} at ${size}`);
      await p.png(join(pictures, `screen-${size[0]}-${kind}.png`));
      await p.close();
    }
  },
};
