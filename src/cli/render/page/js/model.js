'use strict';
// The model of the page: pure functions over the data, tested with node. A node is a frame on one path; callees stand
// right behind their callers. A moment is a dump, or a look of the keeper at all stacks.

// What heaptap wrote, with the callers of nodes.
function openModel(data) {
  const parent = new Uint32Array(data.depth.length), path = [];
  data.depth.forEach((depth, node) => {
    parent[node] = depth ? path[depth - 1] : 0;
    path[depth] = node;
  });
  const threads = new Set();
  for (let at = 0; at < data.own.length; at += 4) threads.add(data.own[at + 1]);
  const parts = Object.fromEntries(['mapped', 'resident'].map((part) => [part, data[part] ? openModel(data[part]) : null]));
  return { ...data, ...parts, parent, usedThreads: threads, columns: new Map(), sums: new Map(), last: data.moments.length - 1 };
}

// What a view's metric is measured in: the model of malloc's memory, or that of mapped memory, which has moments of its
// own: those next to the view's.
function sourceOf(model, view) {
  const source = { mapped: model.mapped, resident: model.resident }[view.metric];
  if (!source) return { source: model, from: view.from, to: view.to };
  if (!source.hasTimes || !model.hasTimes) return { source, from: source.last, to: source.last };
  return { source, from: momentAt(source, model.moments[view.from]), to: momentAt(source, model.moments[view.to]) };
}

// The metrics that there are, with their names.
function metricsOf(model) {
  const known = [['bytes', 'live bytes'], ['objects', 'live objects']];
  if (model.mapped) known.push(['mapped', 'mapped bytes']);
  if (model.resident) known.push(['resident', 'mapped, resident']);
  return known;
}

// Bytes that stop at each node at a moment. The latest columns are kept: a brush comes back to them.
function column(model, moment) {
  const known = model.columns.get(moment);
  if (known) return known;
  const { levels, quantum } = model, own = new Float64Array(model.parent.length);
  for (let at = 0, node = 0; at < levels.length;) {
    node += levels[at];
    const end = at + 2 + 2 * levels[at + 1];
    let level = 0, when = 0;
    for (at += 2; at < end; at += 2) {
      when += levels[at];
      if (when > moment) break;
      level += levels[at + 1];
    }
    at = end;
    own[node] = level * quantum;
  }
  if (model.columns.size >= 16) model.columns.delete(model.columns.keys().next().value);
  model.columns.set(moment, own);
  return own;
}

// What a thread (-1: all) holds at the last moment, bytes or objects.
function ownOfThread(model, thread, metric) {
  const own = new Float64Array(model.parent.length), told = model.own;
  for (let at = 0, node = 0; at < told.length; at += 4) {
    node += told[at];
    if (thread < 0 || told[at + 1] === thread) own[node] += metric === 'bytes' ? told[at + 2] * model.quantum : told[at + 3];
  }
  return own;
}

// A tree to show. `want`: metric ('bytes' or 'objects'), thread (-1: all), from and to (moments), before (show the
// state at `from`), inverted (leaves at the root). Threads and objects are known of the last moment only.
function buildTree(model, want) {
  const isTimed = want.thread < 0 && want.metric !== 'objects', hasOther = isTimed && want.from !== want.to;
  const own = isTimed ? column(model, want.to).slice() : ownOfThread(model, want.thread, want.metric);
  const other = hasOther ? column(model, want.from).slice() : new Float64Array(own.length);
  const tree = want.inverted ? invert(model, own, other) : { parent: model.parent, name: model.name, value: own, other };
  addUp(tree.parent, tree.value);
  addUp(tree.parent, tree.other);
  if (hasOther && want.before) [tree.value, tree.other] = [tree.other, tree.value];
  return Object.assign(tree, { isBefore: hasOther && want.before, hasOther, inverted: want.inverted, children: childLists(tree) });
}

function addUp(parent, value) {
  for (let at = parent.length - 1; at > 0; at--) value[parent[at]] += value[at];
}

