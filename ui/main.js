// SPDX-License-Identifier: Apache-2.0
// main.js -- boot: read the container, wire state, view, drawing and panels; say what went wrong.

import {byId, el} from "./dom.js";
import {fromBase64, inflate, parseSteps} from "./model.js";
import {clip, count, percent, valueFormat, visible} from "./format.js";
import {coveredNodes} from "./transform.js";
import {originOf} from "./color.js";
import {findItems, matchedInverted, matchedSum, ticks} from "./search.js";
import {createStore, DEFAULTS, encodeHash} from "./state.js";
import {createViewer} from "./view.js";
import {containerText, union} from "./compare.js";
import {pageOf} from "./pack.js";
import {save} from "./export.js";
import {createRenderer} from "./render.js";
import {createTable} from "./table.js";
import {addCamera} from "./camera.js";
import {createStrip} from "./strip.js";
import {foldedWords, notice, showChips, showHeader, showLedger, showLegend, showNothing, showStatus} from "./panel.js";
import {showDetails} from "./details.js";
import {createAccess} from "./access.js";
import {setTheme, showDetailsTab, showTab, showToolbar, wire} from "./toolbar.js";
import {addCommands, HINT} from "./commands.js";

const TINY = 100;
const SETTLE_MS = 60;
const CARRIED = ["y", "q", "qf", "f", "p", "w", "d"]; // what of a view outlives the step to a comparison
const ROUND = ["w", "x", "f", "tr", "g", "r", "l", "u", "p", "d", "n"]; // what chips and legend depend on

function preferences() {
  const known = {};
  try {
    Object.assign(known, JSON.parse(localStorage.getItem("gprofiler") || "{}"));
  } catch { /* a page without storage has no preferences */
  }
  return {
    get: (k, otherwise) => known[k] === undefined ? otherwise : known[k],
    set(k, v) {
      known[k] = v;
      try {
        localStorage.setItem("gprofiler", JSON.stringify(known));
      } catch { /* the same */
      }
    },
  };
}

function fail(error) {
  const box = byId("failure");
  box.hidden = false;
  box.textContent = `The graph cannot be shown: ${
      error.message}. The table below was written with the file and needs none of it.`;
  byId("app").hidden = true;
}

// The page's address. Replacing it takes milliseconds, so it waits until keys have stopped; one who
// goes elsewhere meanwhile goes there.
function address(signal) {
  let timer = 0, waiting = null, from = "";
  const settle = () => {
    clearTimeout(timer);
    if (waiting !== null && location.hash === from) history.replaceState(history.state, "", waiting);
    waiting = null;
  };
  addEventListener("pagehide", settle, { signal });
  signal.addEventListener("abort", settle);
  return {
    settle,
    hash() {
      waiting = null;
      return location.hash;
    },
    push(h) {
      settle();
      history.pushState({ gprofiler: true }, "", h);
    },
    replace(h) {
      clearTimeout(timer);
      if (waiting === null) from = location.hash;
      waiting = h;
      timer = setTimeout(settle, SETTLE_MS);
    },
  };
}

