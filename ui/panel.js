// SPDX-License-Identifier: Apache-2.0
// panel.js -- the words around the graph: header, status line, details, ledger, chips, menu, help.

import {byId, el, fill} from "./dom.js";
import {clip, count, errorBound, nanoseconds, percent, visible, when} from "./format.js";
import {CHANGE, originOf} from "./color.js";
import {contextsOf, contextsText, filtersOf, filtersText} from "./state.js";

const WHOLE = 0.95; // below it the header warns
const ABSENT = 0.05;

export const VERBS = [
  ["k", "keep", "keep stacks with this frame (elsewhere: focus)"],
  ["d", "drop", "drop stacks with this frame (elsewhere: ignore)"],
  ["m", "fold", "fold these frames into their callers (elsewhere: hide, merge)"],
  ["s", "start at", "stacks start at this frame (elsewhere: show from, focus subtree)"],
  ["x", "cut below", "what this frame calls becomes its own (elsewhere: prune)"],
];
export const PRESETS = [
  [
    "Python interpreter internals", "m",
    "/^(_?Py[A-Z_]|_PyEval|cfunction_|method_vectorcall|vectorcall_|object_|slot_|builtin_)/"
  ],
  ["C library", "m", "mod:/\\/(libc|libpthread|ld-linux|ld-musl)[^/]*$/"],
  [
    "Allocator", "x",
    "/^(_?int_)?(malloc|free|calloc|realloc|cfree|operator new|operator delete)|^(je|tc|mi)_(malloc|free)/"
  ],
  ["Go scheduler waits", "d", "/^runtime\\.(findRunnable|futexsleep|notesleep|stopm|mPark|netpoll|gopark)/"],
  [
    "Tokio and Rust glue", "m",
    "/^(tokio::runtime|core::ops::function|std::panicking|std::rt::|std::sys::backtrace)/"
  ],
  ["V8 internals", "m", "/^(Builtins?[_:]|v8::|node::|LazyCompile:.*node:internal)/"],
];

// The ledger's sums: every sample reported is whole, truncated or broken; the rest of the ticks was
// idle, not wanted or lost.
export function ledgerSums(l) {
  const finished = l.finished_complete + l.finished_truncated + l.finished_broken;
  const whole = l.complete + l.kernel_only + l.no_user + l.finished_complete;
  const truncated = l.truncated + l.finished_truncated;
  const broken = l.broken + l.bits32 + l.finished_broken + Math.max(0, l.handoff - finished);
  const lost = l.lost_ring + l.aggregation_full;
  const absent = l.expected ? (l.not_delivered + l.throttled) / l.expected : 0; // ticks, busy or idle
  return {
    absent,
    whole,
    truncated,
    broken,
    lost,
    reported: whole + truncated + broken,
    idle: l.idle + l.filtered
  };
}

// How much of all the time of all CPUs it was: only where the clock was counted, and only of samples.
export function ofMachine(app, v) {
  const { meta } = app.model, ticks = !meta.compare && meta.ledger && meta.ledger.expected;
  return ticks && app.view.u === 0 ? percent(v, ticks) : "";
}

function facts(meta, samples, format) {
  const counted = ((meta.values || [])[0] || {}).unit === "count"; // bytes say nothing of CPUs
  const busy = counted && meta.ledger && meta.ledger.expected && ledgerSums(meta.ledger).reported;
  const rate = meta.frequency ? `${meta.event || "samples"} at ${meta.frequency} Hz` : meta.event || "";
  return [
    meta.command, when(meta.start) && `${when(meta.start)}, ${nanoseconds(meta.duration * 1e9)}`, rate,
    format.text(samples) + (busy ? ` (CPUs ${percent(busy, meta.ledger.expected)} busy)` : ""),
    meta.processes ? `${count(meta.processes)} ${meta.processes === 1 ? "process" : "processes"}` : "",
    meta.source && `by ${meta.source}`
  ].filter(Boolean);
}

