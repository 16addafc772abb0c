// SPDX-License-Identifier: Apache-2.0
// color.js -- what a box looks like: origin, module, heat, plain, change; and second signs, so that
// colour is never the only carrier. Fills were chosen for least distance under normal and three
// deficient visions (ui-anchors.md 4.5). No DOM.

export const ORIGINS = {
  kernel: {word: "kernel", light: "#f58d49", dark: "#ec9730", sign: "top"},
  native: {word: "native", light: "#e2d8d0", dark: "#a69c95"},
  cpp: {word: "C++", light: "#e3c150", dark: "#e1cc5a"},
  rust: {word: "Rust", light: "#bc783a", dark: "#bc7533"},
  go: {word: "Go", light: "#68cdee", dark: "#4abece"},
  java: {word: "Java", light: "#91b187", dark: "#2c9f63"},
  python: {word: "Python", light: "#71a4f4", dark: "#809be5", sign: "left"},
  ruby: {word: "Ruby", light: "#df587b", dark: "#ef6664", sign: "left"},
  php: {word: "PHP", light: "#937bc5", dark: "#c7bbff", sign: "left"},
  perl: {word: "Perl", light: "#937bc5", dark: "#c7bbff", sign: "dots"},
  node: {word: "Node", light: "#a6e590", dark: "#90c27f"},
  dotnet: {word: ".NET", light: "#c796bf", dark: "#ae6fbe"},
  jit: {word: "JIT", light: "#1f9995", dark: "#8fd9d1", sign: "dots"},
  meta: {word: "note", light: "#bebebe", dark: "#85868b", sign: "dots"},
  type: {word: "object type", light: "#c796bf", dark: "#ae6fbe", sign: "dots"},
  unknown: {word: "no symbol", light: "#bebebe", dark: "#85868b", sign: "hatch"},
  context: {word: "process or thread", light: "#eceff3", dark: "#2a2f37", darkText: "#e6e9ee", sign: "bold"},
};
export const originOf = (name) => ORIGINS[name] || ORIGINS.unknown;
export const RUN = {
  light: "#c9ced6",
  dark: "#3a414b"
};
export const LABEL = {
  light: "#14171c",
  dark: "#0b0d10"
};
export const SURFACE = {
  light: {
    ground: "#ffffff",
    panel: "#f6f7f9",
    text: "#16191e",
    muted: "#5b636e",
    accent: "#0b57d0",
    match: "#b3006b",
    warn: "#8a5a00",
    error: "#b3261e"
  },
  dark: {
    ground: "#15181d",
    panel: "#1c2027",
    text: "#e6e9ee",
    muted: "#a0a8b3",
    accent: "#8ab4ff",
    match: "#ff7ad0",
    warn: "#ffc35c",
    error: "#ff8a80"
  },
};
// Less to more; the middle one is "no change".
export const CHANGE = {
  light: ["#4a90d9", "#7fb2e6", "#b3d0f0", "#d9e6f5", "#e4e4e4", "#fbe0d0", "#f9bd98", "#f2955c", "#e06c2c"],
  dark: ["#3d95f5", "#5f9fe0", "#7d9fc6", "#8b98a8", "#8d9299", "#a39489", "#c39274", "#df8a55", "#f77f33"],
};
const MODULE_HUES = 12;
const HEAT = {
  light: ["#f3ece8", "#f7dccb", "#f9cbad", "#f8b88e", "#f5a470", "#ef8f52", "#e57a37"],
  dark: ["#7a7673", "#8d7f77", "#a3897a", "#b9937c", "#cf9c7c", "#e5a679", "#fbb072"],
};
const PLAIN = {
  light: "#dfe3e8",
  dark: "#9aa1ab"
};

function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h ^ h >>> 15) >>> 0;
}

// z of a change of counts a -> b, each with its factor; below 2 it is noise.
export function changeScore(a, b, fa = 1, fb = 1) {
  const spread = Math.sqrt(Math.abs(a) * fa * fa + Math.abs(b) * fb * fb);
  return spread ? (b * fb - a * fa) / spread : 0;
}

// Class 0..8 of a node under comparison: by change of its share of the whole.
export function changeClass(a, b, wholeA, wholeB, fa, fb) {
  if (Math.abs(changeScore(a, b, fa, fb)) < 2) return 4;
  const sa = a * fa, sb = b * fb, larger = Math.max(Math.abs(sa), Math.abs(sb));
  const ratio = larger ? (sb - sa) / larger : 0;
  const share = Math.abs(sb - sa) / Math.max(wholeA * fa, wholeB * fb, 1e-9);
  // Rounded, so that a comparison the other way round lands on the mirrored class.
  const strength = Math.round(1e6 * Math.abs(ratio) * Math.min(1, 0.25 + share * 10)) / 1e6;
  const step = strength > 0.6 ? 4 : strength > 0.35 ? 3 : strength > 0.15 ? 2 : 1;
  return 4 + Math.sign(ratio) * step;
}

// A painter for one theme and mode: style(item, heat, change) -> index into .fills; .text, .sign per
// style. Indices are what the drawing loop sorts and batches by.
export function palette(model, mode, theme, compare) {
  const fills = [], texts = [], signs = [];
  const add = (fill, text, sign) => {
    fills.push(fill);
    texts.push(text || LABEL[theme]);
    signs.push(sign || "");
    return fills.length - 1;
  };
  const names = Object.keys(ORIGINS);
  const byOrigin = {};
  for (const name of names) {
    const o = ORIGINS[name];
    byOrigin[name] = add(o[theme], theme === "dark" && o.darkText, o.sign);
  }
  const run = add(RUN[theme], "", "");
  const change = CHANGE[theme].map((c) => add(c));
  const heat = HEAT[theme].map((c) => add(c));
  const plain = add(PLAIN[theme]);
  const modules = [];
  for (let i = 0; i < MODULE_HUES; i++)
    modules.push(add(`oklch(${theme === "dark" ? 0.74 : 0.83} 0.09 ${i * 360 / MODULE_HUES})`));
  const cached = new Int16Array(model.nitems).fill(-1);
  function fixed(item) {
    const origin = model.origin(item);
    if (origin === "context") return byOrigin.context;
    if (mode === "m" && model.module(item)) return modules[hash(model.module(item)) % MODULE_HUES];
    if (mode === "d") return plain;
    return byOrigin[origin] === undefined ? byOrigin.unknown : byOrigin[origin];
  }
  return {
    fills,
    texts,
    signs,
    run,
    style(item, selfShare, changed) {
      if (item < 0) return byOrigin.context;
      if (compare) return change[changed];
      if (mode === "h" && !model.isContext(item))
        return heat[Math.min(heat.length - 1, Math.floor(Math.sqrt(selfShare) * heat.length))];
      if (cached[item] < 0) cached[item] = fixed(item);
      return cached[item];
    },
  };
}
