// SPDX-License-Identifier: Apache-2.0
// browser.mjs -- headless Chromium over the DevTools protocol on a pipe; nothing but node needed.
//
//   const b = await launch({width, height, args});  const page = await b.open(url);
//   const c = await b.context();  c.open(url): beside the others, with windows, storage and downloads of its own
//   await page.eval(expression);  await page.key("ArrowDown");  await page.click(x, y, {button, modifiers});
//   await page.png(path);  page.requests, page.errors: what it asked for, what it complained of.

import {spawn} from "node:child_process";
import {mkdtempSync, rmSync, writeFileSync, existsSync} from "node:fs";
import {tmpdir} from "node:os";
import {join} from "node:path";

const CHROMIUM = ["/usr/lib/chromium/chromium", "/usr/bin/chromium"].find(existsSync);
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
  "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe",
  "--allow-file-access-from-files=false"
];
const TIMEOUT_MS = 120000; // of whatever else the machine does, a call is answered by then
// In the page, before its own script: what it still waits for, but for announcements (400 ms) and
// longer. `settled` resolves after two frames that asked for nothing more.
const WATCH = `(() => {
  const frame = window.requestAnimationFrame.bind(window), unframe = window.cancelAnimationFrame.bind(window);
  const timer = window.setTimeout.bind(window), untimer = window.clearTimeout.bind(window);
  const open = new Set();
  window.requestAnimationFrame = (f) => {
    const id = frame((t) => { open.delete("f" + id); f(t); });
    open.add("f" + id);
    return id;
  };
  window.cancelAnimationFrame = (id) => { open.delete("f" + id); unframe(id); };
  window.setTimeout = (f, ms, ...a) => {
    const id = timer(() => { open.delete("t" + id); f(...a); }, ms);
    if (!(ms >= 400)) open.add("t" + id);
    return id;
  };
  window.clearTimeout = (id) => { open.delete("t" + id); untimer(id); };
  window.settled = () => new Promise((done) => {
    let calm = 0;
    const look = () => {
      calm = open.size ? 0 : calm + 1;
      if (calm > 1) done();
      else frame(look);
    };
    timer(() => frame(look), 20);
  });
})()`;

export const haveChromium = () => Boolean(CHROMIUM);

const KEY_CODES = {
  "/": "Slash",
  "?": "Slash",
  "-": "Minus",
  "=": "Equal",
  "+": "Equal",
  "0": "Digit0",
  " ": "Space"
};

