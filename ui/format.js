// SPDX-License-Identifier: Apache-2.0
// format.js -- numbers, bytes, times, shares and foreign text, as people read them. No DOM.

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const TIMES = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];

export function count(n) {
  const sign = n < 0 ? "−" : "";
  const text = Math.round(Math.abs(n)).toString();
  return sign + text.replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

export function bytes(n) {
  let v = Math.abs(n), unit = 0;
  while (v >= 1024 && unit < BYTES.length - 1) {
    v /= 1024;
    unit++;
  }
  return (n < 0 ? "−" : "") +
         (unit ? v.toFixed(v < 10    ? 2
                           : v < 100 ? 1
                                     : 0)
               : v.toFixed(0)) +
         " " + BYTES[unit];
}

export function nanoseconds(n) {
  const v = Math.abs(n), sign = n < 0 ? "−" : "";
  if (v >= 120e9) {
    const s = Math.round(v / 1e9);
    return sign + (s >= 7200 ? `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`
                             : `${Math.floor(s / 60)} min ${s % 60} s`);
  }
  const [scale, unit] = TIMES.find(([t]) => v >= t) || TIMES[3];
  const x = v / scale;
  return `${sign}${x >= 100 || unit === "ns" ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2)} ${unit}`;
}

export function percent(part, whole) {
  if (!whole) return "0 %";
  if (!part) return "0 %";
  const p = 100 * part / whole;
  const a = Math.abs(p);
  if (a && a < 0.005) return "< 0.01 %";
  return `${p < 0 ? "−" : ""}${a.toFixed(a >= 99.995 ? 0 : a >= 10 ? 1 : 2)} %`;
}

// Half the width of the 95 % interval of a share seen in n samples, in percentage points.
export function errorBound(part, n) {
  if (n <= 0) return 0;
  const p = Math.min(1, Math.max(0, part / n));
  return 196 * Math.sqrt(p * (1 - p) / n);
}

// A value type {name, unit} and the nanoseconds one sample stands for -> how its values read.
export function valueFormat(type, nsPerSample) {
  const unit = type ? type.unit : "count";
  if (unit === "bytes") return { text: bytes, bare: bytes, approx: () => "" };
  if (unit === "nanoseconds") return { text: nanoseconds, bare: nanoseconds, approx: () => "" };
  const samples = !type || type.name === "samples";
  return {
    text: samples ? (v) => `${count(v)} ${Math.abs(v) === 1 ? "sample" : "samples"}` : count,
    bare: count, // where a heading says of what
    approx: (v) => samples && nsPerSample ? `≈ ${nanoseconds(v * nsPerSample)}` : "",
  };
}

// What could not be seen or would turn the text around is shown by number; the rest is as it was.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
export function visible(text) {
  return text.replace(UNSEEN, (c) => `<U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
}

export function clip(text, max) { return text.length > max ? text.slice(0, max - 1) + "…" : text; }

export function when(ms) {
  if (!ms) return "";
  return new Date(ms).toISOString().replace("T", " ").slice(0, 19) + " UTC";
}
