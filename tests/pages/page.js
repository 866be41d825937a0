// Uses the page as a person does: node page.js CHROMIUM SHOP.html EVIL.html BIG.html MAPPED.html
'use strict';
const assert = require('node:assert');
const { withPage } = require('./browser.js');
const [, , chromium, shop, evil, big, mapped] = process.argv;

const text = (page, id) => page.value(`document.getElementById('${id}').textContent`);
const pressed = (page, id) => page.value(`document.getElementById('${id}').getAttribute('aria-pressed')`);
const fragment = (page) => page.value('location.hash');
// Where the rows of the picture begin.
const top = (page) => page.value(`document.getElementById('canvas').getBoundingClientRect().top`);
const ink = (page, canvas = '#canvas') => page.value(`(() => {
  const canvas = document.querySelector('${canvas}');
  const bytes = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let hash = 7;
  for (let at = 0; at < bytes.length; at += 4) hash = (hash * 31 + bytes[at] * 65536 + bytes[at + 1] * 256 + bytes[at + 2]) % 1000000007;
  return hash;
})()`);

async function open(page, file, view = '') {
  await page.go('about:blank');
  await page.go(`file://${file}${view}`);
  await page.until(`document.documentElement.dataset.ready === 'yes'`);
}

const choose = (page, id, value, event = 'change') => page.value(`(() => { const field = document.getElementById('${id}'); field.value = ${JSON.stringify(value)}; field.dispatchEvent(new Event('${event}', { bubbles: true })); })()`);

async function useFlame(page) {
  await open(page, shop, '#tab=flame');
  assert.match(await text(page, 'title'), /java \(pid 4711\)/);
  assert.match(await text(page, 'subtitle'), /live/);
  assert.match(await text(page, 'legend'), /Java VM/);
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
  assert.match(await fragment(page), /search=Inflater/);
  // Esc empties the search.
  await page.key('Escape');
  await page.until(`document.getElementById('search').value === ''`);
  assert.strictEqual(await text(page, 'matched'), '');

  // Zoom by mouse into the widest frame of the third row: it gets the whole width.
  const y = await top(page) + 18 * 2 + 9;
  await page.click(20, y);
  const chosen = await text(page, 'detail');
  assert.match(chosen, /% of all/);
  const zoomed = await ink(page), address = await fragment(page);
  assert.notStrictEqual(zoomed, whole);
  assert.match(address, /zoom=/);
  await page.click(1200, y);
  assert.strictEqual(await text(page, 'detail'), chosen, 'the same frame now reaches to the right');
  await page.key('Escape');
  assert.doesNotMatch(await fragment(page), /zoom=/);

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
  await choose(page, 'thread', threads[1]);
  assert.notStrictEqual(await ink(page), all);
}

async function useTabs(page) {
  await open(page, shop);
  assert.match(await text(page, 'summary'), /LEAKS: \+174 MiB.*com\.shop\.Catalog\.unpack/s);
  const selected = () => page.value(`document.querySelector('[role=tab][aria-selected=true]').id`);
  const panels = () => page.value(`[...document.querySelectorAll('[role=tabpanel]')].filter((panel) => panel.offsetParent).map((panel) => panel.id).join()`);
  for (const [key, tab] of [['2', 'time'], ['3', 'flame'], ['4', 'table'], ['5', 'ages'], ['6', 'about'], ['1', 'summary']]) {
    await page.key(key);
    assert.deepStrictEqual([await selected(), await panels()], ['tab-' + tab, tab]);
  }
  // Arrows on the tabs themselves.
  await page.value(`document.getElementById('tab-summary').focus()`);
  await page.key('ArrowRight');
  assert.deepStrictEqual([await selected(), await page.value('document.activeElement.id')], ['tab-time', 'tab-time']);
  assert.match(await fragment(page), /tab=time/);
  // Only one of the tabs is a stop of the tabulator, as WAI-ARIA has it.
  assert.strictEqual(await page.value(`document.querySelectorAll('[role=tab][tabindex="0"]').length`), 1);
  await page.key('6');
  assert.match(await text(page, 'about'), /sampling.*one sample per.*leaks.*grows to the end/s);
}

