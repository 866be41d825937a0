// Uses the flame graph's page as a person does: node flame.js CHROMIUM SHOP.html EVIL.html BIG.html
'use strict';
const assert = require('node:assert');
const { withPage } = require('./browser.js');
const [, , chromium, shop, evil, big] = process.argv;

const text = (page, id) => page.value(`document.getElementById('${id}').textContent`);
const pressed = (page, id) => page.value(`document.getElementById('${id}').getAttribute('aria-pressed')`);
const ready = (page) => page.until(`document.getElementById('title').textContent !== '' && document.getElementById('canvas').width > 0`);
// Where the rows of the picture begin.
const top = (page) => page.value(`document.getElementById('canvas').getBoundingClientRect().top`);
const ink = (page) => page.value(`(() => {
  const canvas = document.getElementById('canvas');
  const bytes = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let hash = 7;
  for (let at = 0; at < bytes.length; at += 4) hash = (hash * 31 + bytes[at] * 65536 + bytes[at + 1] * 256 + bytes[at + 2]) % 1000000007;
  return hash;
})()`);

async function useShop(page) {
  await page.go(`file://${shop}`);
  await ready(page);
  assert.match(await text(page, 'title'), /java \(pid 4711\)/);
  assert.match(await text(page, 'subtitle'), /live/);
  const whole = await ink(page);

  // Search by keyboard: `/`, a pattern, Enter leaves the field and goes to the first hit.
  await page.key('/');
  assert.strictEqual(await page.value('document.activeElement.id'), 'search');
  await page.type('Inflater');
  await page.until(`document.getElementById('matched').textContent.startsWith('63.9 %')`);
  assert.notStrictEqual(await ink(page), whole);
  await page.key('Enter');
  assert.match(await text(page, 'detail'), /Inflater/);
  const first = await text(page, 'detail');
  await page.key('n');
  assert.notStrictEqual(await text(page, 'detail'), first);
  // Esc empties the search.
  await page.key('Escape');
  await page.until(`document.getElementById('search').value === ''`);
  assert.strictEqual(await text(page, 'matched'), '');

  // Zoom by mouse into the widest frame of the third row: it gets the whole width.
  const y = await top(page) + 18 * 2 + 9;
  await page.click(20, y);
  const chosen = await text(page, 'detail');
  assert.match(chosen, /% of all/);
  const zoomed = await ink(page);
  assert.notStrictEqual(zoomed, whole);
  await page.click(1200, y);
  assert.strictEqual(await text(page, 'detail'), chosen, 'the same frame now reaches to the right');
  await page.key('Escape');

  // Walk by keyboard: down to a callee, sideways, zoom with Enter.
  await page.click(20, await top(page) + 9);
  await page.key('ArrowDown');
  const callee = await text(page, 'detail');
  await page.key('ArrowDown');
  assert.notStrictEqual(await text(page, 'detail'), callee);
  await page.key('ArrowUp');
  assert.strictEqual(await text(page, 'detail'), callee);
  await page.key('Enter');

  // Every toggle changes the picture, twice restores it.
  for (const [key, id] of [['f', 'flip'], ['i', 'invert'], ['b', 'state'], ['c', 'change'], ['d', 'dark']]) {
    await page.key('Escape');
    const before = await ink(page), was = await pressed(page, id);
    await page.key(key);
    assert.notStrictEqual(await pressed(page, id), was, id);
    assert.notStrictEqual(await ink(page), before, id);
    await page.key(key);
    assert.strictEqual(await pressed(page, id), was, id);
  }
  // One thread holds less than all.
  const threads = await page.value(`[...document.getElementById('thread').options].map((option) => option.value)`);
  assert.ok(threads.length >= 3);
  const all = await ink(page);
  await page.value(`(() => { const list = document.getElementById('thread'); list.value = '${threads[1]}'; list.dispatchEvent(new Event('change')); })()`);
  assert.notStrictEqual(await ink(page), all);
  assert.deepStrictEqual(page.errors, []);
  assert.deepStrictEqual(page.requests.filter((url) => !url.startsWith('file:')), [], 'the page asks nobody for anything');
}

async function openEvil(page) {
  await page.go(`file://${evil}`);
  await ready(page);
  await page.value(`(() => { const field = document.getElementById('search'); field.value = 'script'; field.dispatchEvent(new Event('input')); })()`);
  await page.click(20, await top(page) + 18 + 9);
  await page.value('document.getElementById("canvas").focus()');
  await page.key('n');
  assert.ok((await text(page, 'detail')).includes('</script><script>window.evil'), (await text(page, 'detail')).slice(0, 200));
  // Names are text: no element came of them, nothing ran.
  assert.strictEqual(await page.value('document.scripts.length'), 2);
  assert.strictEqual(await page.value('typeof window.evil'), 'undefined');
  assert.strictEqual(await page.value('document.querySelectorAll("img, iframe, a").length'), 0);
  assert.deepStrictEqual(page.errors, []);
}

// 50,000 frames: how long from the address to the picture, and how long a zoom takes to draw.
async function measureBig(page) {
  const began = Date.now();
  await page.go(`file://${big}`);
  await ready(page);
  const opened = Date.now() - began;
  const zooms = await page.value(`(async () => {
    const times = [];
    const canvas = document.getElementById('canvas'), area = canvas.getBoundingClientRect();
    for (let round = 0; round < 12; round++) {
      const frame = new Promise((resolve) => requestAnimationFrame(resolve));
      const start = performance.now();
      const place = { clientX: area.left + 40 + 90 * round, clientY: area.top + 18 * (1 + round % 6) + 9, bubbles: true };
      canvas.dispatchEvent(new MouseEvent('click', place));
      await frame;
      times.push(performance.now() - start);
      document.getElementById('reset').click();
    }
    return times.sort((a, b) => a - b);
  })()`);
  assert.deepStrictEqual(page.errors, []);
  console.log(`opened in ${opened} ms; zoom ${zooms[6].toFixed(1)} ms (longest ${zooms[11].toFixed(1)} ms)`);
  // A slow, busy machine draws late; one that draws at all in a second is not stuck.
  assert.ok(opened < 20000 && zooms[6] < 1000, `${opened} ${zooms}`);
}

withPage(chromium, async (page) => {
  if (shop !== '-') await useShop(page);
  if (evil !== '-') await openEvil(page);
  if (big !== '-') await measureBig(page);
  console.log('all checks passed');
}).catch((error) => { console.error(error); process.exit(1); });
