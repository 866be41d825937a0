// Drives a headless Chromium over its debugging pipe (CDP): no port, no library.
'use strict';
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

// Starts the browser, runs `act(page)`, ends the browser. `program`: path of a Chromium.
async function withPage(program, act, size = { width: 1280, height: 800 }) {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'heaptap-browser-'));
  const child = spawn(program, [
    '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--remote-debugging-pipe', '--no-first-run',
    '--disable-background-networking', '--disable-extensions', '--disable-component-update', `--user-data-dir=${profile}`,
    `--window-size=${size.width},${size.height}`, 'about:blank',
  ], { detached: true, stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
  const gone = new Promise((resolve) => child.on('exit', resolve));
  try {
    return await act(await Page.open(child, size));
  } finally {
    // All of its group: a helper process that outlives it writes to the folder that is about to go.
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
    await gone;
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

class Page {
  constructor(child) {
    this.input = child.stdio[3];
    this.waiting = new Map();
    this.listeners = new Map();
    this.next = 1;
    // What the page asked the network for, and what it complained about.
    this.requests = [];
    this.errors = [];
    let rest = '';
    child.stdio[4].setEncoding('utf8').on('data', (text) => {
      const parts = (rest + text).split('\0');
      rest = parts.pop();
      for (const part of parts) this.receive(JSON.parse(part));
    });
    child.on('exit', () => { for (const { reject } of this.waiting.values()) reject(new Error('the browser ended')); });
  }

  static async open(child, size) {
    const page = new Page(child);
    const { targetInfos } = await page.send('Target.getTargets');
    const target = targetInfos.find((info) => info.type === 'page');
    page.session = (await page.send('Target.attachToTarget', { targetId: target.targetId, flatten: true })).sessionId;
    page.on('Network.requestWillBeSent', ({ request }) => page.requests.push(request.url));
    page.on('Runtime.exceptionThrown', ({ exceptionDetails }) => page.errors.push(exceptionDetails.exception?.description ?? exceptionDetails.text));
    page.on('Page.javascriptDialogOpening', ({ message }) => {
      page.errors.push(`dialog: ${message}`);
      page.send('Page.handleJavaScriptDialog', { accept: true });
    });
    for (const domain of ['Page', 'Runtime', 'Network']) await page.send(`${domain}.enable`);
    await page.send('Emulation.setDeviceMetricsOverride', { ...size, deviceScaleFactor: 1, mobile: false });
    return page;
  }

  on(method, act) { this.listeners.set(method, act); }

  send(method, params = {}) {
    const id = this.next++;
    this.input.write(JSON.stringify({ id, method, params, sessionId: this.session }) + '\0');
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject, method }));
  }

  receive(message) {
    if (message.id === undefined) return this.listeners.get(message.method)?.(message.params);
    const { resolve, reject, method } = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error) reject(new Error(`${method}: ${message.error.message}`)); else resolve(message.result);
  }

  async go(url) {
    const loaded = new Promise((resolve) => this.on('Page.loadEventFired', resolve));
    await this.send('Page.navigate', { url });
    await loaded;
  }

  // The value of an expression in the page.
  async value(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  // Waits until an expression is true.
  async until(expression, seconds = 30) {
    const end = Date.now() + seconds * 1000;
    while (!(await this.value(expression))) {
      if (Date.now() > end) throw new Error(`never came true: ${expression}\n${await this.value('document.body.innerText')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async key(key) {
    const text = key.length === 1 ? { text: key } : key === 'Enter' ? { text: '\r' } : {};
    const code = { Escape: 27, Enter: 13, ArrowLeft: 37, ArrowUp: 38, ArrowRight: 39, ArrowDown: 40 }[key] ?? key.toUpperCase().charCodeAt(0);
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', key, windowsVirtualKeyCode: code, ...text });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', key, windowsVirtualKeyCode: code });
  }

  async type(text) { for (const letter of text) await this.key(letter); }

  async click(x, y) {
    for (const type of ['mouseMoved', 'mousePressed', 'mouseReleased']) {
      await this.send('Input.dispatchMouseEvent', { type, x, y, button: type === 'mouseMoved' ? 'none' : 'left', clickCount: 1 });
    }
  }

  async drag(from, to, y) {
    const send = (type, x) => this.send('Input.dispatchMouseEvent', { type, x, y, button: 'left', buttons: type === 'mouseReleased' ? 0 : 1, clickCount: 1 });
    await this.send('Input.dispatchMouseEvent', { type: 'mouseMoved', x: from, y, button: 'none' });
    await send('mousePressed', from);
    for (let step = 1; step <= 4; step++) await send('mouseMoved', from + (to - from) * step / 4);
    await send('mouseReleased', to);
  }

  async picture(file, clip) {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', ...(clip && { clip: { scale: 1, ...clip } }) });
    fs.writeFileSync(file, Buffer.from(data, 'base64'));
  }
}

module.exports = { withPage };
