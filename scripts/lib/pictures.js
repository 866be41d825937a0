// The README's pictures: node pictures.js CHROMIUM REPORT.txt FLAME.html FOLDER
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { withPage } = require('../../tests/pages/browser.js');
const [, , chromium, report, flame, folder] = process.argv;
const WIDTH = 1000;

// What a terminal shows, as a page: bold, dim, and the command that was typed.
function terminal(text) {
  const escaped = text.replaceAll('\r', '').replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const styled = escaped.replaceAll('\x1b[1m', '<b>').replaceAll('\x1b[2m', '<i>').replace(/(<b>|<i>)([^\x1b]*)\x1b\[0m/g, (_, tag, inside) => tag + inside + tag.replace('<', '</'));
  return `<!DOCTYPE html><meta charset="utf-8"><style>
    body { margin: 0; background: #16181d; color: #c9d1d9; font: 14px/1.32 'DejaVu Sans Mono', monospace; }
    pre { margin: 0; padding: 14px 18px; width: max-content; }
    b { color: #fff; } i { color: #8b949e; font-style: normal; } u { color: #7ee787; text-decoration: none; }
  </style><pre><u>$</u> <b>heaptap report -n 3 jeprof.*.heap</b>\n${styled}</pre>`;
}

async function main(page) {
  const file = path.join(path.dirname(report), 'report.html');
  fs.writeFileSync(file, terminal(fs.readFileSync(report, 'utf8')));
  await page.go(`file://${file}`);
  const size = await page.value(`(({ width, height }) => ({ width, height }))(document.querySelector('pre').getBoundingClientRect())`);
  await page.picture(path.join(folder, 'report.png'), { x: 0, y: 0, width: Math.ceil(size.width), height: Math.ceil(size.height) });

  await page.go(`file://${flame}#search=GZIPOutputStream|Inflater`);
  await page.until(`document.getElementById('matched').textContent !== ''`);
  await page.picture(path.join(folder, 'flame.png'), { x: 0, y: 0, width: WIDTH, height: 620 });
  for (const name of ['report.png', 'flame.png']) {
    const { size: bytes } = fs.statSync(path.join(folder, name));
    console.log(`${path.join(folder, name)}: ${Math.round(bytes / 1024)} KiB`);
    if (bytes > 200 * 1024) throw new Error(`${name} is too large for a README`);
  }
}

withPage(chromium, main, { width: WIDTH, height: 1400 }).catch((error) => { console.error(error); process.exit(1); });
