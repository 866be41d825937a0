// How fast a page is: node measure.js CHROMIUM PAGE.html. Prints one JSON object, milliseconds and bytes.
// first paint: from the address to the first frame that shows the page; brush: from an input of the slider to the next
// frame, medians of 20; zoom: from a click into the flame graph to the next frame.
'use strict';
const fs = require('node:fs');
const { withPage } = require('./browser.js');
const [, , chromium, file] = process.argv;

const timed = (act) => `(async () => {
  const times = [];
  for (let round = 0; round < 20; round++) {
    const start = performance.now();
    (${act})(round);
    const worked = performance.now() - start;
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    times.push([worked, performance.now() - start]);
  }
  const median = (at) => times.map((time) => time[at]).sort((a, b) => a - b)[10];
  return { script: median(0), frame: median(1) };
})()`;
const brush = timed(`(round) => { const field = document.getElementById('from'); field.value = String(Math.floor(Number(field.max) * (round + 1) / 24)); field.dispatchEvent(new Event('input')); }`);
const zoom = timed(`(round) => {
  const canvas = document.getElementById('canvas'), area = canvas.getBoundingClientRect();
  canvas.dispatchEvent(new MouseEvent('click', { clientX: area.left + 40 + 40 * round, clientY: area.top + 18 * (1 + round % 6) + 9, bubbles: true }));
}`);

withPage(chromium, async (page) => {
  const told = { bytes: fs.statSync(file).size };
  for (const tab of ['summary', 'time', 'flame', 'table']) {
    await page.go('about:blank');
    const began = Date.now();
    await page.go(`file://${file}#tab=${tab}`);
    await page.until(`document.documentElement.dataset.ready === 'yes'`);
    await page.value('new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))');
    told[tab] = { opened: Date.now() - began, brush: await page.value(brush) };
  }
  await page.go('about:blank');
  await page.go(`file://${file}#tab=flame`);
  await page.until(`document.documentElement.dataset.ready === 'yes'`);
  told.zoom = await page.value(zoom);
  console.log(JSON.stringify(told));
}).catch((error) => { console.error(error); process.exit(1); });
