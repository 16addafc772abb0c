// SPDX-License-Identifier: Apache-2.0
// state.js -- one state, its hash, its history. No DOM: location and history are handed in.
//
//   hash = "#v=1" *("&" key "=" value)          value = percent-encoded UTF-8
//   w=g|s|t view · y=i|f icicle, flame · d=t|b callees or callers first · o=n|w|t order
//   g=levels of c,n,p,t · c=o|m|h|d colour · r=0|1|2 recursion · l=1 fold chains · u=value type
//   z=path zoom · a=x0,x1 range in millionths · s=path selection · v2=A|B|m width in compare
//   q=search · qf=[i][r] · p=function pivot · t=column[-] table sort
//   tr=from,to part of the time, in milliseconds from the profile's start
//   f=verb~pattern,... filters · x=p.pid.start|t.tid|c.name|o.origin,... contexts · n=total|dur|none|factor
//   path = ["^"] [depth "~"] fun *("." fun)     fun = FNV-1a 32 of the name, base 36, ["!" n]
// "!" n tells siblings of one name apart (n-th), "^" stands for the callers' half of the sandwich.
// Unknown keys are kept; values that cannot be read are left out and named.

const PATH_MAX = 48;

// key: [value where the hash says nothing, what it may be]
const PATH = /^\^?(\d+~)?[0-9a-z!.]*$/;
const RANGE = { test: (v) => !v || /^\d{1,12},\d{1,12}$/.test(v) && Number(v.split(",")[0]) < Number(v.split(",")[1]) };
const GRAMMAR = {
  w: ["g", /^[gst]$/],
  y: ["i", /^[if]$/],
  d: ["t", /^[tb]$/],
  o: ["n", /^[nwt]$/],
  g: ["", /^(-|[cnpt](,[cnpt])*)?$/],
  c: ["o", /^[omhd]$/],
  r: ["0", /^[012]$/],
  l: ["", /^1?$/],
  u: ["0", /^\d{1,2}$/],
  z: ["", PATH],
  a: ["", RANGE],
  s: ["", PATH],
  v2: ["m", /^[ABm]$/],
  q: ["", /^/],
  qf: ["", /^i?r?$/],
  p: ["", /^[0-9a-z]*$/],
  t: ["self-", /^(name|module|self|total|frames|a|b|change|score)-?$/],
  f: ["", /^([kdmsx]~[^,]+(,[kdmsx]~[^,]+)*)?$/],
  x: ["", /^([ptco]\.[^,]*(,[ptco]\.[^,]*)*)?$/],
  tr: ["", RANGE],
  n: ["total", /^(total|dur|none|(?=.*[1-9])\d{1,9}(\.\d{1,9})?)$/],
};
export const DEFAULTS = Object.freeze(Object.fromEntries(Object.entries(GRAMMAR).map(([k, [v]]) => [k, v])));
const NOWHERE = { z: "", a: "", s: "" };

export function decodeHash(hash) {
  const state = {...DEFAULTS, unknown: [] }, bad = [];
  for (const part of hash.replace(/^#/, "").split("&")) {
    if (!part) continue;
    const at = part.indexOf("=");
    const key = at < 0 ? part : part.slice(0, at);
    let value;
    try {
      value = decodeURIComponent(at < 0 ? "" : part.slice(at + 1));
    } catch {
      bad.push(key);
      continue;
    }
    if (key === "v") {
      if (value !== "1") bad.push("version");
    } else if (!Object.hasOwn(GRAMMAR, key))
      state.unknown.push(part);
    else if (GRAMMAR[key][1].test(value))
      state[key] = value;
    else
      bad.push(key);
  }
  return { state, bad };
}

const encode = (text) => encodeURIComponent(
    text).replace(/%2C/g, ",")
                             .replace(/%7E/g, "~")
                             .replace(/%5E/g, "^")
                             .replace(/%3A/g, ":")
                             .replace(/%3D/g, "=")
                             .replace(/%2F/g, "/");

export function encodeHash(state) {
  let out = "#v=1";
  for (const key of Object.keys(DEFAULTS))
    if (state[key] !== DEFAULTS[key]) out += `&${key}=${encode(state[key])}`;
  for (const part of state.unknown || []) out += `&${part}`;
  return out;
}

// ---- lists inside values ----

const escapeItem = (text) => text.replace(/[%,]/g, (c) => c === "," ? "%2c" : "%25");
const unescapeItem = (text) => text.replace(/%2c|%25/g, (c) => c === "%2c" ? "," : "%");

export function filtersOf(state) {
  return state.f ? state.f.split(",").map((part) => ({ verb: part[0], pattern: unescapeItem(part.slice(2)) }))
                 : [];
}
export function filtersText(list) {
  return list.map(({ verb, pattern }) => `${verb}~${escapeItem(pattern)}`).join(",");
}
export function contextsOf(state) {
  return state.x ? state.x.split(",").map((part) => {
    const kind = part[0], rest = unescapeItem(part.slice(2));
    const numbers = kind === "p" && /^(\d+)(?:\.(\d+))?$/.exec(rest);
    return numbers ? { kind, id: numbers[1], start: numbers[2] || "" } : { kind, id: rest, start: "" };
  })
                 : [];
}
export function contextsText(list) {
  return list.map(({ kind, id, start }) => `${kind}.${escapeItem(id)}${start ? "." + start : ""}`).join(",");
}

// ---- paths ----

export function nameHash(name) {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 0x01000193);
  return (h >>> 0).toString(36);
}

