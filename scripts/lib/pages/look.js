// Opens a page in a browser: node look.js CHROMIUM PAGE.html PICTURE.png [FRAGMENT]. Prints one JSON object: bytes, milliseconds until
// it is loaded, addresses that it asked for elsewhere.
'use strict';
const fs = require('node:fs');
const { withPage } = require('../../../tests/pages/browser.js');
const [, , chromium, file, picture, fragment = ''] = process.argv;

withPage(chromium, async (page) => {
  const began = Date.now();
  await page.go(`file://${file}${fragment}`);
  await page.value('new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))');
  const opened = Date.now() - began;
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await page.picture(picture);
  const elsewhere = page.requests.filter((url) => !/^(file|data|blob|about):/.test(url));
  console.log(JSON.stringify({ bytes: fs.statSync(file).size, opened, elsewhere }));
}, { width: 1200, height: 760 }).catch((error) => { console.error(error); process.exit(1); });