export function showHeader(app) {
  const { model } = app, { meta } = model;
  const root = model.tree.total.length ? model.tree.total[0][0] : 0;
  const side = (word, of, u) => `${word}: ${[of.command, when(of.start), app.format(u).text(model.tree.total[u][0])].filter(Boolean).join(", ")}`;
  const line = meta.compare ? [side("A", meta.compare.a, 0), side("B", meta.compare.b, 1)]
                            : facts(meta, root, app.format(0));
  byId("title").textContent =
      visible(meta.compare ? `Compare ${meta.compare.a.host || "A"} with ${meta.compare.b.host || "B"}`
                           : meta.host || "Profile");
  byId("facts").textContent = visible(line.join(" · "));
  byId("facts").title = visible(line.join("\n"));
  const ledger = meta.compare ? meta.compare.b.ledger : meta.ledger;
  if (!ledger) {
    byId("ledger-words").textContent = "no loss ledger";
    byId("ledger-segments").hidden = true;
    return;
  }
  const s = ledgerSums(ledger), all = s.reported + s.lost || 1;
  fill(byId("ledger-segments"),
      ...["whole", "truncated", "broken", "lost"].map(
          (k) => el(
              "span", { class: `seg-${k}`, width: `${100 * s[k] / all}%`, title: `${k} ${count(s[k])}` })));
  app.wholeShare = s.reported ? s.whole / all : 1;
  const absent = s.absent > ABSENT ? ` · ${percent(s.absent, 1)} of ticks not delivered` : "";
  const low = app.wholeShare < WHOLE || absent;
  byId("ledger-words").textContent =
      s.reported ? `${low ? "! " : ""}${percent(s.whole, all)} whole${absent}` : "nothing reported";
  byId("ledger-words").className = low ? "warn" : "";
}

function ledgerTable(rows, whole) {
  return el("table", { class: "plain" },
      el("tr", {}, el("th", {}, ""), el("th", {}, "samples"), el("th", {}, "share")),
      ...rows.filter(([, v]) => v).map(([name,
        v]) => el("tr", {}, el("td", {}, name), el("td", {}, count(v)), el("td", {}, percent(v, whole)))));
}

function ledgerOf(meta, heading) {
  const l = meta.ledger;
  if (!l)
    return [
      heading && el("h3", {}, heading),
      el("p", {}, "This profile carries no ledger: it was made by a program that does not keep one.")
    ];
  const s = ledgerSums(l), ticks = Math.max(l.expected, l.entries);
  return [
    heading && el("h3", {}, heading),
    el("h3", {}, "Against the clock"),
    ledgerTable(
        [
          ["expected (elapsed × rate × CPUs)", l.expected], ["reported", s.reported], ["idle", l.idle],
          ["idle, no tick sent", l.idle_silent || 0], ["not asked for", l.filtered],
          ["lost: not delivered by the kernel", l.not_delivered], ["lost: throttled", l.throttled],
          ["lost: ring full", l.lost_ring], ["lost: table full", l.aggregation_full]
        ],
        ticks),
    el("h3", {}, "Stacks reported"),
    ledgerTable(
        [
          ["whole", s.whole], ["… kernel only", l.kernel_only],
          ["… finished in user space", l.finished_complete],
          ["… their outer frames read after the sample", l.finished_late],
          ["truncated (too deep)", s.truncated], ["broken", s.broken], ["… 32-bit", l.bits32]
        ],
        s.reported),
    Object.keys(l.reasons).length ? el("h3", {}, "Why broken") : null,
    Object.keys(l.reasons).length ? ledgerTable(Object.entries(l.reasons), s.reported) : null,
    el("h3", {}, "Frames"),
    ledgerTable([["frames", l.frames], ["without a name", l.frames_unnamed], ["… where no symbols exist", l.frames_no_symbols || 0]], l.frames),
    l.side_band_lost ? el("p", { class: "warn" },
                           `${count(l.side_band_lost)} process records were lost; names may be missing.`)
                     : null,
  ];
}

export const foldedWords = (meta) => meta.folded
                                         ? `The file holds ${count(meta.nodes)} frames, its limit; ${
                                               count(meta.folded)} of the narrowest were put together as “(small frames)”. Sums are exact.`
                                         : "";

