// SPDX-License-Identifier: Apache-2.0
// png.mjs -- pixels of an 8-bit RGB or RGBA PNG, to compare pictures (RFC 2083).

import {inflateSync} from "node:zlib";

export function decodePng(data) {
  let width = 0, height = 0, channels = 0;
  const parts = [];
  for (let at = 8; at < data.length;) {
    const length = data.readUInt32BE(at), type = data.toString("latin1", at + 4, at + 8),
          body = data.subarray(at + 8, at + 8 + length);
    if (type === "IHDR") {
      width = body.readUInt32BE(0);
      height = body.readUInt32BE(4);
      channels = { 2: 3, 6: 4 }[body[9]];
      if (body[8] !== 8 || !channels || body[12]) throw new Error("not an 8-bit colour picture");
    }
    if (type === "IDAT") parts.push(body);
    at += length + 12;
  }
  const raw = inflateSync(Buffer.concat(parts)), stride = width * channels,
        out = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const from = y * (stride + 1) + 1, to = y * stride, filter = raw[from - 1];
    if (!filter) {
      out.set(raw.subarray(from, from + stride), to);
      continue;
    }
    for (let x = 0; x < stride; x++) {
      const a = x >= channels ? out[to + x - channels] : 0, b = y ? out[to - stride + x] : 0,
            c = x >= channels && y ? out[to - stride + x - channels] : 0;
      let guess = filter === 1 ? a : filter === 2 ? b : a + b >> 1;
      if (filter === 4) {
        const pa = Math.abs(b - c), pb = Math.abs(a - c), pc = Math.abs(a + b - c - c);
        guess = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      }
      out[to + x] = raw[from + x] + guess;
    }
  }
  return { width, height, channels, data: out };
}

// Equal but for a few pixels (antialiasing of a moving caret and the like).
export function same(a, b, tolerance = 40) {
  if (a.equals(b)) return true;
  const x = decodePng(a), y = decodePng(b);
  if (x.width !== y.width || x.height !== y.height || x.channels !== y.channels) return false;
  let different = 0;
  for (let i = 0; i < x.data.length; i += x.channels) {
    let d = 0;
    for (let k = 0; k < 3; k++) d = Math.max(d, Math.abs(x.data[i + k] - y.data[i + k]));
    if (d > 8) different++;
  }
  return different <= tolerance;
}
