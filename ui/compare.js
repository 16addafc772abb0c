// SPDX-License-Identifier: Apache-2.0
// compare.js -- two profiles as one, side by side, as src/export/html_compare.c joins them: contexts by
// container, process name and thread name; functions by name, module, file and kind. No DOM.

import {CONTEXT, FLAG, makeModel} from "./model.js";
import {pairTable, preorder} from "./rebuild.js";

const less = (a, b) => a < b ? -1 : a > b ? 1 : 0;

// Items of both files -> items of the joined one, functions in the order of their names.
function joinFunctions(models) {
  const strings = [""], known = new Map([["", 0]]), functions = new Map();
  const text = (s) => {
    if (!known.has(s)) {
      known.set(s, strings.length);
      strings.push(s);
    }
    return known.get(s);
  };
  const kinds = [...new Set(models.flatMap((m) => m.meta.kinds))];
  const keys = models.map(({ fun, strings: s, meta }) => Array.from({ length: fun.n }, (_, i) => {
    const name = s[fun.name[i]], module = s[fun.module[i]], file = s[fun.file[i]], line = fun.line[i];
    const kind = Math.max(0, kinds.indexOf(meta.kinds[fun.kind[i]])), key = [kind, name, module, file].join("\0");
    const before = functions.get(key);
    if (!before)
      functions.set(key, { name, module, file, kind, line });
    else if (line && (!before.line || line < before.line))
      before.line = line;
    return key;
  }));
  const sorted = [...functions].sort(
      ([, a], [, b]) => less(a.name, b.name) || less(a.module, b.module) || less(a.file, b.file) || a.kind - b.kind);
  const at = new Map(sorted.map(([key], i) => [key, i])), list = sorted.map(([, f]) => f), n = list.length;
  const column = (make, of) => make.from(list, of);
  return {
    kinds,
    strings,
    fun: {
      n,
      name: column(Int32Array, (f) => text(f.name)),
      module: column(Int32Array, (f) => text(f.module)),
      file: column(Int32Array, (f) => text(f.file)),
      build: new Int32Array(n),
      line: column(Float64Array, (f) => f.line),
      kind: column(Uint8Array, (f) => f.kind)
    },
    items: keys.map((side) => side.map((key) => at.get(key))),
  };
}

function side(m) {
  const { host, start, duration, event, frequency, period, source, command, comment, ledger } = m.meta;
  return { host, start, duration, event, frequency, period, source, command, comment, ledger };
}

function joinedMeta(a, b, kinds, contexts, nodes) {
  const of = (kind) => contexts.filter((c) => c.kind === kind && (kind !== CONTEXT.CONTAINER || c.name)).length;
  return {...side(b),
    agent: b.meta.agent,
    source: null,
    command: null,
    comment: null,
    ledger: null,
    kinds,
    values: [a.meta.values[0], b.meta.values[0]],
    compare: { a: side(a), b: side(b) },
    processes: of(CONTEXT.PROCESS),
    threads: of(CONTEXT.THREAD),
    containers: of(CONTEXT.CONTAINER),
    nodes,
    folded: (a.meta.folded || 0) + (b.meta.folded || 0)
  };
}

// Throws what to tell the user where the two do not go together.
export function union(a, b) {
  const unit = (m) => ((m.meta.values || [])[0] || {}).unit;
  if (a.compare || b.compare) throw new Error("one of them is a comparison already");
  if (unit(a) === undefined || unit(a) !== unit(b)) throw new Error("the two count different things");
  const { kinds, strings, fun, items } = joinFunctions([a, b]);
  const contexts = [], known = new Map(), most = a.tree.n + b.tree.n;
  const item = new Int32Array(most), parent = new Int32Array(most), flags = new Uint8Array(most);
  const find = pairTable(most, parent, item);
  const self = [new Float64Array(most), new Float64Array(most)];
  let count = 1;
  item[0] = -1;
  [a, b].forEach((m, s) => {
    const { tree } = m, to = new Int32Array(tree.n), keys = new Array(tree.n).fill("");
    self[s][0] += tree.self[0][0];
    for (let i = 1; i < tree.n; i++) {
      const up = to[tree.parent[i]];
      let it;
      if (m.isContext(tree.item[i])) {
        const { kind, name } = m.context(tree.item[i]), key = keys[i] = `${keys[tree.parent[i]]}\0${kind}${name}`;
        if (!known.has(key)) {
          known.set(key, fun.n + contexts.length);
          contexts.push({ kind, name, container: "", appid: "", pid: 0, tid: 0, uid: 0 });
        }
        it = known.get(key);
      } else {
        it = items[s][tree.item[i]];
      }
      const at = to[i] = find(up, it, count);
      if (at === count) {
        item[at] = it;
        parent[at] = up;
        flags[at] = tree.flags[i];
        count++;
      } else {
        flags[at] = (flags[at] | tree.flags[i]) & ~FLAG.INLINED | flags[at] & tree.flags[i] & FLAG.INLINED;
      }
      self[s][at] += tree.self[0][i];
    }
  });
  const rank = new Int32Array(contexts.length);
  const sorted = contexts.map((c, i) => ({ c, i })).sort((p, q) => p.c.kind - q.c.kind || less(p.c.name, q.c.name));
  sorted.forEach(({ i }, k) => { rank[i] = k; });
  for (let i = 1; i < count; i++)
    if (item[i] >= fun.n) item[i] = fun.n + rank[item[i] - fun.n];
  const tree = preorder(count, item, parent, flags, self, {}, fun.n + contexts.length);
  const meta = joinedMeta(a, b, kinds, contexts, count);
  return makeModel({ meta, strings, fun, contexts: sorted.map(({ c }) => c), tree, times: null });
}

// The container inside a page's text: what the writer put into its inert element.
export function containerText(page) {
  const m = /id="profile">([A-Za-z0-9+/=\s]*)</.exec(page);
  if (!m) throw new Error("it is no page of gprofiler");
  return m[1];
}
