// SPDX-License-Identifier: Apache-2.0
// toolbar.js -- buttons, selects, tabs and theme: what they show and what they change.

import {byId, fill, options} from "./dom.js";
import {defaultLevels} from "./view.js";
import {keyOf, listen} from "./input.js";
import {menuBelow} from "./panel.js";
import {preparePrint} from "./export.js";

// "value words|value words" -> [[value, words]]
const choices = (text) => text.split("|").map((c) => [c.slice(0, c.indexOf(" ")), c.slice(c.indexOf(" ") + 1)]);

// Selects s-...: [what there is to choose, what is chosen, what choosing does], of (app, state or value).
const SELECTS = {
  order: [
    ({ model }) => choices(`n name|w weight${model.times ? "|t time" : ""}`), (_, s) => s.d === "b" ? "w" : s.o,
    (app, o) => app.commands.orderBy(o)
  ],
  group: [
    (_, { g }) => {
      const all = choices("- nothing|n process name|p process|t thread|c container|n,t name, thread|p,t process, thread|" +
                          "c,n container, name|c,p container, process|c,p,t container, process, thread");
      const words = { c: "container", n: "name", p: "process", t: "thread" };
      if (g && !all.some(([v]) => v === g)) all.push([g, g.split(",").map((k) => words[k]).join(", ")]);
      return all;
    },
    ({ model }, s) => s.g || defaultLevels(model),
    ({ store, model }, v) => store.anew({ g: v === defaultLevels(model) ? "" : v })
  ],
  color: [() => choices("o origin|m module|h heat (self)|d plain"), (_, s) => s.c, ({ store }, c) => store.change({ c })],
  recursion: [
    () => choices("0 as it is|1 repeats as one|2 cycles as one|l chains as one"), (_, s) => s.l ? "l" : s.r,
    ({ store }, v) => store.anew(v === "l" ? { r: "0", l: "1" } : { r: v, l: "" })
  ],
  value: [
    (app) => app.formats.map((_, i) => [String(i), app.valueName(i)]), (_, s) => s.u, ({ store }, u) => store.push({ u })
  ],
  width: [() => choices("m the larger|A A|B B"), (_, s) => s.v2, ({ store }, v2) => store.push({ v2 })],
  norm: [
    (_, s) => choices(`total by total|dur by duration|none as counted${Number(s.n) ? `|${s.n} B × ${s.n}` : ""}`),
    (_, s) => s.n, ({ store }, n) => store.push({ n })
  ],
};

// What has a key says so; the key stands in one list (input.js).
const KEYED = {
  "b-flip": "flip", "b-callers": "callersFirst", "b-reset": "whole", "b-export": "exportMenu", "b-help": "help",
  "s-order": "nextOrder", "s-color": "nextColor", "s-recursion": "nextRecursion", "q-prev": "match", "q-next": "match"
};

export function showToolbar(app, state) {
  const { model } = app;
  fill(byId("b-flip"), `⇅ ${state.y === "f" ? "Flame" : "Icicle"}`);
  byId("b-callers").setAttribute("aria-pressed", state.d === "b");
  for (const [id, [all, now]] of Object.entries(SELECTS)) options(byId(`s-${id}`), all(app, state), now(app, state));
  byId("s-order").disabled = state.d === "b";
  byId("l-value").hidden = model.compare || app.formats.length < 2;
  byId("l-color").hidden = model.compare || app.view.signed;
  byId("l-width").hidden = byId("l-norm").hidden = !model.compare;
  fill(byId("b-alone"), state.w === "t" ? "With the graph" : "Alone");
  byId("b-alone").title = state.w === "t" ? `The graph beside it (1)` : `This panel alone (3)`;
  byId("b-reset").disabled = !state.z && !state.a;
  byId("q-case").setAttribute("aria-pressed", state.qf.includes("i"));
  byId("q-regex").setAttribute("aria-pressed", state.qf.includes("r"));
}

// On a screen as narrow as a telephone the graph is a tab of its own.
const narrow = () => matchMedia("(max-width: 600px)");
const TABS = ["graph", "functions", "details", "ledger"];

export function showTab(app, name) {
  if (name === "graph" && !narrow().matches) name = "functions";
  byId("app").dataset.tab = name;
  for (const k of TABS) {
    byId(`tab-${k}`).setAttribute("aria-selected", k === name);
    byId(`tab-${k}`).tabIndex = k === name ? 0 : -1;
    if (k !== "graph") byId(`pane-${k}`).hidden = k !== name;
  }
  if (name === "functions") app.table.repaint();
}