export function showLedger(app) {
  const { meta } = app.model;
  const parts = meta.compare ? [...ledgerOf(meta.compare.a, "A"), ...ledgerOf(meta.compare.b, "B")]
                             : ledgerOf(meta, "");
  fill(byId("pane-ledger"), ...parts,
      foldedWords(meta) && el("p", {}, foldedWords(meta)),
      el("p", { class: "muted" }, `gprofiler ${meta.agent}`));
}

// ---- status line ----

export function nodeWords(app, {pane, node}) {
  const { model, view } = app, { tree } = pane.lay, u = view.u;
  const total = tree.total[u][node], item = tree.item[node], f = app.format(u);
  const up = tree.parent[node];
  const words = [];
  if (model.compare) {
    const [a, b] = [tree.total[0][node], tree.total[1][node]], t = model.tree.total;
    words.push(`A ${count(a)} (${percent(a, t[0][0])})`, `B ${count(b)} (${percent(b, t[1][0])})`);
  } else {
    words.push(`total ${f.text(total)} ${f.approx(total)}`.trim(), `self ${f.bare(tree.self[u][node])}`);
    words.push(`${percent(total, view.all)} of all`);
    if (Math.abs(view.viewSum) !== Math.abs(view.all)) words.push(`${percent(total, view.viewSum)} of view`);
    if (ofMachine(app, total)) words.push(`${ofMachine(app, total)} of the machine`);
    if (up > 0) words.push(`${percent(total, tree.total[u][up])} of ${pane.mark ? "callee" : "parent"}`);
    if (Math.abs(view.all) < 100 && view.all > 0)
      words.push(`±${errorBound(total, view.all).toFixed(0)} points`);
  }
  if (app.wholeShare < WHOLE) words.push("share of recorded samples");
  const module = visible(model.module(item));
  const origin = item >= 0 ? originOf(model.origin(item)).word : "";
  return { name: model.name(item), rest: [origin, module, ...words].filter(Boolean).join(" · ") };
}

export function showStatus(app, hit) {
  const status = byId("status");
  app.say = (text) => fill(status, text || app.idleStatus || "");
  if (!hit) {
    fill(status, app.idleStatus || "");
  } else if (hit.run) {
    const r = hit.run, lay = r.pane.lay;
    fill(status, `${count(r.count)} frames too narrow to draw, ${
                     percent(r.to - r.from, lay.whole)} together; click zooms to them`);
  } else {
    const words = nodeWords(app, hit);
    fill(status, el("b", {}, clip(words.name, 300)), ` · ${words.rest}`);
  }
}

// ---- chips, legend, notices ----

export function showChips(app) {
  const { store, model } = app, state = store.get(), chips = [];
  const chip = (text, title, edit, remove) => chips.push(el("span", { class: "chip" },
      el("button", { title, onclick: edit }, clip(visible(text), 120)),
      el("button", { "aria-label": `Remove ${visible(text)}`, onclick: remove }, "×")));
  filtersOf(state).forEach((f, i, list) => {
    const verb = VERBS.find(([v]) => v === f.verb);
    chip(`${verb[1]} ${f.pattern}`, verb[2], () => app.commands.editFilter(i),
        () => store.push({ f: filtersText(list.filter((_, k) => k !== i)) }));
  });
  contextsOf(state).forEach((c, i, list) => {
    const word = { p: "process", t: "thread", c: "container", o: "origin" }[c.kind];
    const known = c.kind === "p" && model.contexts.find((k) => k.kind === 1 && String(k.pid) === c.id);
    chip(`${word} ${c.id.replace(/^=/, "") || "(none)"}${known ? ` ${known.name}` : ""}`,
        "Only these stacks; click for another", (e) => app.commands.otherContext(c, e.target), () => store.push({ x: contextsText(list.filter((_, k) => k !== i)) }));
  });
  if (state.tr)
    chip(`time ${state.tr.split(",").map((ms) => nanoseconds(ms * 1e6).replace(/^0 ns$/, "0")).join(" – ")}`,
        "Only what ran then", () => byId("strip-box").focus(), () => store.push({ tr: "" }));
  if (app.view.pivot >= 0)
    chip(`callers & callees of ${model.name(app.view.pivot)}`, "Both halves of the graph are of it; click for another of the hottest", (e) => app.commands.otherPivot(e.target),
        () => store.anew({ p: "", w: "g" }));
  byId("chips").hidden = !chips.length;
  fill(byId("chips"), ...chips,
      chips.length > 1 ? el("button", {
        onclick: () => store.push({ f: "", x: "", tr: "", p: "", w: "g", z: "", a: "" })
      },
                             "Remove all")
                       : null);
}

