// SPDX-License-Identifier: Apache-2.0
// model.js -- the container (src/export/html_container.h) -> typed arrays. No DOM.
//
// A tree is columns over nodes in preorder: item (function, or nfuns + context), parent, depth, end
// (first index after the subtree), flags, and for each value type self and total. Node 0 is the root.

import {visible} from "./format.js";

export const FLAG = {
  INLINED: 1,
  BY_FP: 2,
  GUESSED: 4,
  NO_SYMBOL: 8,
  FOLDED: 16
};
export const CONTEXT = {
  CONTAINER: 0,
  PROCESS: 1,
  THREAD: 2
};
const SECTIONS = {
  META: 1,
  STR: 2,
  FUN: 3,
  CTX: 4,
  NODE: 5,
  TIME: 6
};
const MAX_NODES = 1 << 26;
const MAX_SLOTS = 1 << 16;

function damaged(section, why) {
  const e = new Error(`section ${section} of the profile is damaged: ${why}`);
  e.section = section;
  return e;
}

export function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text.trim());
  const out = new Uint8Array(binary.length);
  for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i);
  return out;
}

export function toBase64(bytes) {
  if (bytes.toBase64) return bytes.toBase64();
  let binary = "";
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}

// Written at once and read as it comes: a Blob's stream goes through the browser's process and back.
async function piped(bytes, { readable, writable }) {
  const writer = writable.getWriter(), reader = readable.getReader(), parts = [];
  let size = 0;
  for (const done of [writer.write(bytes), writer.close()]) done.catch(() => {}); // who reads is told too
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
  }
  const out = new Uint8Array(size);
  for (const part of parts.reverse()) out.set(part, size -= part.length);
  return out;
}
export const inflate = (bytes) => piped(bytes, new DecompressionStream("gzip"));
export const deflate = (bytes) => piped(bytes, new CompressionStream("gzip"));

// Varints of one section. Values above 2^31 go through doubles; nothing here needs more than 2^53.
function reader(bytes, section) {
  let at = 0;
  const r = {
    get left() { return bytes.length - at; },
    varint() {
      let b = bytes[at++];
      if (b < 0x80) return b;
      let v = b & 0x7f, scale = 2 ** 28;
      for (let shift = 7; shift < 28; shift += 7) {
        b = bytes[at++];
        v |= (b & 0x7f) << shift;
        if (b < 0x80) return v;
      }
      do {
        if (at >= bytes.length || scale > 2 ** 63) throw damaged(section, "a number runs past its end");
        b = bytes[at++];
        v += (b & 0x7f) * scale;
        scale *= 128;
      } while (b >= 0x80);
      return v;
    },
    signed() {
      const v = r.varint();
      return v % 2 ? -(v + 1) / 2 : v / 2;
    },
    count(max) {
      const n = r.varint();
      if (!(n <= max)) throw damaged(section, "a count is larger than the section");
      return n;
    },
    // Always an Int32Array, so that what the engine learns from one column holds for the next; of larger
    // numbers (below 2^32) the bits.
    column(n, limit) {
      const out = new Int32Array(n);
      for (let i = 0; i < n; i++) {
        const v = bytes[at] < 0x80 ? bytes[at++] : r.varint();
        if (!(v < limit)) throw damaged(section, "a number is out of range");
        out[i] = v;
      }
      return out;
    },
    // Numbers below 256.
    bytes(n) {
      const out = new Uint8Array(n);
      for (let i = 0; i < n; i++) {
        const v = bytes[at] < 0x80 ? bytes[at++] : r.varint();
        if (!(v < 256)) throw damaged(section, "a number is out of range");
        out[i] = v;
      }
      return out;
    },
    signedColumn(n) {
      const out = new Float64Array(n);
      for (let i = 0; i < n; i++) {
        const b = bytes[at];
        if (b < 0x80) {
          out[i] = b >> 1 ^ -(b & 1);
          at++;
        } else {
          out[i] = r.signed();
          if (out[i] !== out[i]) throw damaged(section, "it ends too early");
        }
      }
      return out;
    },
    rest() { return bytes.subarray(at); },
  };
  return r;
}