export function hasher(model) {
  const known = new Array(model.nitems);
  return (item) => item < 0                    ? nameHash("all")
                   : known[item] === undefined ? known[item] = nameHash(model.rawName(item))
                                               : known[item];
}

export function pathOf(tree, i, hashOf) {
  const parts = [];
  const depth = tree.depth[i];
  for (let at = i; tree.parent[at] >= 0 && parts.length < PATH_MAX; at = tree.parent[at]) {
    const mine = hashOf(tree.item[at]), p = tree.parent[at];
    let same = 1;
    for (let c = p + 1; c < at; c = tree.end[c])
      if (hashOf(tree.item[c]) === mine) same++;
    parts.push(same > 1 ? `${mine}!${same}` : mine);
  }
  return (depth > PATH_MAX ? `${depth}~` : "") + parts.reverse().join(".");
}

// The node a path leads to, or -1; `want(part, item)` style matching, n-th sibling if it exists.
export function followPath(tree, path, hashOf) {
  const m = /^(?:(\d+)~)?(.*)$/.exec(path.replace(/^\^/, ""));
  if (!m[2]) return 0;
  const parts = m[2].split(".").map((part) => part.split("!"));
  if (!m[1]) return descend(tree, 0, parts, hashOf);
  const above = Number(m[1]) - parts.length;
  for (let i = 0; i < tree.n; i++) {
    if (tree.depth[i] !== above) continue;
    const found = descend(tree, i, parts, hashOf);
    if (found >= 0) return found;
  }
  return -1;
}

function descend(tree, from, parts, hashOf) {
  let i = from;
  for (const [hash, nth] of parts) {
    let next = -1, left = Number(nth || 1);
    for (let c = i + 1; c < tree.end[i] && left; c = tree.end[c]) {
      if (hashOf(tree.item[c]) === hash) {
        next = c;
        left--;
      }
    }
    if (next < 0) return -1;
    i = next;
  }
  return i;
}

// ---- the store ----

// host: {hash(), push(hash), replace(hash)}. change, push (a step of the history) and anew (a step to another
// tree, where no old place means anything) tell every listener (state, before). A notice is given for what the
// hash held and could not be read.
export function createStore(host, notice) {
  let state;
  const listeners = [];
  const load = () => {
    const { state: read, bad } = decodeHash(host.hash());
    if (bad.length && notice) notice(`The link's ${bad.join(", ")} could not be read and was left out.`);
    return read;
  };
  state = load();
  const tell = (before) => listeners.forEach((f) => f(state, before));
  function to(patch, write) {
    const before = state;
    if (Object.keys(patch).every((k) => patch[k] === before[k])) return;
    state = {...state, ...patch };
    write(encodeHash(state));
    tell(before);
  }
  return {
    get: () => state,
    listen: (f) => listeners.push(f),
    change: (patch) => to(patch, host.replace),
    push: (patch) => to(patch, host.push),
    anew: (patch) => to({...NOWHERE, ...patch }, host.push),
    reload() {
      const before = state;
      state = load();
      tell(before);
    },
  };
}