// Until signal is aborted: a comparison takes the place of what was compared.
export function start(model, signal) {
  const graph = byId("graph"), prefs = preferences();
  const host = address(signal), store = createStore(host, (text) => notice(text, "hash"));
  const app = { model, store, prefs, signal, commands: {}, wholeShare: 1, idleStatus: HINT };
  app.link = () => {
    host.settle();
    return location.href;
  };
  app.viewer = createViewer(model);
  const formats = app.formats =
      model.tree.self.map((_, u) => valueFormat((model.meta.values || [])[u], model.nsPerSample));
  app.marks = { hover: null, selected: null, run: null };
  const pendingFrames = new Map();

  app.format = (u) => formats[u] || formats[0] || valueFormat(null, 0);
  app.valueName = (u) => ((model.meta.values || [])[u] || {}).name || "value";
  app.renderer = createRenderer(model, byId("boxes"), byId("overlay"), byId("overview"));
  app.path = app.viewer.path;
  app.hashOf = app.viewer.hashOf;
  app.swatch = (item) => {
    const o = originOf(model.origin(item));
    return el("span", { class: `swatch sign-${o.sign || "none"}`, color: o[app.theme], title: o.word });
  };
  app.share = (v, column) => model.compare && (column === "a" || column === "b")
                                 ? percent(v, model.tree.total[column === "a" ? 0 : 1][0])
                                 : percent(v, app.view.all);
  app.frame = (name, f) => {
    if (!pendingFrames.has(name))
      requestAnimationFrame(() => {
        const run = pendingFrames.get(name);
        pendingFrames.delete(name);
        if (!signal.aborted) run();
      });
    pendingFrames.set(name, f);
  };

  addCamera(app);
  addCommands(app);
  app.strip = createStrip(app);

  // A flame grows from its foot: that is what stays in place.
  app.resize = () => {
    const foot =
        app.view.panes[0].up && graph.scrollHeight - graph.scrollTop - (app.height || graph.clientHeight);
    update(store.get(), {...store.get(), w: "" }); // everything anew
    if (app.view.panes[0].up) {
      graph.scrollTop = graph.scrollHeight - graph.clientHeight - foot;
      app.draw();
    }
  };

  function update(state, before) {
    if (signal.aborted) return;
    app.view = app.viewer.derive(state, app.pixels, !app.ready);
    const { view } = app;
    byId("app").dataset.view = state.w;
    showNothing(app);
    if ((!app.ready && !view.glance) || [...ROUND, "q", "qf"].some((k) => state[k] !== before[k])) app.frame("strip", app.strip.draw);
    byId("spacer").style.height = `${view.rows * app.rowHeight()}px`;
    for (const k of ["hover", "run"]) app.marks[k] = null;
    find(state);
    const shape = state.d !== before.d || state.y !== before.y || state.p !== before.p;
    if (!app.ready || Object.keys(state).some((k) => k !== "q" && state[k] !== before[k]))
      showToolbar(app, state);
    if (!app.ready || ROUND.some((k) => state[k] !== before[k])) {
      showChips(app);
      showLegend(app);
    }
    if (shape || !app.ready)
      graph.scrollTop = view.pivotRow ? Math.max(0, view.pivotRow * app.rowHeight() - graph.clientHeight / 2)
                        : view.panes[0].up ? view.rows * app.rowHeight()
                                           : 0;
    const at = state.z !== before.z || !app.ready ? view.zoom : null;
    if (at && at.node > 0) app.scrollTo(at, 3);
    const chosen = state.s !== before.s || !app.ready ? view.selected : null;
    if (chosen) app.scrollTo(chosen, 1);
    app.glide(view.window);
    showFound(state);
    if (["s", "z", ...ROUND].some((k) => state[k] !== before[k]) || shape) app.detailed = false;
    if (state.s !== before.s && state.s && !app.fromTable) showDetailsTab(app);
    // The picture first; what is read after it may wait for the next frame. So may what is too narrow for a first one.
    if (view.glance)
      app.frame("whole", () => setTimeout(app.resize));
    else
      app.atRest(words);
    notice(view.missing.length
               ? `The ${view.missing.join(" and ")} of this link is not in this profile or not in this view.`
               : "",
        "missing");
    notice(view.bad.length ? `A filter could not be read: ${view.bad.join("; ")}` : "", "filter");
    if (state.f !== before.f || state.x !== before.x || state.tr !== before.tr)
      app.access.say(`${percent(view.base.total[view.u][0], view.all)} of all samples left`);
    showStatus(app, null);
  }

  // One in a frame.
  function words() {
    if (!app.detailed) {
      app.detailed = true;
      showDetails(app);
      app.atRest(words, 0);
      return;
    }
    app.table.update();
    app.fromTable = false;
    app.atRest(app.access.update, 0);
  }

  function find(state) {
    const found = app.search = findItems(model, state.q, state.qf, app.search), { lay } = app.view.panes[0];
    app.tickColumns = found && found.bits && lay.whole ? ticks(lay, found, Math.floor(app.pixels())) : null;
  }

  // After the picture: words change the layout of the page, and the picture asks for it.
  function showFound(state) {
    const { view, search: found } = app, box = byId("search"), words = byId("q-count");
    if (box.value !== state.q) box.value = state.q;
    box.setAttribute("aria-invalid", found && found.error ? "true" : "false");
    words.className = found && found.error ? "bad" : "";
    if (!found || found.error) {
      words.textContent = found ? found.error : "";
      return;
    }
    const { lay: { tree } } = view.panes[0], { u } = view;
    let part;
    if (view.turned) {
      part = matchedInverted(
          tree, u, found.bits, coveredNodes(view.base, found.bits), view.zoom ? view.zoom.node : 0);
    } else {
      const z = view.zoom && !view.zoom.pane.mark ? view.zoom.node : 0;
      part = matchedSum(tree, tree.total[u], found, z, tree.end[z]);
      if (!z && tree.item[0] >= 0 && found.bits[tree.item[0]]) part.sum = tree.total[u][0];
    }
    // Whatever the grouping, a view of all stacks with all their frames has the share of all.
    const asAll = !view.turned && !view.zoom && view.pivot < 0 && !state.x && !state.f && !state.tr && state.r === "0" &&
                  !state.l && !found.bits.includes(1, model.fun.n);
    const whole = asAll ? part : matchedSum(model.tree, model.tree.total[u], found);
    Object.assign(found, { share: part.sum, ofAll: whole.sum, frames: part.frames });
    const where = app.matchAt ? `${app.matchAt}/` : "";
    words.textContent = found.functions && !part.frames && whole.sum ? `none in view · ${percent(whole.sum, view.all)} of all`
                        : found.functions && whole.sum
                            ? `${where}${count(part.frames)} · ${percent(part.sum, view.viewSum)} of view · ${
                                  percent(whole.sum, view.all)} of all`
                            : "no match";
    words.title = `${count(found.functions)} functions, ${
        count(part.frames)} frames; each stack counted once, by its outermost match`;
    app.access.say(words.textContent);
  }

  setTheme(app);
  document.title = clip(visible(document.title), 200);
  byId("app").hidden = false;
  const still = byId("static");
  if (still) still.hidden = true; // where style does not know of scripts (viewer.css)
  app.table = createTable(app);
  app.access = createAccess(app);
  showHeader(app);
  showLedger(app);
  showTab(app, "graph");
  if (prefs.get("panel", 0)) byId("panel").style.width = `${prefs.get("panel", 0)}px`;
  wire(app);
  store.listen(update);
  update(store.get(), DEFAULTS);
  app.ready = true;
  const all = model.tree.total.length ? model.tree.total[0][0] : 0;
  if (all > 0 && all < TINY && !model.compare)
    notice(
        `Only ${app.format(0).text(all)}: shares carry a wide error, shown as ± in the status line.`, "tiny");
  if (model.meta.times_full)
    notice("No strip of time: for so many different stacks (over 131 072, or 65 536 in one window) the times are not kept.", "times");
  notice(foldedWords(model.meta), "folded");
  return app;
}