export const showDetailsTab = (app) => narrow().matches || showTab(app, "details");
export const showGraphTab = (app) => narrow().matches && showTab(app, "graph");

export function setTheme(app) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const want = app.prefs.get("theme", "");
  app.theme = want || (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = app.theme;
}

export function wire(app) {
  const { store, prefs, model, signal } = app, graph = byId("graph");
  const c = app.commands, on = (id, f) => byId(id).addEventListener("click", f);
  for (const [id, command] of Object.entries(KEYED)) {
    const e = byId(id), [keys, text] = keyOf(command);
    e.title = `${e.title || text} (${keys})`;
  }
  on("b-alone", () => store.push({ w: store.get().w === "t" ? "g" : "t" }));
  on("b-flip", c.flip);
  on("b-callers", c.callersFirst);
  on("b-filter", () => c.editFilter());
  on("rows", () => c.ends({ key: "End" }));
  on("b-reset", c.whole);
  on("b-export", c.exportMenu);
  byId("b-compare").hidden = model.compare;
  on("b-compare", () => byId("compare-file").click());
  byId("compare-file").addEventListener("change", (e) => e.target.files.length && app.compareWith(e.target.files[0]));
  on("b-help", c.help);
  // Kept on this machine, not in the address: how it looks is nobody else's business.
  on("b-theme", () => {
    const entry = (key, value, otherwise, text) => ({
      text: `${prefs.get(key, otherwise) === value ? "● " : "○ "}${text}`,
      run() {
        prefs.set(key, value);
        setTheme(app);
        app.table.repaint();
        app.resize();
      }
    });
    menuBelow(
        [
          entry("theme", "", "", "Colours as the system has them"), entry("theme", "light", "", "Light"),
          entry("theme", "dark", "", "Dark"), "-", entry("font", 0, 0, "Labels of 12 px"),
          entry("font", 2, 0, "Labels of 14 px"), "-", entry("row", 0, 0, "Rows to fit mouse or finger"),
          entry("row", 18, 0, "Rows of 18 px"), entry("row", 24, 0, "Rows of 24 px")
        ],
        byId("b-theme"));
  });
  on("ledger-bar", () => showTab(app, "ledger"));
  on("q-prev", () => c.match({ key: "N" }));
  on("q-next", () => c.match({ key: "n" }));
  for (const [id, flag] of [["q-case", "i"], ["q-regex", "r"]])
    on(id, () => {
      const { qf } = store.get();
      store.change({ qf: [..."ir"].filter((f) => qf.includes(f) !== (f === flag)).join("") });
    });
  for (const [id, [, , set]] of Object.entries(SELECTS)) {
    const select = byId(`s-${id}`);
    select.addEventListener("change", () => set(app, select.value));
  }
  byId("search").addEventListener("input", () => {
    app.matchAt = "";
    store.change({ q: byId("search").value });
  });
  byId("search").addEventListener("keydown", (e) => {
    if (e.key === "Enter")
      c.match({ key: e.shiftKey ? "N" : "n" });
    else if (e.key === "Escape") {
      if (store.get().q) store.change({ q: "" });
      graph.focus();
    } else
      return;
    e.preventDefault();
  });
  for (const name of TABS) on(`tab-${name}`, () => showTab(app, name));
  narrow().addEventListener("change", (e) => showTab(app, e.matches ? "graph" : "functions"), { signal });
  byId("tabs").addEventListener("keydown", (e) => {
    const tabs = narrow().matches ? TABS : TABS.slice(1), at = tabs.indexOf(byId("app").dataset.tab),
          step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step) return;
    const to = tabs[(at + step + tabs.length) % tabs.length];
    showTab(app, to);
    byId(`tab-${to}`).focus();
  });
  for (const event of ["popstate", "hashchange"]) addEventListener(event, () => store.reload(), { signal });
  addEventListener("beforeprint", () => preparePrint(app), { signal });
  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "(pointer: coarse)"])
    matchMedia(query).addEventListener("change", () => {
      setTheme(app);
      app.resize();
    }, { signal });
  const observer = new ResizeObserver(() => app.frame("resize", () => app.sizeNow() !== app.drawnSize && app.resize()));
  observer.observe(byId("left"));
  signal.addEventListener("abort", () => observer.disconnect());
  listen(app);
}
