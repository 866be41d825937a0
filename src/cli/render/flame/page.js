'use strict';
// The flame graph of heaptap's HTML page. First the model: pure functions, tested with node.
// Then the view. Foreign names reach the page only as text of a canvas or through textContent.

// A tree to show, made from the nodes' own values. `want`: metric ('bytes' or 'objects'), thread
// (-1: all), before (true: the first dump), inverted (true: leaves at the root).
function buildTree(data, want) {
  const count = data.parent.length;
  const own = new Float64Array(count);
  const other = new Float64Array(count);
  const hasOther = data.hasFirst && want.thread < 0 && want.metric === 'bytes';
  for (let at = 0; at < data.own.length; at += 4) {
    if (want.thread >= 0 && data.own[at + 1] !== want.thread) continue;
    own[data.own[at]] += want.metric === 'bytes' ? data.own[at + 2] : data.own[at + 3];
  }
  if (hasOther) for (let at = 0; at < data.first.length; at += 2) other[data.first[at]] += data.first[at + 1];
  const tree = want.inverted ? invert(data, own, other) : { parent: data.parent, name: data.name, value: own, other };
  for (let at = tree.parent.length - 1; at > 0; at--) {
    tree.value[tree.parent[at]] += tree.value[at];
    tree.other[tree.parent[at]] += tree.other[at];
  }
  if (hasOther && want.before) [tree.value, tree.other] = [tree.other, tree.value];
  tree.isBefore = hasOther && want.before;
  tree.hasOther = hasOther;
  tree.children = childLists(tree);
  return tree;
}

// Paths from the leaf to the root, merged: own values stay at the far end.
function invert(data, own, other) {
  const parent = [0], name = [0], value = [0], before = [0];
  const known = new Map();
  for (let leaf = 0; leaf < own.length; leaf++) {
    if (!own[leaf] && !other[leaf]) continue;
    let to = 0;
    for (let from = leaf; from > 0; from = data.parent[from]) {
      const key = to * data.names.length + data.name[from];
      let next = known.get(key);
      if (next === undefined) {
        next = parent.length;
        known.set(key, next);
        parent.push(to);
        name.push(data.name[from]);
        value.push(0);
        before.push(0);
      }
      to = next;
    }
    value[to] += own[leaf];
    before[to] += other[leaf];
  }
  return { parent, name, value, other: before };
}

// Children of each node, biggest first.
function childLists(tree) {
  const lists = Array.from(tree.parent, () => []);
  for (let at = 1; at < tree.parent.length; at++) if (tree.value[at] > 0) lists[tree.parent[at]].push(at);
  for (const list of lists) list.sort((a, b) => tree.value[b] - tree.value[a]);
  return lists;
}

// Rows of rectangles for the subtree of `focus`, below its ancestors at full width.
function layoutRows(tree, focus, width) {
  const path = [];
  for (let at = focus; ; at = tree.parent[at]) { path.unshift(at); if (at === 0) break; }
  const rows = path.map((node) => [{ node, x: 0, width }]);
  const scale = tree.value[focus] > 0 ? width / tree.value[focus] : 0;
  const open = [{ node: focus, x: 0, depth: path.length - 1 }];
  while (open.length) {
    const { node, x, depth } = open.pop();
    let left = x;
    for (const child of tree.children[node]) {
      const wide = tree.value[child] * scale;
      if (wide < 0.4) break;
      (rows[depth + 1] ||= []).push({ node: child, x: left, width: wide });
      open.push({ node: child, x: left, depth: depth + 1 });
      left += wide;
    }
  }
  for (const row of rows) row.sort((a, b) => a.x - b.x);
  return rows;
}

// Marks nodes whose name matches, and sums the topmost of them.
function searchTree(tree, names, pattern) {
  let regex;
  try { regex = new RegExp(pattern, 'i'); } catch { regex = null; }
  const test = (text) => regex ? regex.test(text) : text.toLowerCase().includes(pattern.toLowerCase());
  const isNameHit = names.map(test);
  const hits = new Uint8Array(tree.parent.length);
  const below = new Uint8Array(tree.parent.length);
  let value = 0, nodes = 0;
  for (let at = 1; at < tree.parent.length; at++) {
    const inside = hits[tree.parent[at]] || below[tree.parent[at]];
    if (inside) below[at] = 1;
    if (!isNameHit[tree.name[at]] || !(tree.value[at] > 0)) continue;
    hits[at] = 1;
    nodes++;
    if (!inside) value += tree.value[at];
  }
  return { hits, nodes, value };
}

function humanBytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let size = Math.abs(value), unit = 0;
  while (size >= 1023.5 && unit + 1 < units.length) { size /= 1024; unit++; }
  const digits = unit === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  return (value < 0 ? '-' : '') + size.toFixed(digits) + ' ' + units[unit];
}

// Colours say where code comes from, so that two pictures compare.
function colourOf(kind, isDark) {
  const light = isDark ? 38 : 72;
  if (kind === 'java') return `hsl(135 ${isDark ? 35 : 50}% ${light}%)`;
  if (kind === '') return `hsl(220 8% ${isDark ? 34 : 80}%)`;
  if (/^libjvm\.so/.test(kind)) return `hsl(38 ${isDark ? 55 : 85}% ${light - 4}%)`;
  if (/^(libc[.-]|ld-|libstdc|libgcc|libpthread|libm[.-])/.test(kind)) return `hsl(215 ${isDark ? 25 : 40}% ${light + 4}%)`;
  let hash = 7;
  for (const letter of kind.replace(/\.so.*/, '')) hash = (hash * 31 + letter.codePointAt(0)) % 4093;
  return `hsl(${(hash * 47) % 360} ${isDark ? 35 : 60}% ${light}%)`;
}

// Red for more, blue for less, grey for the same, seen from the state before.
function changeColour(after, before, isDark) {
  const most = Math.max(after, before, 1);
  const change = (after - before) / most;
  const strength = Math.min(1, Math.abs(change));
  const light = isDark ? 30 + strength * 18 : 90 - strength * 32;
  return `hsl(${change >= 0 ? 4 : 214} ${Math.round(strength * 78)}% ${light}%)`;
}

if (typeof module !== 'undefined') module.exports = { buildTree, layoutRows, searchTree, humanBytes, colourOf, changeColour };

// ---- the view ----

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text());
}