async function read(text) {
  const steps = parseSteps(await inflate(fromBase64(text)));
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    await new Promise((next) => setTimeout(next));
  }
}

async function boot() {
  const untouched = byId("app").cloneNode(true);
  let stop = null;
  function run(model) {
    if (stop) {
      stop.abort();
      byId("app").replaceWith(untouched.cloneNode(true));
    }
    stop = new AbortController();
    const app = start(model, stop.signal);
    window.gprofiler = { app, ready: performance.now() };
    app.compareWith = (file) => compareWith(app, file);
  }
  // Another view of other data: of the address stays what means the same in both.
  function goTo(app, model) {
    const state = {...DEFAULTS };
    for (const k of CARRIED) state[k] = app.store.get()[k];
    history.pushState({ gprofiler: true }, "", encodeHash(state));
    run(model);
  }
  function showCompared(from, mine, [a, b], page) {
    goTo(from, union(a, b));
    const { app } = window.gprofiler, title = byId("title").textContent;
    app.savePage = async () => save(`${title.replace(/[^\w.-]+/g, "_").slice(0, 99)}.html`, await pageOf(page, app.model, title), "text/html");
    notice("Joined in the page: no link leads here. Export keeps the comparison as a page of its own, which has links.",
        "compare", { text: "Swap A and B", run: () => showCompared(app, mine, [b, a], page) },
        { text: "Back to one", run: () => goTo(app, mine) });
  }
  // What began first is A.
  async function compareWith(app, file) {
    const mine = app.model;
    try {
      const page = await file.text(), other = await read(containerText(page));
      const first = (other.meta.start || 0) < (mine.meta.start || 0);
      showCompared(app, mine, first ? [other, mine] : [mine, other], page);
    } catch (error) {
      notice(`${visible(file.name)} cannot be compared with: ${error.message}.`, "compare");
    }
  }
  try {
    run(await read(byId("profile").textContent));
    document.documentElement.dataset.ready = "1";
  } catch (error) {
    fail(error);
    document.documentElement.dataset.ready = "failed";
    if (!error.section) throw error;
  }
}

boot();
