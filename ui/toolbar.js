// SPDX-License-Identifier: Apache-2.0
// toolbar.js -- buttons, selects, tabs and theme: what they show and what they change.

import {byId, fill, options} from "./dom.js";
import {defaultLevels} from "./view.js";
import {listen} from "./input.js";
import {openMenu} from "./panel.js";
import {preparePrint} from "./export.js";

export function showToolbar(app, state) {
  const { model } = app;
  const flame = state.y === "f";
  fill(byId("b-flip"), flame ? "Flame" : "Icicle");
  byId("b-flip").title = "Flip: root on top (icicle) or at the bottom (flame) (f)";
  fill(byId("b-callers"), "Callers first");
  byId("b-callers").title = "Merge by callers: leaves at the root (b)";
  byId("b-callers").setAttribute("aria-pressed", state.d === "b");
  options(byId("s-order"), [["n", "name"], ["w", "weight"], ...(model.times ? [["t", "time"]] : [])],
      state.d === "b" ? "w" : state.o);
  byId("s-order").disabled = state.d === "b";
  options(byId("s-group"),
      [
        ["-", "nothing"], ["n", "process name"], ["p", "process"], ["n,t", "name, thread"],
        ["p,t", "process, thread"], ["c,n", "container, name"], ["c,p", "container, process"],
        ["c,p,t", "container, process, thread"]
      ],
      state.g || defaultLevels(model));
  options(byId("s-color"), [["o", "origin"], ["m", "module"], ["h", "heat (self)"], ["d", "plain"]], state.c);
  options(byId("s-recursion"),
      [["0", "as it is"], ["1", "repeats as one"], ["2", "cycles as one"], ["l", "chains as one"]],
      state.l ? "l" : state.r);
  byId("l-value").hidden = model.compare || app.formats.length < 2;
  options(byId("s-value"), app.formats.map((_, i) => [String(i), app.valueName(i)]), state.u);
  byId("l-color").hidden = model.compare || app.view.signed;
  byId("l-width").hidden = byId("l-norm").hidden = !model.compare;
  options(byId("s-width"), [["m", "the larger"], ["A", "A"], ["B", "B"]], state.v2);
  const norms = [["total", "by total"], ["dur", "by duration"], ["none", "as counted"]];
  if (Number(state.n)) norms.push([state.n, `B × ${state.n}`]);
  options(byId("s-norm"), norms, state.n);
  fill(byId("b-reset"), "Whole");
  byId("b-reset").title = "Zoom out to everything (0)";
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

export function setTheme(app) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const want = app.prefs.get("theme", "");
  app.theme = want || (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = app.theme;
}

export function wire(app) {
  const { store, prefs, model, signal } = app, graph = byId("graph");
  const push = (patch) => store.change(patch, { push: true });
  const c = app.commands, on = (id, f) => byId(id).addEventListener("click", f),
        changed = (id, f) => byId(id).addEventListener("change", () => f(byId(id).value));
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
    const box = byId("b-theme").getBoundingClientRect();
    const entry = (key, value, otherwise, text) => ({
      text: `${prefs.get(key, otherwise) === value ? "● " : "○ "}${text}`,
      run() {
        prefs.set(key, value);
        setTheme(app);
        app.table.repaint();
        app.resize();
      }
    });
    openMenu(
        [
          entry("theme", "", "", "Colours as the system has them"), entry("theme", "light", "", "Light"),
          entry("theme", "dark", "", "Dark"), "-", entry("font", 0, 0, "Labels of 12 px"),
          entry("font", 2, 0, "Labels of 14 px"), "-", entry("row", 0, 0, "Rows to fit mouse or finger"),
          entry("row", 18, 0, "Rows of 18 px"), entry("row", 24, 0, "Rows of 24 px")
        ],
        box.left, box.bottom, byId("b-theme"));
  });
  on("ledger-bar", () => showTab(app, "ledger"));
  on("q-prev", () => c.match({ key: "N" }));
  on("q-next", () => c.match({ key: "n" }));
  for (const [id, flag] of [["q-case", "i"], ["q-regex", "r"]])
    on(id, () => {
      const has = store.get().qf.includes(flag);
      const set = new Set([...store.get().qf].filter((f) => f !== flag));
      if (!has) set.add(flag);
      store.change({ qf: ["i", "r"].filter((f) => set.has(f)).join("") });
    });
  changed("s-order", c.orderBy);
  changed("s-group", (v) => push({ g: v === defaultLevels(model) ? "" : v, z: "", a: "", s: "" }));
  changed("s-color", (v) => store.change({ c: v }));
  changed(
      "s-recursion", (v) => push({ r: v === "l" ? "0" : v, l: v === "l" ? "1" : "", z: "", a: "", s: "" }));
  changed("s-value", (v) => push({ u: v }));
  changed("s-width", (v) => push({ v2: v }));
  changed("s-norm", (v) => push({ n: v }));
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
  const observer = new ResizeObserver(() => app.frame("resize", app.resize));
  observer.observe(byId("left"));
  signal.addEventListener("abort", () => observer.disconnect());
  listen(app);
}