async function start(packed) {
  const ROW = 18;
  const data = await unpack(packed);
  const find = (id) => document.getElementById(id);
  const canvas = find('canvas'), pen = canvas.getContext('2d');
  const view = { focus: 0, selected: -1, isDark: matchMedia('(prefers-color-scheme: dark)').matches, isFlame: false, byChange: false };
  const want = { metric: 'bytes', thread: -1, before: false, inverted: false };
  let tree, rows, found = null, hover = -1;

  find('title').textContent = document.title = data.title;
  find('subtitle').textContent = data.subtitle;
  const everyone = new Option('all threads', '-1');
  find('thread').append(everyone, ...data.threads.map((name, index) => new Option(name, String(index))).filter((_, index) => data.usedThreads.includes(index)));
  if (!data.hasFirst) find('state').hidden = find('change').hidden = true;

  const amount = (value) => want.metric === 'bytes' ? humanBytes(value) : Math.round(value).toLocaleString('en') + ' objects';
  const nameOf = (node) => node === 0 ? 'all' : data.names[tree.name[node]];

  function rebuild() {
    const path = [];
    if (tree) for (let at = view.focus; at > 0; at = tree.parent[at]) path.unshift(tree.name[at]);
    const wasInverted = tree?.inverted;
    tree = buildTree(data, want);
    tree.inverted = want.inverted;
    // The frame that was zoomed into, if it is there still.
    view.focus = 0;
    if (wasInverted === want.inverted) for (const name of path) {
      const next = tree.children[view.focus].find((child) => tree.name[child] === name);
      if (next === undefined) break;
      view.focus = next;
    }
    view.selected = -1;
    research();
  }

  function research() {
    const pattern = find('search').value;
    found = pattern ? searchTree(tree, data.names, pattern) : null;
    const total = tree.value[0] || 1;
    find('matched').textContent = found ? `${(100 * found.value / total).toFixed(1)} % in ${found.nodes} frames` : '';
    redraw();
  }

  function redraw() {
    const width = Math.max(300, find('scroll').clientWidth - 1);
    rows = layoutRows(tree, view.focus, width);
    const height = Math.max(rows.length * ROW, find('scroll').clientHeight - 4), ratio = Math.min(devicePixelRatio || 1, 30000 / height);
    canvas.width = width * ratio; canvas.height = height * ratio;
    canvas.style.width = width + 'px'; canvas.style.height = height + 'px';
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = '12px ui-monospace, monospace';
    pen.textBaseline = 'middle';
    pen.clearRect(0, 0, width, height);
    rows.forEach((row, depth) => row.forEach((box) => drawBox(box, depth, height)));
    view.height = height;
    for (const [id, on] of [['flip', view.isFlame], ['invert', want.inverted], ['state', want.before], ['change', view.byChange], ['dark', view.isDark]]) find(id).setAttribute('aria-pressed', String(on));
    document.documentElement.classList.toggle('dark', view.isDark);
  }

  const topOf = (depth, height) => view.isFlame ? height - (depth + 1) * ROW : depth * ROW;

  function drawBox(box, depth, height) {
    const y = topOf(depth, height), isHit = found && found.hits[box.node];
    const after = tree.isBefore ? tree.other[box.node] : tree.value[box.node];
    const before = tree.isBefore ? tree.value[box.node] : tree.other[box.node];
    const kind = box.node === 0 ? '' : data.kinds[data.kind[tree.name[box.node]]];
    pen.fillStyle = isHit ? (view.isDark ? '#a02fc0' : '#e79bf7') : view.byChange && tree.hasOther ? changeColour(after, before, view.isDark) : colourOf(kind, view.isDark);
    pen.globalAlpha = found && !isHit ? 0.55 : 1;
    pen.fillRect(box.x, y, Math.max(box.width - 0.6, 0.4), ROW - 1);
    pen.globalAlpha = 1;
    if (box.node === view.selected || box.node === hover) {
      pen.strokeStyle = view.isDark ? '#fff' : '#000';
      pen.strokeRect(box.x + 0.5, y + 0.5, Math.max(box.width - 1.6, 0.5), ROW - 2);
    }
    const letters = Math.floor((box.width - 6) / 7.25);
    if (letters < 3) return;
    const name = nameOf(box.node);
    pen.fillStyle = view.isDark ? '#eceff4' : '#1d2129';
    pen.fillText(name.length <= letters ? name : name.slice(0, letters - 1) + '…', box.x + 3, y + ROW / 2);
  }

  function describe(node) {
    const total = tree.value[0] || 1;
    const name = nameOf(node);
    let text = `${name.length > 1000 ? name.slice(0, 1000) + '…' : name}\n${amount(tree.value[node])}, ${(100 * tree.value[node] / total).toFixed(2)} % of all`;
    if (node > 0 && data.kinds[data.kind[tree.name[node]]]) text += `, ${data.kinds[data.kind[tree.name[node]]]}`;
    if (tree.hasOther) {
      const after = tree.isBefore ? tree.other[node] : tree.value[node], before = tree.isBefore ? tree.value[node] : tree.other[node];
      text += `\n${humanBytes(before)} → ${humanBytes(after)} (${after >= before ? '+' : ''}${humanBytes(after - before)})`;
    }
    return text;
  }

  function select(node) {
    view.selected = node;
    find('detail').textContent = node < 0 ? '' : describe(node).replaceAll('\n', ' · ');
    redraw();
    rows.forEach((row, depth) => { if (row.some((box) => box.node === node)) {
      const y = topOf(depth, view.height), area = find('scroll');
      if (y < area.scrollTop || y + ROW > area.scrollTop + area.clientHeight) area.scrollTop = y - area.clientHeight / 2;
    } });
  }

  function zoom(node) { view.focus = node < 0 ? 0 : node; redraw(); }

  function boxAt(event) {
    const area = canvas.getBoundingClientRect();
    const x = event.clientX - area.left, y = event.clientY - area.top;
    const depth = Math.floor((view.isFlame ? view.height - y : y) / ROW);
    return (rows[depth] || []).find((box) => x >= box.x && x < box.x + box.width);
  }

  canvas.addEventListener('mousemove', (event) => {
    const box = boxAt(event), tip = find('tip'), node = box ? box.node : -1;
    if (node !== hover) { hover = node; redraw(); }
    tip.style.display = box ? 'block' : 'none';
    if (!box) return;
    tip.textContent = describe(node);
    tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + 'px';
    tip.style.top = Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8) + 'px';
  });
  canvas.addEventListener('mouseleave', () => { find('tip').style.display = 'none'; hover = -1; redraw(); });
  canvas.addEventListener('click', (event) => { const box = boxAt(event); if (box) { zoom(box.node); select(box.node); } });

  const walks = {
    ArrowUp: () => view.isFlame ? firstChild() : tree.parent[view.selected],
    ArrowDown: () => view.isFlame ? tree.parent[view.selected] : firstChild(),
    ArrowLeft: () => sibling(-1), ArrowRight: () => sibling(1),
  };
  const firstChild = () => tree.children[view.selected][0] ?? view.selected;
  function sibling(step) {
    const list = tree.children[tree.parent[view.selected]];
    return list[list.indexOf(view.selected) + step] ?? view.selected;
  }
  function nextHit(step) {
    if (!found || !found.nodes) return;
    const count = tree.parent.length;
    for (let at = 1; at <= count; at++) {
      const node = (Math.max(view.selected, 0) + step * at + count * 2) % count;
      if (!found.hits[node]) continue;
      if (!rows.some((row) => row.some((box) => box.node === node))) view.focus = 0;
      return select(node);
    }
  }
  const toggles = {
    f: () => { view.isFlame = !view.isFlame; redraw(); },
    i: () => { want.inverted = !want.inverted; rebuild(); },
    b: () => { if (data.hasFirst) { want.before = !want.before; rebuild(); } },
    c: () => { if (data.hasFirst) { view.byChange = !view.byChange; redraw(); } },
    d: () => { view.isDark = !view.isDark; redraw(); },
    n: () => nextHit(1), N: () => nextHit(-1),
    '/': () => { find('search').focus(); find('search').select(); },
    Escape: () => { if (find('search').value && view.focus === 0) { find('search').value = ''; research(); } zoom(0); },
    Enter: () => { if (view.selected >= 0) zoom(view.selected); },
  };
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT)$/.test(event.target.tagName)) {
      if (event.key === 'Escape' || event.key === 'Enter') { canvas.focus(); if (event.key === 'Enter') nextHit(1); }
      return;
    }
    if (event.target.tagName === 'BUTTON' && event.key === 'Enter') return;
    const walk = walks[event.key];
    if (walk) select(view.selected < 0 ? view.focus : walk());
    else if (toggles[event.key]) toggles[event.key]();
    else return;
    event.preventDefault();
  });
  for (const [id, key] of [['flip', 'f'], ['invert', 'i'], ['state', 'b'], ['change', 'c'], ['dark', 'd']]) find(id).addEventListener('click', toggles[key]);
  find('reset').addEventListener('click', () => { find('search').value = ''; view.focus = 0; research(); });
  find('search').addEventListener('input', research);
  find('metric').addEventListener('change', (event) => { want.metric = event.target.value; rebuild(); });
  find('thread').addEventListener('change', (event) => { want.thread = Number(event.target.value); rebuild(); });
  addEventListener('resize', redraw);
  // What the address asks for: page.html#search=Inflater&invert&flip&before&change&dark&metric=objects
  const asked = new URLSearchParams(location.hash.slice(1));
  find('search').value = asked.get('search') ?? '';
  if (asked.get('metric') === 'objects') find('metric').value = want.metric = 'objects';
  want.inverted = asked.has('invert');
  want.before = data.hasFirst && asked.has('before');
  view.isFlame = asked.has('flip');
  view.byChange = asked.has('change');
  view.isDark ||= asked.has('dark');
  rebuild();
}
