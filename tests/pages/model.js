// Checks the model of the page: node model.js JS-FOLDER PAGE.html REPORT.json
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const [, , folder, page, reportFile] = process.argv;

// The scripts as the page has them: one text.
const scripts = ['model.js', 'units.js', 'colours.js', 'time.js', 'ages.js'].map((name) => fs.readFileSync(path.join(folder, name), 'utf8'));
const module_ = { exports: {} };
new Function('module', scripts.join('\n'))(module_);
const { openModel, column, buildTree, layoutRows, searchTree, groupRows, placeRows, sortRows, momentAt, readView, writeView, humanBytes, humanRate, ORIGINS, INK, colourOf, changeColour, stack, coarser } = module_.exports;

const packed = /start\("([^"]+)"\)/.exec(fs.readFileSync(page, 'utf8'))[1];
const model = openModel(JSON.parse(zlib.gunzipSync(Buffer.from(packed, 'base64'))));
const report = JSON.parse(fs.readFileSync(reportFile, 'utf8'));
const near = (a, b, by = model.parent.length) => assert.ok(Math.abs(a - b) <= by, `${a} is not ${b}`);
const sum = (values) => values.reduce((sum, value) => sum + value, 0);
const want = (more) => ({ metric: 'bytes', thread: -1, from: 0, to: model.last, before: false, inverted: false, ...more });

// Every moment that is a dump holds what the report says of it.
model.dumps.forEach((moment, dump) => near(sum(column(model, moment)), report.dumps[dump].bytes));
for (const inverted of [false, true]) {
  near(buildTree(model, want({ inverted })).value[0], report.bytes);
  near(buildTree(model, want({ inverted, metric: 'objects' })).value[0], report.objects);
  const before = buildTree(model, want({ inverted, before: true }));
  near(before.value[0], report.dumps[0].bytes);
  near(before.other[0], report.bytes);
  const threads = model.threads.map((_, thread) => buildTree(model, want({ inverted, thread })).value[0]);
  near(sum(threads), report.bytes);
  assert.strictEqual(threads.filter((value) => value > 0).length, 2);

  const tree = buildTree(model, want({ inverted }));
  // A node holds at least what its children hold.
  tree.parent.forEach((_, node) => assert.ok(sum(tree.children(node).map((child) => tree.value[child])) <= tree.value[node] + 1e-6));
  // All rectangles lie inside their parents' and none overlap.
  const rows = layoutRows(tree, 0, 1000);
  rows.forEach((row) => row.forEach((box, index) => {
    assert.ok(box.x >= -1e-6 && box.x + box.width <= 1000 + 1e-6);
    if (index) assert.ok(row[index - 1].x + row[index - 1].width <= box.x + 1e-6);
  }));
  // Zooming in keeps the ancestors and gives the frame the whole width.
  const child = tree.children(tree.children(0)[0])[0];
  assert.deepStrictEqual(layoutRows(tree, child, 1000)[2].map((box) => [box.node, box.width]), [[child, 1000]]);

  // A search counts nested hits once.
  const found = searchTree(tree, model.names, 'Inflater|GZIP');
  near(found.value, report.sites[0].bytes);
  assert.ok(found.nodes >= 3);
  assert.strictEqual(searchTree(tree, model.names, 'no such name').nodes, 0);
  // What is no regular expression is searched as it stands.
  assert.ok(searchTree(tree, model.names, '<init').nodes > 0 && searchTree(tree, model.names, '(').nodes === 0);
}

// Rows: a stack counts once for a class that it passes twice; selves add up to everything that has a name.
const classes = groupRows(model, 'class', want());
const inflater = classes.find((row) => row.label === 'java.util.zip.Inflater');
near(inflater.total, report.sites[0].bytes);
near(inflater.change, report.sites[0].trend.last_bytes - report.sites[0].trend.first_bytes);
assert.ok(classes.every((row) => row.self <= row.total + 1));
near(sum(groupRows(model, 'function', want()).map((row) => row.self)), report.bytes);
near(sum(groupRows(model, 'thread', want()).map((row) => row.total)), report.bytes);
for (const by of ['package', 'library']) assert.ok(groupRows(model, by, want()).length > 0, by);
const places = placeRows(model, want());
assert.deepStrictEqual(places.map((row) => row.verdict), ['leaks', 'steady', 'steady']);
near(places[0].change, report.sites[0].trend.last_bytes - report.sites[0].trend.first_bytes);

// Sorting: what is not known is last either way; equal ones by size.
const rows = [{ label: 'a', total: 1, rate: null }, { label: 'b', total: 2, rate: 5 }, { label: 'c', total: 3, rate: -5 }];
const order = (column, isDown, filter = '') => sortRows(rows, filter, { column, isDown }).map((row) => row.label).join('');
assert.deepStrictEqual([order('rate', true), order('rate', false), order('label', false), order('total', true, 'a|b')], ['bca', 'cba', 'abc', 'ba']);

// The address: what is written is read again, what is wrong is left out.
const usual = readView('', model);
assert.strictEqual(writeView(usual, model), '');
const view = { ...usual, tab: 'flame', from: 1, to: 2, search: 'a=b&c#<é>', zoom: [3, 1], inverted: true, byChange: true, theme: 'dark', by: 'class', sort: 'rate', isDown: false };
assert.deepStrictEqual(readView('#' + writeView(view, model), model), view);
assert.strictEqual(readView('#tab=nonsense&from=99&to=x&thread=77&sort=__proto__&metric=evil', model).tab, usual.tab);
assert.strictEqual(readView('#from=99', model).from, model.last);
assert.strictEqual(readView('#search=x', model).tab, 'flame', 'links of older pages open where they did');
assert.strictEqual(momentAt(model, model.moments[1] + 1), 1);

assert.strictEqual(humanBytes(68052582), '64.9 MiB');
assert.strictEqual(humanRate(600 * 1024), '+35.2 MiB/min');
assert.deepStrictEqual(stack([[1, 2], [3, 4]]), [[4, 6], [1, 2]]);
assert.deepStrictEqual(coarser([[1, 2, 3], [2, 2, 3], [4, 1, 1]], 2), [[1, 4, 6], [4, 1, 1]]);

// Letters on all colours: contrast of 4.5 at least (WCAG 2, AA).
function luminance(colour) {
  const parts = colour.startsWith('#') ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) : colour.match(/\d+/g).map(Number);
  const linear = parts.map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
function contrast(a, b) {
  const [low, high] = [luminance(a), luminance(b)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
for (const theme of ['light', 'dark']) {
  const isDark = theme === 'dark';
  const boxes = [...ORIGINS.flatMap((origin) => [origin[theme]].flat()), ...[[2, 0], [1, 1], [0, 2], [3, 2]].map(([after, before]) => changeColour(after, before, isDark))];
  for (const box of boxes) assert.ok(contrast(box, INK[theme]) >= 4.5, `${theme} ${box}: ${contrast(box, INK[theme])}`);
}
assert.notStrictEqual(changeColour(2, 1, false), changeColour(1, 2, false));
assert.notStrictEqual(colourOf('java', false), colourOf('libjvm.so', false));
console.log('all checks passed');