function sections(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || view.getUint32(0, true) !== 0x31465047) throw damaged("head", "not a profile");
  if (view.getUint32(4, true) !== 1) throw damaged("head", `version ${view.getUint32(4, true)} is unknown`);
  const n = view.getUint32(8, true), found = {};
  if (12 + 12 * n > bytes.length) throw damaged("head", "it ends too early");
  for (let i = 0; i < n; i++) {
    const [id, offset, length] = [0, 4, 8].map((o) => view.getUint32(12 + 12 * i + o, true));
    if (offset + length > bytes.length) throw damaged(id, "it ends too early");
    found[id] = bytes.subarray(offset, offset + length);
  }
  return (name, optional) => {
    if (!found[SECTIONS[name]] && !optional) throw damaged(name, "it is absent");
    return found[SECTIONS[name]];
  };
}

function readStrings(bytes) {
  const r = reader(bytes, "STR");
  const n = r.count(bytes.length);
  const strings = new TextDecoder().decode(r.rest()).split("\0"); // at once: a call each takes longer
  if (strings.length <= n) throw damaged("STR", "it ends too early");
  strings.length = n;
  return strings;
}

function readFunctions(bytes, nstrings) {
  const r = reader(bytes, "FUN");
  const n = r.count(bytes.length);
  const name = new Int32Array(n);
  for (let i = 0, v = 0; i < n; i++) {
    v += r.signed();
    if (!(v >= 0 && v < nstrings)) throw damaged("FUN", "a name is out of range");
    name[i] = v;
  }
  const strings = () => r.column(n, nstrings);
  const fun = { n, name, module: strings(), file: strings(), build: strings() };
  fun.line = new Uint32Array(r.column(n, 2 ** 32).buffer);
  fun.kind = r.bytes(n);
  return fun;
}

function readContexts(bytes, strings) {
  const r = reader(bytes, "CTX");
  const n = r.count(bytes.length);
  const list = Array.from({ length: n }, () => ({}));
  for (const [key, limit] of [["kind", 3], ["name", strings.length], ["container", strings.length],
           ["appid", strings.length], ["pid", 2 ** 32], ["tid", 2 ** 32], ["uid", 2 ** 32]]) {
    const column = new Uint32Array(r.column(n, limit).buffer);
    for (let i = 0; i < n; i++) list[i][key] = column[i];
  }
  for (const c of list)
    for (const key of ["name", "container", "appid"]) c[key] = strings[c[key]];
  return list;
}

// Columns without sums -> a tree. `children` is consumed in preorder; it must close exactly.
export function makeTree(item, children, flags, self) {
  const n = item.length;
  const parent = new Int32Array(n), depth = new Int32Array(n), end = new Int32Array(n);
  let at = -1;
  for (let i = 0; i <= n; i++) {
    while (at >= 0 && children[at] === 0) { // what is left of them
      end[at] = i;
      at = parent[at];
    }
    if (i === n) break;
    if (at < 0 && i > 0) throw damaged("NODE", "the tree closes too early");
    parent[i] = at;
    depth[i] = at < 0 ? 0 : depth[at] + 1;
    if (at >= 0) children[at]--;
    at = i;
  }
  if (at >= 0) throw damaged("NODE", "the tree does not close");
  parent[0] = -1;
  return sums({ n, item, parent, depth, end, flags, self });
}

// First index after each subtree, from the parents.
export function ends({ n, parent, end }) {
  for (let i = n - 1; i >= 0; i--) {
    if (!end[i]) end[i] = i + 1;
    if (i && end[parent[i]] < end[i]) end[parent[i]] = end[i];
  }
}

// Ends, where the tree has none yet, and totals from parent and self.
export function sums(tree) {
  const { n, parent } = tree;
  if (!tree.end) {
    tree.end = new Int32Array(n);
    ends(tree);
  }
  tree.total = tree.self.map((column) => {
    const total = column.slice();
    for (let i = n - 1; i > 0; i--) total[parent[i]] += total[i];
    return total;
  });
  return tree;
}

// Yields between its two halves, see parseSteps().
function* readNodes(bytes, nitems) {
  const r = reader(bytes, "NODE");
  const n = r.count(Math.min(bytes.length, MAX_NODES));
  const ntypes = r.count(16);
  if (!n) throw damaged("NODE", "it is empty");
  const item = r.column(n, Math.max(nitems, 1));
  const children = r.column(n, n);
  const flags = r.bytes(n);
  const self = [];
  for (let v = 0; v < ntypes; v++) self.push(r.signedColumn(n));
  item[0] = -1;
  yield;
  return makeTree(item, children, flags, self);
}