// Self samples by kind of code, of those kinds that a tree has frames of.
function kindSums(model, tree, u) {
  const { n: nfuns, kind } = model.fun, { n, item } = tree, column = tree.self[u];
  const self = new Float64Array(256), seen = new Uint8Array(256);
  for (let i = 0; i < n; i++) {
    const it = item[i];
    if (it < 0 || it >= nfuns) continue;
    seen[kind[it]] = 1;
    self[kind[it]] += column[i];
  }
  return { of: tree, u, sums: [...seen.keys()].filter((k) => seen[k]).map((k) => [k, self[k]]) };
}

export function showLegend(app) {
  const { model, store, view } = app, legend = byId("legend");
  if (view.signed) {
    fill(legend, ...[[7, "grows"], [1, "shrinks (−)"]].map(([i,
      word]) => el("li", {}, el("span", { class: "swatch", color: CHANGE[app.theme][i] }), ` ${word}`)));
    return;
  }
  if (model.compare) {
    if (app.forced()) {
      fill(legend, el("li", {}, "Share in B against A: ▲ more, ▼ less, + new, − gone"));
      return;
    }
    const scale = CHANGE[app.theme], words = ["less", "", "", "", "same or noise", "", "", "", "more"];
    fill(legend, el("li", {}, "Share in B against A: "),
        ...scale.map((c, i) => el("li", {}, el("span", { class: "swatch", color: c }),
                         words[i] ? ` ${words[i]} ` : "")),
        el("li", { class: "muted" }, "+ new, − gone"));
    return;
  }
  const tree = view.glance ? model.tree : view.base;
  if (!app.kinds || app.kinds.of !== tree || app.kinds.u !== view.u) app.kinds = kindSums(model, tree, view.u);
  const seen = new Map();
  for (const [k, self] of app.kinds.sums) {
    const origin = (model.meta.kinds || [])[k] || "unknown";
    seen.set(origin, (seen.get(origin) || 0) + self);
  }
  const folded = new Set(filtersOf(store.get())
                             .filter((f) => f.verb === "m" && f.pattern.startsWith("origin:"))
                             .map((f) => f.pattern.slice(7)));
  for (const origin of folded)
    if (!seen.has(origin)) seen.set(origin, 0);
  fill(legend, ...[...seen].sort((a, b) => b[1] - a[1]).map(([origin, self]) => {
    const o = originOf(origin);
    return el("li", {},
        el("button", {
          class: folded.has(origin) ? "off" : "",
          title: `${o.word}: self ${
              percent(self,
                  view.all)}. Click folds these frames into their callers, Shift+click keeps only stacks with them.`,
          onclick: (e) => e.shiftKey ? app.commands.onlyOrigin(origin) : app.commands.foldOrigin(origin),
        },
            el("span", { class: `swatch sign-${o.sign || "none"}`, color: o[app.theme] }), o.word));
  }));
}

// actions: {text, run} each, as buttons of the notice.
export function notice(text, key, ...actions) {
  const box = byId("notices");
  for (const old of box.querySelectorAll(`[data-key="${key}"]`)) old.remove();
  if (!text) return;
  const n = el("div", { class: "notice", "data-key": key }, el("span", {}, text));
  for (const { text: word, run } of actions) n.append(el("button", { onclick: run }, word));
  n.append(el("button", { "aria-label": "Dismiss", onclick: () => n.remove() }, "×"));
  box.append(n);
}

// ---- states without a picture ----

