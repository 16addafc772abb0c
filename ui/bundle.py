#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ui/ -> the fixed parts of the page as C arrays: bundle.py SOURCE_DIR OUT.c [--no-esbuild]
or an existing page with these modules instead of its own: bundle.py SOURCE_DIR OUT.html --page IN.html

Bundles the modules with esbuild; without it strips imports and exports and joins the files in the
order of RANKS (top-level names must differ, which build-aux/check-ui-ranks holds). Style and script
get their SHA-256 into the page's policy."""
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys

RANKS = ["format", "model", "rebuild", "transform", "callers", "time", "compare", "pack", "layout", "raster", "label", "color", "search", "state", "view", "render", "dom",
         "table", "camera", "strip", "panel", "details", "input", "access", "export", "toolbar", "commands", "main"]


def joined(source):
    out = []
    for name in RANKS:
        text = open(os.path.join(source, name + ".js"), encoding="utf-8").read()
        text = re.sub(r"^import [^;]*;\n", "", text, flags=re.M)
        text = re.sub(r"^export (?=(async )?(function|const|let))", "", text, flags=re.M)
        text = re.sub(r"^\s*//[^\n]*\n", "", text, flags=re.M)
        out.append(text)
    return '(()=>{"use strict";\n' + "\n".join(out) + "})();"


def script(source, esbuild):
    if not esbuild:
        return joined(source)
    main = os.path.join(source, "main.js")
    return subprocess.run([esbuild, main, "--bundle", "--minify", "--format=iife", "--target=chrome103,firefox113,safari16.4",
                           "--charset=utf8", "--legal-comments=none"],
                          check=True, capture_output=True, text=True, encoding="utf-8").stdout.strip()


def style(source, esbuild):
    path = os.path.join(source, "viewer.css")
    if not esbuild:
        return open(path, encoding="utf-8").read()
    return subprocess.run([esbuild, path, "--minify", "--charset=utf8"], check=True, capture_output=True, text=True,
                          encoding="utf-8").stdout.strip()


def sha(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def array(name, data):
    rows = (data[i:i + 20] for i in range(0, len(data), 20))
    body = "\n".join("\t" + "".join(f"{b}," for b in row) for row in rows)
    return f"const unsigned char {name}[] = {{\n{body}\n}};\nconst unsigned {name}_len = {len(data)};\n"


def rewrap(page, out, head, body, tail):
    text = open(page, encoding="utf-8").read()
    title = text[text.index("<title>") + 7:text.index("</title>")]
    start = text.index('<div id="static">')
    end = text.index("</script>", text.index('id="profile">')) + len("</script>\n")
    with open(out, "w", encoding="utf-8") as f:
        f.write(head + title + body + text[start:end] + tail)


def main():
    source, out = sys.argv[1:3]
    esbuild = None if "--no-esbuild" in sys.argv else shutil.which("esbuild")
    js, css = script(source, esbuild), style(source, esbuild)
    # What would end the element early cannot stand in it.
    for text, end in ((js, "</script"), (js, "<!--"), (css, "</style")):
        if end in text.lower():
            sys.exit(f"bundle: the text holds {end}")
    shell = open(os.path.join(source, "shell.html"), encoding="utf-8").read()
    shell = shell.replace("@SCRIPT_HASH@", sha(js)).replace("@STYLE_HASH@", sha(css)).replace("@STYLE@", css)
    head, rest = shell.split("@TITLE@")
    body, tail = rest.split("@STATIC@")
    tail = tail.replace("@SCRIPT@", js)
    if "--page" in sys.argv:
        rewrap(sys.argv[sys.argv.index("--page") + 1], out, head, body, tail)
        return
    with open(out, "w", encoding="ascii") as f:
        f.write("/* Made by ui/bundle.py. */\n")
        f.write("extern const unsigned char ui_page_head[], ui_page_body[], ui_page_tail[];\n")
        f.write("extern const unsigned ui_page_head_len, ui_page_body_len, ui_page_tail_len;\n")
        for name, text in (("ui_page_head", head), ("ui_page_body", body), ("ui_page_tail", tail)):
            f.write(array(name, text.encode()))


main()