// When samples of value 0 were taken: slots of time, and counts {node, slot, samples} by node, then
// slot. null where the profile knows no times.
function readTimes(bytes, nodes) {
  if (!bytes) return null;
  const r = reader(bytes, "TIME");
  const slotMs = r.varint() / 1000, startMs = r.varint() / 1000, slots = r.count(MAX_SLOTS);
  const n = r.count(bytes.length);
  const node = r.column(n, nodes), slot = r.column(n, slots);
  for (let i = 1; i < n; i++) {
    if (node[i] === 0) slot[i] += slot[i - 1];
    node[i] += node[i - 1];
    if (node[i] >= nodes || slot[i] >= slots) throw damaged("TIME", "a number is out of range");
  }
  if (!(slotMs > 0) || !n) throw damaged("TIME", "it is empty");
  return { slotMs, startMs, slots, node, slot, samples: r.column(n, 2 ** 31) };
}

// A large file is read in steps of some 20 ms, so that a page can breathe between them; the last one
// returns the model.
export function* parseSteps(bytes) {
  const section = sections(bytes);
  let meta;
  try {
    meta = JSON.parse(new TextDecoder().decode(section("META")));
  } catch (e) {
    throw e.section ? e : damaged("META", e.message);
  }
  const strings = readStrings(section("STR"));
  yield;
  const fun = readFunctions(section("FUN"), strings.length);
  const contexts = readContexts(section("CTX"), strings);
  const tree = yield* readNodes(section("NODE"), fun.n + contexts.length);
  yield;
  const times = readTimes(section("TIME", true), tree.n);
  return makeModel({ meta, strings, fun, contexts, tree, times });
}

export function parseContainer(bytes) {
  const steps = parseSteps(bytes);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

// Processes of one name can be shown as one: such a row is a context of its own, after the file's.
function nameGroups(contexts) {
  const groups = new Map();
  contexts.forEach((c) => {
    if (c.kind === CONTEXT.PROCESS) groups.set(c.name, (groups.get(c.name) || 0) + 1);
  });
  for (const [name, members] of groups) {
    if (members > 1)
      contexts.push(
          { kind: CONTEXT.PROCESS, name, container: "", appid: "", pid: 0, tid: 0, uid: 0, members });
  }
}

export function makeModel(model) {
  const { fun, strings, contexts, meta } = model;
  nameGroups(contexts);
  const shown = new Array(fun.n + contexts.length);
  model.nitems = fun.n + contexts.length;
  model.isContext = (item) => item >= fun.n;
  model.context = (item) => contexts[item - fun.n];
  // Unaltered name: what searches and links go by. Item -1 is the root.
  model.rawName = (item) => item < 0        ? "all"
                            : item >= fun.n ? contexts[item - fun.n].name
                                            : strings[fun.name[item]];
  // Safe to show: context rows carry their numbers.
  model.name = (item) => {
    if (item < 0) return "all";
    if (shown[item] === undefined)
      shown[item] = visible(
          item >= fun.n                   ? contextName(contexts[item - fun.n])
          : model.origin(item) === "type" ? `◆ ${strings[fun.name[item]]}`
                                          : strings[fun.name[item]] || "[unknown]");
    return shown[item];
  };
  model.origin = (item) =>
      item < 0 || item >= fun.n ? "context" : (meta.kinds || [])[fun.kind[item]] || "unknown";
  model.module = (item) => item < 0 || item >= fun.n ? "" : strings[fun.module[item]];
  model.file = (item) => item < 0 || item >= fun.n ? "" : strings[fun.file[item]];
  model.buildId = (item) => item < 0 || item >= fun.n ? "" : strings[fun.build[item]];
  model.line = (item) => item < 0 || item >= fun.n ? 0 : fun.line[item];
  model.nsPerSample = meta.frequency                   ? 1e9 / meta.frequency
                      : /clock/.test(meta.event || "") ? meta.period
                                                       : 0;
  model.compare = !!meta.compare && model.tree.self.length >= 2;
  return model;
}

function contextName(c) {
  if (c.kind === CONTEXT.CONTAINER) return c.name || "host (no container)";
  if (c.members) return `${c.name || "?"} (${c.members} processes)`;
  const number = c.kind === CONTEXT.PROCESS ? c.pid : c.tid;
  const word = c.kind === CONTEXT.THREAD ? "thread " : "";
  return word + (c.name || "?") + (number ? ` (${number})` : "");
}