export function showNothing(app) {
  const { model, view } = app, box = byId("nothing");
  const all = model.tree.total.reduce((m, t) => Math.max(m, Math.abs(t[0])), 0);
  const now = view.panes[0].lay.whole;
  byId("graph").hidden = byId("overview").hidden = !now;
  box.hidden = !!now;
  if (now) return;
  if (!all) {
    const l = model.meta.ledger;
    fill(box, el("h2", {}, "No samples"),
        el("p", {},
            l && l.idle ? `The sampler ran ${count(l.entries)} times and the machine was idle ${
                              count(l.idle)} of them.`
                        : "Nothing was sampled: nothing ran, or nothing could be seen."),
        el("p", {}, "Try a longer or a faster run, or ask what this machine allows:"),
        el("p", {}, el("code", {}, "gprofiler -d 30 -f 199 -o out")),
        el("p", {}, el("code", {}, "gprofiler check")));
    return;
  }
  const state = app.store.get(), u = view.u, whole = model.tree.total[u][0], left = view.left.map((l) => l[u]);
  const took = (what, before, after) => el("li", {},
      `${visible(what)}: ${before - after ? `takes ${percent(before - after, whole)} away` : "takes nothing away"}, ${
          percent(after, whole)} left`);
  const contexts = contextsOf(state), rows = [];
  if (contexts.length) rows.push(took(`only ${contexts.map((c) => c.id.replace(/^=/, "")).join(", ")}`, whole, left[0]));
  filtersOf(state).forEach(
      (f, i) => rows.push(took(`${VERBS.find(([v]) => v === f.verb)[1]} ${f.pattern}`, left[i], left[i + 1])));
  if (state.tr) rows.push(took(`time ${state.tr.replace(",", " to ")} ms`, left.at(-1), 0));
  fill(box, el("h2", {}, "The filters leave nothing"),
      el("p", {}, `The profile holds ${app.format(u).text(whole)}; these filters, one after the other:`),
      el("ul", {}, ...rows), el("button", {
        onclick: () => app.store.push({ f: "", x: "", tr: "", p: "" })
      },
                                  "Remove all filters"));
}

// ---- menu and help ----

export function openMenu(entries, x, y, back) {
  const menu = byId("menu");
  const close = () => {
    menu.hidden = true;
    document.removeEventListener("pointerdown", outside, true);
    if (back) back.focus();
  };
  const outside = (e) => {
    if (!menu.contains(e.target)) close();
  };
  fill(menu, ...entries.map((entry) => entry === "-"
                                           ? el("hr", { role: "separator" })
                                           : el("button", {
                                               role: "menuitem",
                                               tabindex: -1,
                                               onclick: () => {
                                                 close();
                                                 entry.run();
                                               }
                                             },
                                                 entry.text, entry.key ? el("kbd", {}, entry.key) : null)));
  menu.hidden = false;
  menu.style.left = `${Math.max(0, Math.min(x, innerWidth - menu.offsetWidth - 4))}px`;
  menu.style.top = `${Math.max(0, Math.min(y, innerHeight - menu.offsetHeight - 4))}px`;
  const items = [...menu.querySelectorAll("button")];
  items[0].focus();
  menu.oncontextmenu = (e) => e.preventDefault(); // of the key that opened it
  menu.onkeydown = (e) => {
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[e.key];
    if (to !== undefined)
      items[(to + items.length) % items.length].focus();
    else if (e.key === "Escape" || e.key === "Tab")
      close();
    else
      return;
    e.preventDefault();
    e.stopPropagation();
  };
  document.addEventListener("pointerdown", outside, true);
  return close;
}

export function menuBelow(entries, button) {
  const { left, bottom } = button.getBoundingClientRect();
  openMenu(entries, left, bottom, button);
}

export function openDialog(title, ...content) {
  const d = byId("dialog");
  d.setAttribute("aria-label", title);
  fill(d, el("h2", {}, title), ...content);
  d.onclick = (e) => {
    if (e.target === d) d.close();
  };
  d.showModal();
  return d;
}

export const closing = () => el("form", { method: "dialog" }, el("button", { type: "submit" }, "Close"));

export function showHelp(keys) {
  openDialog("Keys and mouse",
      el("div", { class: "keys" },
          ...keys.map(([k, text]) => text ? el("div", {}, el("kbd", {}, k), el("span", {}, text)) : el("h3", {}, k))),
      el("p", { class: "muted" },
          "Letters work while the graph or the table has the focus. Everything you see is in the address, from # on: " +
              "send the file and that part (l copies it), and your colleague sees this view."),
      closing());
}