async function useBrush(page) {
  await open(page, shop, '#tab=time');
  assert.match(await text(page, 'between'), /121 MiB|106 MiB.*295 MiB/);
  assert.match(await text(page, 'live-legend'), /Inflater.*leaks/);
  assert.match(await text(page, 'changed'), /Catalog\.unpack\+174 MiB/);
  assert.match(await text(page, 'marks'), /\[D\] dump shop\.4711\.0\.i0\.heap/);
  const before = await ink(page, '#live canvas');
  // Drag over the right half: before is the second dump.
  const plot = await page.value(`(({ left, top, width, height }) => ({ left, top, width, height }))(document.querySelector('#live .u-over').getBoundingClientRect())`);
  await page.drag(plot.left + plot.width * 0.45, plot.left + plot.width * 0.98, plot.top + 60);
  await page.until(`location.hash.includes('from=1')`);
  assert.match(await text(page, 'changed'), /Catalog\.unpack\+87\.\d MiB/);
  assert.notStrictEqual(await ink(page, '#live canvas'), before);
  // It holds for every other tab, and by the sliders too: before never is after after.
  await page.key('4');
  assert.match(await page.value(`document.querySelector('#list tbody tr').textContent`), /\+87\.\d MiB/);
  await choose(page, 'to', '0', 'input');
  assert.deepStrictEqual([await page.value(`document.getElementById('from').value`), await page.value(`document.getElementById('to').value`)], ['0', '0']);
  assert.match(await page.value(`document.getElementById('from').getAttribute('aria-valuetext')`), /2026-11-25/);
}

async function useTable(page) {
  await open(page, shop, '#tab=table');
  const column = (number) => page.value(`[...document.querySelectorAll('#list tbody tr')].map((row) => row.cells[${number}].textContent)`);
  assert.deepStrictEqual((await column(7)), ['leaks', 'steady', 'steady']);
  assert.strictEqual(await page.value(`document.querySelector('#list th[aria-sort=descending]').dataset.column`), 'total');
  const bySize = await column(0);
  await page.value(`document.querySelector('th[data-column=label] button').click()`);
  assert.deepStrictEqual(await column(0), [...bySize].sort((a, b) => a.localeCompare(b)));
  assert.strictEqual(await page.value(`document.activeElement.closest('th').dataset.column`), 'label', 'the focus stays');
  await page.key('/');
  await page.type('Cache');
  assert.strictEqual((await column(0)).length, 1);
  await page.key('Enter');
  assert.strictEqual(await page.value('document.activeElement.tagName'), 'BUTTON');
  await page.value('document.activeElement.click()');
  assert.match(await text(page, 'list'), /com\.shop\.Cache\.<init>  line 17/);
  await choose(page, 'filter', '', 'input');
  for (const by of ['function', 'class', 'package', 'library', 'thread']) {
    await choose(page, 'by', by);
    assert.ok((await column(0)).length >= 1, by);
  }
  await choose(page, 'by', 'package');
  assert.ok((await column(0)).includes('com.shop'));
  // A row is a search in the picture.
  await page.value(`[...document.querySelectorAll('#list tbody button')].find((button) => button.textContent === 'com.shop').click()`);
  assert.match(await fragment(page), /tab=flame/);
  await page.until(`document.getElementById('matched').textContent.includes('%')`);
}

async function useAddress(page) {
  for (const [view, share] of [['search=Inflater', '63.9 %'], ['search=Inflater&invert&dark', '63.9 %'], ['search=com.shop&before', '79.2 %']]) {
    await open(page, shop, '#' + view);
    assert.ok((await text(page, 'matched')).startsWith(`${share} in `), view + await text(page, 'matched'));
  }
  // A copied address opens the same view.
  await open(page, shop, '#tab=flame&theme=dark');
  await page.click(20, await top(page) + 18 * 4 + 9);
  const [address, picture] = [await fragment(page), await ink(page)];
  await open(page, shop, address);
  await page.value('document.getElementById("canvas").focus()');
  const again = await ink(page);
  await open(page, shop, '#tab=flame&theme=dark');
  assert.notStrictEqual(await ink(page), again);
  assert.match(address, /zoom=\d/);
  assert.ok(picture && again);
}

async function useSmallScreenAndPaper(page) {
  await page.send('Emulation.setDeviceMetricsOverride', { width: 480, height: 800, deviceScaleFactor: 1, mobile: false });
  for (const tab of ['summary', 'time', 'flame', 'table', 'ages', 'about']) {
    await open(page, shop, '#tab=' + tab);
    assert.ok(await page.value('document.documentElement.scrollWidth <= 480'), `${tab} is wider than the screen`);
  }
  await page.send('Emulation.setDeviceMetricsOverride', { width: 1280, height: 800, deviceScaleFactor: 1, mobile: false });
  await open(page, shop, '#tab=flame&theme=dark');
  const { data } = await page.send('Page.printToPDF', {});
  const pages = Buffer.from(data, 'base64').toString('latin1').match(/\/Type\s*\/Page\b/g).length;
  assert.ok(pages >= 2, `${pages} pages hold all tabs`);
  assert.strictEqual(await page.value(`[...document.querySelectorAll('[role=tabpanel]')].filter((panel) => !panel.hidden).map((panel) => panel.id).join()`), 'flame');
}

