// SPDX-License-Identifier: Apache-2.0
// The page in headless Chromium, as the C writer wrote it: the twelve checks of ui-anchors.md 4.12.
//
//   node page.mjs MAKE_PAGE PICTURE_DIR GPROFILER [only]    TAP on stdout; pictures are kept for looking at
//
// The checks stand in checks_*.mjs by theme, what they share in lib.mjs.

import {haveChromium} from "./browser.mjs";
import {hands} from "./checks_hands.mjs";
import {looks} from "./checks_looks.mjs";
import {truth} from "./checks_truth.mjs";
import {ways} from "./checks_ways.mjs";
import {begin, end, inLane, only, Skip} from "./lib.mjs";

const LANES = 3; // a check waits for frames and timers half of its time

const checks = {...truth, ...ways, ...hands, ...looks };

async function main() {
  // "-word": all but those with the word in their names.
  const wanted = (k) => only.startsWith("-") ? !k.includes(only.slice(1)) : k.includes(only);
  const names = Object.keys(checks).filter((k) => !only || wanted(k));
  console.log(`1..${names.length}`);
  if (!haveChromium()) {
    names.forEach((k, i) => console.log(`ok ${i + 1} - page__${k} # SKIP Chromium is not installed`));
    return 0;
  }
  await begin();
  let failed = 0, next = 0, said = 0;
  const words = [];
  async function check(i) {
    const name = names[i], began = performance.now();
    try {
      await checks[name]();
      words[i] = `ok ${i + 1} - page__${name}\n# ${((performance.now() - began) / 1e3).toFixed(1)} s`;
    } catch (e) {
      failed |= !(e instanceof Skip);
      words[i] = e instanceof Skip ? `ok ${i + 1} - page__${name} # SKIP ${e.message}`
                                   : `not ok ${i + 1} - page__${name}\n# ${e.message.replace(/\n/g, "\n# ")}`;
    }
    while (words[said]) console.log(words[said++]);
  }
  await Promise.all(Array.from({ length: LANES }, () => inLane(async () => {
    while (next < names.length) await check(next++);
  })));
  await end();
  return failed;
}

process.exitCode = await main();
