// SPDX-License-Identifier: Apache-2.0
// label.js -- a name in the room there is: the ladder of ever shorter forms, by origin. No DOM.

// Text without what stands between matching brackets of these kinds; "operator<" and "->" survive.
function withoutBrackets(text, open, close) {
  let out = "", depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === open) {
      // Template arguments follow a name; "<T as Trait>::f", "operator<" and <U+202E> do not.
      const literal =
          open === "<" && (!/[\w:]$/.test(out) || /operator$/.test(out) || text.startsWith("<U+", i));
      if (depth === 0 && literal) {
        out += c;
        continue;
      }
      depth++;
    } else if (c === close && depth > 0 && text[i - 1] !== "-") {
      depth--;
    } else if (depth === 0) {
      out += c;
    }
  }
  return depth ? text : out;
}

function cppBase(text) {
  const params =
      text.lastIndexOf(")") > 0 && !text.startsWith("(")
          ? withoutBrackets(
                text.replace(/\(anonymous namespace\)/g, "{anon}").replace(/operator\(\)/g, "operator{}"),
                "(", ")")
          : text;
  return withoutBrackets(params, "<", ">")
      .replace(/operator\{\}/g, "operator()")
      .replace(/ (const|volatile|&|&&)+$/, "")
      .replace(/\[abi:\w+\]/g, "")
      .trim();
}

function initials(text, separator) {
  const parts = text.split(separator);
  if (parts.length < 3) return text;
  return parts.map((p, i) => i < parts.length - 2 && p.length > 1 ? p[0] : p).join(separator);
}

function dropLeft(ladder, text, separator) {
  const parts = text.split(separator);
  for (let k = 1; k < parts.length; k++) ladder.push(parts.slice(k).join(separator));
}

// Forms of a name, longest first; the last is the base name.
export function ladderOf(name, origin) {
  const ladder = [name];
  let text = name;
  if (/^\(.*\)$/.test(name)) { // no symbol: the module's path
    ladder.push(`(${name.slice(1, -1).split("/").pop()})`);
  } else if (origin === "java") {
    text = text.replace(/\(.*$/, "");
    ladder.push(text);
    const separator = text.includes("/") ? "/" : ".";
    ladder.push(initials(text, separator));
    dropLeft(ladder, text, separator);
    dropLeft(ladder, text.slice(text.lastIndexOf("/") + 1), ".");
  } else if (origin === "python" || origin === "ruby" || origin === "php" || origin === "node" ||
             origin === "perl") {
    text = text.replace(/ [(-].*$/, "");
    ladder.push(text);
    dropLeft(ladder, text, ".");
  } else if (origin === "go") {
    text = text.replace(/\[\.\.\.\]|\[go\.shape[^\]]*\]/g, "");
    ladder.push(text);
    ladder.push(text.slice(text.lastIndexOf("/") + 1));
    dropLeft(ladder, text.slice(text.lastIndexOf("/") + 1), ".");
  } else if (origin === "context") {
    ladder.push(name.replace(/ \(\d+\)$/, ""));
  } else {
    text = cppBase(text);
    ladder.push(text);
    if (text.includes("::")) {
      ladder.push(initials(text, "::"));
      dropLeft(ladder, text, "::");
    }
  }
  return ladder.filter((t, i) => t && (i === 0 || t.length < ladder[0].length))
      .sort((a, b) => b.length - a.length);
}

// The longest form of at most `chars` characters; else the base name clipped at the right; "" when
// not even three characters fit: two say nothing.
export function fit(ladder, chars) {
  if (chars < 3)
    return ladder[ladder.length - 1].length <= chars && chars > 0 ? ladder[ladder.length - 1] : "";
  for (const form of ladder)
    if (form.length <= chars) return form;
  const base = ladder[ladder.length - 1];
  return base.slice(0, chars - 1) + "…";
}