export async function launch({width = 1280, height = 800, args = []} = {}) {
  const profile = mkdtempSync(join(tmpdir(), "gprofiler-ui-"));
  const child = spawn(CHROMIUM,
      [...FLAGS, `--user-data-dir=${profile}`, `--window-size=${width},${height}`, ...args, "about:blank"],
      { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const waiting = new Map(), sessions = new Map();
  let next = 1, buffered = Buffer.alloc(0), dead = false;
  child.on("exit", () => {
    dead = true;
    for (const { reject } of waiting.values()) reject(new Error("the browser ended"));
  });
  child.stdio[4].on("data", (data) => {
    buffered = Buffer.concat([buffered, data]);
    for (let end = buffered.indexOf(0); end >= 0; end = buffered.indexOf(0)) {
      receive(JSON.parse(buffered.subarray(0, end).toString()));
      buffered = buffered.subarray(end + 1);
    }
  });
  function receive(message) {
    const call = waiting.get(message.id);
    if (call) {
      waiting.delete(message.id);
      clearTimeout(call.timer);
      if (message.error)
        call.reject(new Error(`${call.method}: ${message.error.message}`));
      else
        call.resolve(message.result);
    } else if (message.sessionId && sessions.has(message.sessionId)) {
      sessions.get(message.sessionId)(message);
    }
  }
  function send(method, params = {}, sessionId) {
    return new Promise((resolve, reject) => {
      if (dead) return reject(new Error("the browser ended"));
      const id = next++;
      const timer = setTimeout(() => {
        waiting.delete(id);
        reject(new Error(`${method}: no answer in ${TIMEOUT_MS} ms`));
      }, TIMEOUT_MS);
      waiting.set(id, { resolve, reject, method, timer });
      child.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
    });
  }
  const open = opener();
  // Tabs that were only looked at are used again: a new one takes longer than most checks.
  function opener(browserContextId) {
    const idle = [];
    return (url, options = {}) => openIn(idle, browserContextId, url, options);
  }
  async function openIn(idle, browserContextId, url, options) {
    const { media = [], size, scale = 1, offline = false } = options;
    const plain = url && !Object.keys(options).length;
    if (plain && idle.length) {
      const page = idle.pop();
      await page.raw("Page.bringToFront");
      await page.goto(url);
      return page;
    }
    const { targetId } = await send("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
    const call = (method, params) => send(method, params, sessionId);
    let changed = !plain;
    const page = {
      requests: [],
      errors: [],
      waiting: new Map(),
      targetId,
      raw: call,
      call(method, params) {
        changed = true;
        return call(method, params);
      }
    };
    sessions.set(sessionId, (m) => event(page, m));
    for (const domain of ["Page", "Runtime", "Network", "Log"]) await call(`${domain}.enable`);
    await call("Emulation.setFocusEmulationEnabled", { enabled: true }); // whatever other window is in front
    if (media.length) await call("Emulation.setEmulatedMedia", { features: media });
    await call("Emulation.setDeviceMetricsOverride", {
      width: size ? size[0] : width,
      height: size ? size[1] : height,
      deviceScaleFactor: scale,
      mobile: false
    });
    if (offline)
      await call("Network.emulateNetworkConditions",
          { offline: true, latency: 0, downloadThroughput: 0, uploadThroughput: 0 });
    await call("Page.addScriptToEvaluateOnNewDocument", { source: WATCH });
    addMethods(page, call, async () => {
      if (changed) return send("Target.closeTarget", { targetId });
      await call("Page.navigate", { url: "about:blank" });
      await page.until("location.href === 'about:blank'");
      page.requests.length = page.errors.length = 0;
      idle.push(page);
    });
    if (url) await page.goto(url);
    return page;
  }
  return {
    open,
    send,
    async context() {
      const { browserContextId } = await send("Target.createBrowserContext");
      return {
        open: opener(browserContextId),
        downloadTo: (downloadPath) => send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath, browserContextId })
      };
    },
    async close() {
      const ended = new Promise((resolve) => child.on("exit", resolve));
      send("Browser.close").catch(() => {});
      const kill = setTimeout(() => child.kill("SIGKILL"), 5000);
      if (!dead) await ended;
      clearTimeout(kill);
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

function event(page, { method, params }) {
  const waiting = page.waiting.get(method);
  page.waiting.delete(method);
  if (waiting) waiting(params);
  if (method === "Network.requestWillBeSent") page.requests.push(params.request.url);
  if (method === "Runtime.exceptionThrown")
    page.errors.push(params.exceptionDetails.exception?.description || params.exceptionDetails.text);
  if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type))
    page.errors.push(params.args.map((a) => a.value || a.description).join(" "));
  if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level))
    page.errors.push(params.entry.text);
}

