// Checks the model of the flame graph's page: node model.js PAGE.js SHOP.html REPORT.json
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const zlib = require('node:zlib');
const [, , script, page, reportFile] = process.argv;
const { buildTree, layoutRows, searchTree, humanBytes, changeColour } = require(script);
const packed = /start\("([^"]+)"\)/.exec(fs.readFileSync(page, 'utf8'))[1];
const data = JSON.parse(zlib.gunzipSync(Buffer.from(packed, 'base64')));
const report = JSON.parse(fs.readFileSync(reportFile, 'utf8'));
const near = (a, b) => assert.ok(Math.abs(a - b) <= data.parent.length, `${a} is not ${b}`);
const want = (more) => ({ metric: 'bytes', thread: -1, before: false, inverted: false, ...more });

for (const inverted of [false, true]) {
  near(buildTree(data, want({ inverted })).value[0], report.bytes);
  near(buildTree(data, want({ inverted, metric: 'objects' })).value[0], report.objects);
  const before = buildTree(data, want({ inverted, before: true }));
  near(before.value[0], report.dumps[0].bytes);
  near(before.other[0], report.bytes);
  const threads = data.threads.map((_, thread) => buildTree(data, want({ inverted, thread })).value[0]);
  near(threads.reduce((sum, value) => sum + value), report.bytes);
  assert.ok(threads.filter((value) => value > 0).length === 2);

  const tree = buildTree(data, want({ inverted }));
  // A node holds at least what its children hold.
  tree.children.forEach((list, node) => {
    assert.ok(list.reduce((sum, child) => sum + tree.value[child], 0) <= tree.value[node] + 1e-6);
  });
  // All rectangles lie inside their parents' and none overlap.
  const rows = layoutRows(tree, 0, 1000);
  rows.forEach((row) => row.forEach((box, index) => {
    assert.ok(box.x >= -1e-6 && box.x + box.width <= 1000 + 1e-6);
    if (index) assert.ok(row[index - 1].x + row[index - 1].width <= box.x + 1e-6);
  }));
  // Zooming in keeps the ancestors and gives the frame the whole width.
  const child = tree.children[tree.children[0][0]][0];
  const zoomed = layoutRows(tree, child, 1000);
  assert.deepStrictEqual(zoomed[2].map((box) => [box.node, box.width]), [[child, 1000]]);

  // A search counts nested hits once.
  const found = searchTree(tree, data.names, 'Inflater|GZIP');
  near(found.value, report.sites[0].bytes);
  assert.ok(found.nodes >= 3);
  assert.strictEqual(searchTree(tree, data.names, 'no such name').nodes, 0);
  // What is no regular expression is searched as it stands.
  assert.ok(searchTree(tree, data.names, '<init').nodes > 0 && searchTree(tree, data.names, '(').nodes === 0);
}
assert.strictEqual(humanBytes(68052582), '64.9 MiB');
assert.notStrictEqual(changeColour(2, 1, false), changeColour(1, 2, false));
console.log('all checks passed');
