// Has speedscope itself (npm) import files, as its own command line does, and prints what it makes of each, one line of
// JSON a file: node speedscope.js CHROMIUM FOLDER-OF-SPEEDSCOPE FILE…
'use strict';
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { withPage } = require('./browser.js');
const [, , chromium, folder, ...files] = process.argv;
const index = path.join(folder, 'dist/release/index.html');

// Rows of the sandwich view: [total, self, name].
const ROWS = `[...document.querySelectorAll('table tr')].map((row) => [...row.children].map((cell) => cell.innerText.trim())).filter((row) => row.length >= 3)`;

async function show(page, file) {
  const script = path.join(os.tmpdir(), `heaptap-speedscope-${process.pid}.js`);
  const name = path.basename(file);
  fs.writeFileSync(script, `speedscope.loadFileFromBase64(${JSON.stringify(name)}, ${JSON.stringify(fs.readFileSync(file).toString('base64'))})`);
  await page.go('about:blank');
  await page.go(`file://${index}#localProfilePath=${script}&view=sandwich`);
  try {
    await page.until(`${ROWS}.length > 1`);
    console.log(JSON.stringify({ title: await page.value('document.title'), rows: await page.value(ROWS), errors: page.errors }));
  } finally {
    fs.rmSync(script);
  }
}

withPage(chromium, async (page) => { for (const file of files) await show(page, file); })
  .catch((error) => { console.error(error); process.exit(1); });