// Paths from the leaf to the root, merged: own values stay at the far end.
function invert(model, own, other) {
  const parent = [0], name = [0], value = [0], before = [0];
  const known = new Map();
  for (let leaf = 0; leaf < own.length; leaf++) {
    if (!own[leaf] && !other[leaf]) continue;
    let to = 0;
    for (let from = leaf; from > 0; from = model.parent[from]) {
      const key = to * model.names.length + model.name[from];
      let next = known.get(key);
      if (next === undefined) {
        next = parent.length;
        known.set(key, next);
        parent.push(to);
        name.push(model.name[from]);
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

// Children of each node, biggest first; made when they are asked for.
function childLists(tree) {
  const count = tree.parent.length, first = new Int32Array(count).fill(-1), next = new Int32Array(count).fill(-1);
  for (let at = count - 1; at > 0; at--) {
    if (!(tree.value[at] > 0)) continue;
    next[at] = first[tree.parent[at]];
    first[tree.parent[at]] = at;
  }
  const known = new Map();
  return (node) => {
    let list = known.get(node);
    if (!list) {
      list = [];
      for (let at = first[node]; at >= 0; at = next[at]) list.push(at);
      list.sort((a, b) => tree.value[b] - tree.value[a]);
      known.set(node, list);
    }
    return list;
  };
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
    for (const child of tree.children(node)) {
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
  const isNameHit = names.map(matcher(pattern));
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

// Rows of a table: what each function, class, package, library or thread allocated itself, and with all it called. A
// stack counts once for a row, however often it passes it.
function groupRows(model, by, want) {
  if (by === 'thread') return threadRows(model);
  const keyOfName = { function: (name) => name, library: (name) => model.kind[name], class: (name) => model.class[name], package: (name) => model.package[model.class[name]] }[by];
  const words = { function: model.names, library: model.kinds, class: model.classes, package: model.packages }[by];
  const now = column(model, want.to);
  const total = [want.to, want.from, 'objects'].map((what) => sumsBelow(model, what));
  const rows = new Map(), open = new Int32Array(words.length), path = [];
  for (let node = 1; node < model.parent.length; node++) {
    const depth = model.depth[node];
    while (path.length >= depth) open[path.pop()]--;
    const key = keyOfName(model.name[node]);
    path.push(key);
    if (key > 0) {
      let row = rows.get(key);
      if (!row) rows.set(key, row = { key, label: words[key], self: 0, total: 0, before: 0, objects: 0 });
      row.self += now[node];
      if (open[key] === 0) {
        row.total += total[0][node];
        row.before += total[1][node];
        row.objects += total[2][node];
      }
    }
    open[key]++;
  }
  return [...rows.values()].filter((row) => row.total > 0 || row.before > 0).map((row) => ({ ...row, change: row.total - row.before }));
}

// What is below and at each node: bytes at a moment, or objects at the last one. A brush comes back to them.
function sumsBelow(model, what) {
  const known = model.sums.get(what);
  if (known) return known;
  const sums = (what === 'objects' ? ownOfThread(model, -1, 'objects') : column(model, what)).slice();
  addUp(model.parent, sums);
  if (model.sums.size >= 16) model.sums.delete(model.sums.keys().next().value);
  model.sums.set(what, sums);
  return sums;
}

function threadRows(model) {
  return [...model.usedThreads].map((thread) => {
    const sum = (metric) => ownOfThread(model, thread, metric).reduce((sum, own) => sum + own, 0);
    const bytes = sum('bytes');
    return { key: thread, label: model.threads[thread], self: bytes, total: bytes, objects: sum('objects'), change: null };
  });
}

// The judged places as rows.
function placeRows(model, want) {
  return model.places.map((place, key) => {
    const total = place.course[want.to] ?? 0;
    return { key, label: place.label, self: total, total, objects: place.objects, change: total - (place.course[want.from] ?? 0), rate: place.rate, rateError: place.rateError, age: place.ages?.median ?? null, verdict: place.verdict };
  });
}

// The places that map, and those that start threads, as rows. There is no test of them: the rate is the change.
function mappedRows(model, view) {
  const { source, from, to } = sourceOf(model, view), isResident = view.metric === 'resident';
  return model.mappedPlaces.map((place, key) => {
    const at = (moment) => isResident ? place.resident ?? 0 : place.course[moment] ?? place.bytes;
    const change = isResident || !place.course.length ? null : at(to) - at(from);
    const seconds = source.moments[to] - source.moments[from];
    return { key, label: place.label, self: at(to), total: at(to), objects: place.ranges, change, rate: source.hasTimes && seconds > 0 && change != null ? change / seconds : null, age: null };
  });
}

// The rows that fit a filter, sorted. `order`: { column, isDown }. What is not known comes last.
function sortRows(rows, filter, order) {
  const fits = filter ? matcher(filter) : () => true;
  const sign = order.isDown ? -1 : 1;
  const compare = (a, b) => {
    const [left, right] = [a[order.column], b[order.column]];
    if (left == null || right == null) return (left == null) - (right == null);
    return sign * (typeof left === 'string' ? left.localeCompare(right) : left - right) || b.total - a.total;
  };
  return rows.filter((row) => fits(row.label)).sort(compare);
}

// Whether a name fits a regular expression; one that is none is searched as it stands.
function matcher(pattern) {
  let regex = null;
  try { regex = new RegExp(pattern, 'i'); } catch { /* It is text. */ }
  return (text) => regex ? regex.test(text) : text.toLowerCase().includes(pattern.toLowerCase());
}

// The moment next to a time.
function momentAt(model, time) {
  let best = 0;
  model.moments.forEach((moment, at) => { if (Math.abs(moment - time) < Math.abs(model.moments[best] - time)) best = at; });
  return best;
}

// The view that an address asks for: #tab=flame&from=2&to=9&search=Inflater&dark. What is wrong in it is left out.
function readView(fragment, model) {
  const asked = new URLSearchParams(fragment.replace(/^#/, ''));
  const moment = (name, usual) => /^\d+$/.test(asked.get(name) ?? '') ? Math.min(Number(asked.get(name)), model.last) : usual;
  const among = (name, words, usual) => words.includes(asked.get(name)) ? asked.get(name) : usual;
  const thread = Number(asked.get('thread') ?? -1);
  return {
    tab: among('tab', TABS, asked.has('tab') || !asked.has('search') ? model.tab : 'flame'),
    from: moment('from', 0), to: moment('to', model.last),
    search: asked.get('search') ?? '', zoom: (asked.get('zoom') ?? '').split('.').filter(Boolean).map(Number),
    metric: among('metric', metricsOf(model).map(([metric]) => metric), 'bytes'), thread: model.usedThreads.has(thread) ? thread : -1,
    inverted: asked.has('invert'), before: asked.has('before'), isFlame: asked.has('flip'),
    byChange: asked.has('change') || (model.isComparison && !asked.has('origin')),
    theme: among('theme', ['dark', 'light'], asked.has('dark') ? 'dark' : ''),
    by: among('by', GROUPS, 'place'), filter: asked.get('filter') ?? '',
    sort: among('sort', ['label', 'self', 'total', 'objects', 'change', 'rate', 'age', 'verdict'], 'total'), isDown: !asked.has('up'),
    place: Math.min(Math.max(Number(asked.get('place')) || 0, 0), Math.max(model.places.length - 1, 0)),
  };
}

// The same as a fragment: only what is not usual.
function writeView(view, model) {
  const told = new URLSearchParams();
  const usual = readView('', model);
  const put = (name, value, isUsual) => { if (!isUsual) told.set(name, value); };
  for (const name of ['tab', 'from', 'to', 'search', 'metric', 'thread', 'theme', 'by', 'filter', 'sort', 'place']) put(name, view[name], view[name] === usual[name]);
  put('zoom', view.zoom.join('.'), !view.zoom.length);
  for (const [word, name] of [['invert', 'inverted'], ['before', 'before'], ['flip', 'isFlame']]) put(word, '', !view[name]);
  put('up', '', view.isDown);
  if (view.byChange !== usual.byChange) told.set(view.byChange ? 'change' : 'origin', '');
  if (told.has('search') && !told.has('tab')) told.set('tab', view.tab);
  return told.toString().replaceAll('=&', '&').replace(/=$/, '');
}

const TABS = ['summary', 'time', 'flame', 'table', 'ages', 'about'];
const GROUPS = ['place', 'function', 'class', 'package', 'library', 'thread'];

if (typeof module !== 'undefined') module.exports = { openModel, column, sourceOf, metricsOf, mappedRows, buildTree, layoutRows, searchTree, groupRows, placeRows, sortRows, momentAt, readView, writeView };