function addMethods(page, call, close) {
  const evaluate = async (expression, more) => {
    const r = await call("Runtime.evaluate",
        { expression, awaitPromise: true, returnByValue: true, userGesture: true, ...more });
    if (r.exceptionDetails)
      throw new Error(r.exceptionDetails.exception?.description || r.exceptionDetails.text);
    return r.result.value;
  };
  page.eval = (expression) => evaluate(expression, {});
  page.strict = (expression) =>
      evaluate(expression, { allowUnsafeEvalBlockedByCSP: false }); // held to the page's policy
  page.until = async (expression, ms = TIMEOUT_MS) => {
    const end = Date.now() + ms;
    for (;;) {
      const v = await page.eval(expression).catch(() => undefined);
      if (v) return v;
      if (Date.now() > end)
        throw new Error(`not within ${ms} ms: ${expression}; errors: ${page.errors.join("; ")}`);
      await new Promise((r) => setTimeout(r, 20));
    }
  };
  const ready = async () => {
    await page.until(
        "document.readyState === 'complete' && location.href !== 'about:blank' && (!document.getElementById('app') || Boolean(document.documentElement.dataset.ready))");
    await page.settle();
  };
  page.goto = async (url) => {
    await call("Page.navigate", { url });
    await ready();
  };
  page.reload = async () => {
    const loaded = page.next("Page.loadEventFired");
    await call("Page.reload");
    await loaded;
    await ready();
  };
  // Until nothing moves: animation, debounce, resize.
  page.settle = () => page.eval("window.settled && settled()");
  // Through the history or to another hash, and until the page has heard of it.
  const heard = async (event, act) => {
    await page.eval(`new Promise((r) => { addEventListener("${event}", () => setTimeout(r), { once: true }); ${act} })`);
    await page.settle();
  };
  // The next event of a name from the browser.
  page.next = (method) => new Promise((resolve) => page.waiting.set(method, resolve));
  page.back = () => heard("popstate", "history.back()");
  page.forward = () => heard("popstate", "history.forward()");
  page.key = async (key, { code, modifiers = 0, text } = {}) => {
    const c = code || KEY_CODES[key] ||
              (/^[a-z]$/i.test(key) ? `Key${key.toUpperCase()}`
                  : /^\d$/.test(key) ? `Digit${key}`
                                     : key);
    const vk = {
      Backspace: 8,
      Tab: 9,
      Enter: 13,
      Escape: 27,
      End: 35,
      Home: 36,
      ArrowLeft: 37,
      ArrowUp: 38,
      ArrowRight: 39,
      ArrowDown: 40
    }[key] || key.toUpperCase().charCodeAt(0);
    const typed = text !== undefined                     ? text
                  : key.length === 1 && !(modifiers & 2) ? key
                  : key === "Enter"                      ? "\r"
                                                         : undefined;
    await call("Input.dispatchKeyEvent",
        { type: "keyDown", key, code: c, modifiers, text: typed, windowsVirtualKeyCode: vk });
    await call(
        "Input.dispatchKeyEvent", { type: "keyUp", key, code: c, modifiers, windowsVirtualKeyCode: vk });
  };
  page.type = async (text) => {
    for (const c of text) await page.key(c);
  };
  // Chooses files in an input, as its dialog would.
  page.choose = async (selector, files) => {
    const { result } =
        await call("Runtime.evaluate", { expression: `document.querySelector(${JSON.stringify(selector)})` });
    await call("DOM.setFileInputFiles", { files, objectId: result.objectId });
    await page.settle();
  };
  // From one point to others with the button held.
  page.drag = async ([x, y], ...to) => {
    const mouse = (type, at, more) =>
        call("Input.dispatchMouseEvent", { type, x: at[0], y: at[1], button: "left", ...more });
    await mouse("mousePressed", [x, y], { clickCount: 1 });
    for (const at of to) await mouse("mouseMoved", at, { buttons: 1 });
    await mouse("mouseReleased", to.at(-1), { clickCount: 1 });
    await page.settle();
  };
  page.move = (x, y) => call("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
  page.click = async (x, y, { button = "left", modifiers = 0, count = 1 } = {}) => {
    await page.move(x, y);
    await call(
        "Input.dispatchMouseEvent", { type: "mousePressed", x, y, button, clickCount: count, modifiers });
    await call(
        "Input.dispatchMouseEvent", { type: "mouseReleased", x, y, button, clickCount: count, modifiers });
  };
  page.png = async (path) => {
    const { data } = await call("Page.captureScreenshot", { format: "png", optimizeForSpeed: true });
    if (path) writeFileSync(path, Buffer.from(data, "base64"));
    return Buffer.from(data, "base64");
  };
  page.pdf = async (path) => {
    const { data } = await call("Page.printToPDF", { printBackground: true, landscape: true });
    if (path) writeFileSync(path, Buffer.from(data, "base64"));
    return Buffer.from(data, "base64");
  };
  page.close = close;
}