// What assistive technology gets: every control has a name, every picture too.
async function askForNames(page) {
  for (const tab of ['summary', 'time', 'flame', 'table', 'ages', 'about']) {
    await open(page, shop, '#tab=' + tab);
    const { nodes } = await page.send('Accessibility.getFullAXTree');
    const nameless = nodes.filter((node) => !node.ignored && ['button', 'tab', 'textbox', 'searchbox', 'combobox', 'slider', 'image', 'img', 'tabpanel'].includes(node.role?.value) && !node.name?.value);
    assert.deepStrictEqual(nameless.map((node) => node.role.value), [], tab);
  }
}

async function openEvil(page) {
  for (const tab of ['summary', 'time', 'table', 'ages', 'about', 'flame']) await open(page, evil, '#tab=' + tab);
  await choose(page, 'search', 'script', 'input');
  await page.click(20, await top(page) + 18 + 9);
  await page.value('document.getElementById("canvas").focus()');
  await page.key('n');
  assert.ok((await text(page, 'detail')).includes('</script><script>window.evil'), (await text(page, 'detail')).slice(0, 200));
  await open(page, evil, '#tab=<img/src=x/onerror=window.evil=1>&search=</script><script>window.evil=1</script>');
  // Names are text: no element came of them, nothing ran.
  assert.strictEqual(await page.value('document.scripts.length'), 2);
  assert.strictEqual(await page.value('typeof window.evil'), 'undefined');
  assert.strictEqual(await page.value('document.querySelectorAll("img, iframe, a").length'), 0);
  assert.deepStrictEqual(page.errors, []);
}

// Memory that is not malloc's has its own plot, is a metric of the picture, and rows of the table.
async function useMapped(page) {
  await open(page, mapped, '#tab=time');
  const visible = (id) => page.value(`document.getElementById('${id}').checkVisibility()`);
  for (const id of ['mapped', 'objects', 'counts']) assert.ok(await visible(id), id);
  assert.match(await text(page, 'mapped-legend'), /file memory\) 192 MiB/);
  assert.match(await text(page, 'counts-legend'), /threads 310/);
  assert.match(await text(page, 'summary') + await page.value(`document.getElementById('tab-summary').click() ?? document.getElementById('summary').textContent`), /Mapped beside malloc/);
  await open(page, mapped, '#tab=flame&metric=mapped');
  const whole = await ink(page);
  await page.key('ArrowDown');
  assert.match(await text(page, 'detail'), /all · 758 MiB/);
  assert.ok(!await visible('thread'));
  await choose(page, 'metric', 'resident');
  assert.notStrictEqual(await ink(page), whole);
  assert.match(await fragment(page), /metric=resident/);
  await choose(page, 'search', 'Java heap', 'input');
  await page.until(`document.getElementById('matched').textContent.startsWith('24.1 %')`);
  await open(page, mapped, '#tab=table&metric=mapped&from=1');
  const cells = await page.value(`[...document.querySelectorAll('#list tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))`);
  assert.deepStrictEqual(cells.map((row) => row.slice(2, 5)), [['310 MiB', '310', '+101 MiB'], ['192 MiB', '65', '+95.9 MiB']]);
  await page.value(`document.querySelector('#list tbody button').click()`);
  assert.ok((await text(page, 'list')).includes('server'));
  await choose(page, 'by', 'library');
  assert.match(await text(page, 'list'), /server/);
  // What has no mapped memory offers none.
  await open(page, shop, '#tab=flame&metric=mapped');
  assert.strictEqual(await page.value(`document.getElementById('metric').value`), 'bytes');
  assert.strictEqual(await page.value(`document.getElementById('metric').options.length`), 2);
}

// 50,000 frames and 100 moments open, zoom and are brushed. How fast is scripts/pages' to measure.
async function openBig(page) {
  await open(page, big, '#tab=flame');
  const whole = await ink(page);
  await page.click(60, await top(page) + 18 * 2 + 9);
  assert.notStrictEqual(await ink(page), whole);
  for (const tab of ['summary', 'time', 'table']) {
    await open(page, big, '#tab=' + tab);
    const before = await text(page, 'between');
    await choose(page, 'from', '40', 'input');
    assert.notStrictEqual(await text(page, 'between'), before);
  }
  assert.deepStrictEqual(page.errors, []);
}

withPage(chromium, async (page) => {
  for (const use of [useFlame, useTabs, useBrush, useTable, useMapped, useAddress, useSmallScreenAndPaper, askForNames]) await use(page);
  assert.deepStrictEqual(page.errors, []);
  assert.deepStrictEqual(page.requests.filter((url) => !/^(file|about|data):/.test(url)), [], 'the page asks nobody for anything');
  await openEvil(page);
  await openBig(page);
  console.log('all checks passed');
}).catch((error) => { console.error(error); process.exit(1); });
