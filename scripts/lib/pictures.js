// The README's pictures: node pictures.js CHROMIUM REPORT.txt PAGE.html FOLDER
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { withPage } = require('../../tests/pages/browser.js');
const [, , chromium, report, html, folder] = process.argv;
const WIDTH = 1000;

// What a terminal shows, as a page: bold, dim, and the command that was typed.
function terminal(text) {
  const escaped = text.replaceAll('\r', '').replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const styled = escaped.replaceAll('\x1b[1m', '<b>').replaceAll('\x1b[2m', '<i>').replace(/(<b>|<i>)([^\x1b]*)\x1b\[0m/g, (_, tag, inside) => tag + inside + tag.replace('<', '</'));
  // Dots of plots come from another font, whose letters are wider.
  const dotted = styled.replace(/[\u2800-\u28ff]/g, (dots) => `<s>${dots}</s>`);
  return `<!DOCTYPE html><meta charset="utf-8"><style>
    body { margin: 0; background: #16181d; color: #c9d1d9; font: 14px/1.32 'DejaVu Sans Mono', monospace; }
    pre { margin: 0; padding: 14px 18px; width: max-content; }
    s { display: inline-block; width: 1ch; text-decoration: none; }
    b { color: #fff; } i { color: #8b949e; font-style: normal; } u { color: #7ee787; text-decoration: none; }
  </style><pre><u>$</u> <b>heaptap report -n 2 jeprof.*.heap</b>\n${dotted}</pre>`;
}

async function main(page) {
  const file = path.join(path.dirname(report), 'report.html');
  fs.writeFileSync(file, terminal(fs.readFileSync(report, 'utf8')));
  await page.go(`file://${file}`);
  const size = await page.value(`(({ width, height }) => ({ width, height }))(document.querySelector('pre').getBoundingClientRect())`);
  await page.picture(path.join(folder, 'report.png'), { x: 0, y: 0, width: Math.ceil(size.width), height: Math.ceil(size.height) });

  for (const [name, view, height] of [['flame.png', 'search=GZIPOutputStream|Inflater', 620], ['time.png', 'tab=time', 900]]) {
    await page.go('about:blank');
    await page.go(`file://${html}#${view}`);
    await page.until(`document.documentElement.dataset.ready === 'yes'`);
    await page.picture(path.join(folder, name), { x: 0, y: 0, width: WIDTH, height });
  }
  for (const name of ['report.png', 'flame.png', 'time.png']) {
    const { size: bytes } = fs.statSync(path.join(folder, name));
    console.log(`${path.join(folder, name)}: ${Math.round(bytes / 1024)} KiB`);
    if (bytes > 240 * 1024) throw new Error(`${name} is too large for a README`);
  }
}

withPage(chromium, main, { width: WIDTH, height: 1400 }).catch((error) => { console.error(error); process.exit(1); });
