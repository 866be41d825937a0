// The flame graph. Foreign names reach the page only as text of a canvas or through textContent.

function flamePanel(page) {
  const ROW = 18;
  const { model, view, find } = page;
  const canvas = find('canvas'), pen = canvas.getContext('2d');
  // What is drawn: malloc's memory, or mapped memory.
  let source = model;
  let tree, rows, shown = '', found = null, hover = -1, focus = 0, selected = -1, height = 0;

  const everyone = new Option('all threads', '-1');
  find('thread').append(everyone, ...model.threads.map((name, index) => new Option(name, String(index))).filter((_, index) => model.usedThreads.has(index)));
  find('metric').append(...metricsOf(model).map(([metric, word]) => new Option(word, metric)));

  const amount = (value) => view.metric === 'objects' ? count(value) + ' objects' : humanBytes(value);
  const nameOf = (node) => node === 0 ? 'all' : source.names[tree.name[node]];
  const kindOf = (node) => node === 0 ? '' : source.kinds[source.kind[tree.name[node]]];

  // The path of a frame as numbers of names, and back.
  function pathOf(node) {
    const path = [];
    for (let at = node; at > 0; at = tree.parent[at]) path.unshift(tree.name[at]);
    return path;
  }
  function nodeOf(path) {
    let node = 0;
    for (const name of path) {
      const next = tree.children(node).find((child) => tree.name[child] === name);
      if (next === undefined) break;
      node = next;
    }
    return node;
  }

  function draw() {
    const { before, inverted, metric, search } = view;
    const { from, to, source: wantedSource } = sourceOf(model, view), thread = wantedSource === model ? view.thread : -1;
    const wanted = JSON.stringify([from, to, before, inverted, metric, thread]);
    if (wanted !== shown) {
      source = wantedSource;
      tree = buildTree(source, { from, to, before, inverted, metric, thread });
      shown = wanted;
      selected = -1;
      found = null;
    }
    focus = nodeOf(view.zoom);
    if (!search) found = null;
    else if (found?.pattern !== search) found = { ...searchTree(tree, source.names, search), pattern: search };
    find('matched').textContent = found ? `${percent(found.value, tree.value[0])} in ${found.nodes} frames` : '';
    if (find('search').value !== search) find('search').value = search;
    find('metric').value = metric;
    find('thread').value = String(thread);
    find('thread').hidden = source !== model;
    find('state').hidden = find('change').hidden = source.last === 0;
    for (const [id, on] of [['flip', view.isFlame], ['invert', inverted], ['state', before], ['change', view.byChange]]) find(id).setAttribute('aria-pressed', String(on));
    legend();
    paint();
  }

  function legend() {
    const byChange = view.byChange && tree.hasOther, dark = page.isDark();
    const kinds = byChange
      ? [['more than before', changeColour(2, 0, dark)], ['the same', changeColour(1, 1, dark)], ['less', changeColour(0, 2, dark)]]
      : ORIGINS.map((origin) => [origin.word, [origin[dark ? 'dark' : 'light']].flat()[0]]);
    if (found) kinds.push(['found', hitColour()]);
    find('legend').replaceChildren(...kinds.map(([word, colour]) => page.swatch(word, colour)));
  }

  const hitColour = () => page.isDark() ? '#8f2bb0' : '#eba6fa';

  function paint() {
    const width = Math.max(280, find('scroll').clientWidth - 1), room = find('scroll').clientHeight;
    rows = layoutRows(tree, focus, width);
    height = Math.max(rows.length * ROW, room - 4);
    const ratio = Math.min(devicePixelRatio || 1, 30000 / height);
    canvas.width = width * ratio; canvas.height = height * ratio;
    canvas.style.width = width + 'px'; canvas.style.height = height + 'px';
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = '12px ui-monospace, monospace';
    pen.textBaseline = 'middle';
    rows.forEach((row, depth) => row.forEach((box) => paintBox(box, depth)));
  }

  const topOf = (depth) => view.isFlame ? height - (depth + 1) * ROW : depth * ROW;
  const states = (node) => tree.isBefore ? [tree.value[node], tree.other[node]] : [tree.other[node], tree.value[node]];

  function paintBox(box, depth) {
    const y = topOf(depth), isHit = found && found.hits[box.node], isDark = page.isDark();
    const [before, after] = states(box.node);
    pen.fillStyle = isHit ? hitColour() : view.byChange && tree.hasOther ? changeColour(after, before, isDark) : colourOf(kindOf(box.node), isDark);
    pen.globalAlpha = found && !isHit ? 0.55 : 1;
    pen.fillRect(box.x, y, Math.max(box.width - 0.6, 0.4), ROW - 1);
    pen.globalAlpha = 1;
    if (box.node === selected || box.node === hover) {
      pen.strokeStyle = isDark ? '#fff' : '#000';
      pen.strokeRect(box.x + 0.5, y + 0.5, Math.max(box.width - 1.6, 0.5), ROW - 2);
    }
    const letters = Math.floor((box.width - 6) / 7.25);
    if (letters < 3) return;
    const name = nameOf(box.node);
    pen.fillStyle = isDark ? INK.dark : INK.light;
    pen.fillText(name.length <= letters ? name : name.slice(0, letters - 1) + '…', box.x + 3, y + ROW / 2);
  }

  function describe(node) {
    const name = nameOf(node);
    let text = `${name.length > 1000 ? name.slice(0, 1000) + '…' : name}\n${amount(tree.value[node])}, ${(100 * tree.value[node] / (tree.value[0] || 1)).toFixed(2)} % of all`;
    if (kindOf(node)) text += `, ${kindOf(node)}`;
    if (tree.hasOther) {
      const [before, after] = states(node);
      text += `\n${humanBytes(before)} → ${humanBytes(after)} (${signedBytes(after - before)})`;
    }
    return text;
  }

  function select(node) {
    selected = node;
    find('detail').textContent = node < 0 ? '' : describe(node).replaceAll('\n', ' · ');
    paint();
    rows.forEach((row, depth) => { if (row.some((box) => box.node === node)) {
      const y = topOf(depth), area = find('scroll');
      if (y < area.scrollTop || y + ROW > area.scrollTop + area.clientHeight) area.scrollTop = y - area.clientHeight / 2;
    } });
  }

  const zoom = (node) => page.change({ zoom: pathOf(Math.max(node, 0)) });

  function boxAt(event) {
    const area = canvas.getBoundingClientRect();
    const x = event.clientX - area.left, y = event.clientY - area.top;
    const depth = Math.floor((view.isFlame ? height - y : y) / ROW);
    return (rows[depth] || []).find((box) => x >= box.x && x < box.x + box.width);
  }

  canvas.addEventListener('mousemove', (event) => {
    const box = boxAt(event), node = box ? box.node : -1;
    if (node !== hover) { hover = node; paint(); }
    page.tip(event, box && describe(node));
  });
  canvas.addEventListener('mouseleave', () => { page.tip(); hover = -1; paint(); });
  canvas.addEventListener('click', (event) => { const box = boxAt(event); if (box) { zoom(box.node); select(box.node); } });

  const firstChild = () => tree.children(selected)[0] ?? selected;
  const walks = {
    ArrowUp: () => view.isFlame ? firstChild() : tree.parent[selected],
    ArrowDown: () => view.isFlame ? tree.parent[selected] : firstChild(),
    ArrowLeft: () => sibling(-1), ArrowRight: () => sibling(1),
  };
  function sibling(step) {
    const list = tree.children(tree.parent[selected]);
    return list[list.indexOf(selected) + step] ?? selected;
  }
  function nextHit(step) {
    if (!found || !found.nodes) return;
    const nodes = tree.parent.length;
    for (let at = 1; at <= nodes; at++) {
      const node = (Math.max(selected, 0) + step * at + nodes * 2) % nodes;
      if (!found.hits[node]) continue;
      if (!rows.some((row) => row.some((box) => box.node === node))) zoom(0);
      return select(node);
    }
  }
  const toggles = {
    f: () => page.change({ isFlame: !view.isFlame }),
    i: () => page.change({ inverted: !view.inverted, zoom: [] }),
    b: () => { if (source.last > 0) page.change({ before: !view.before }); },
    c: () => { if (source.last > 0) page.change({ byChange: !view.byChange }); },
    n: () => nextHit(1), N: () => nextHit(-1),
    '/': () => { find('search').focus(); find('search').select(); },
    Escape: () => page.change({ zoom: [], ...(view.zoom.length ? {} : { search: '' }) }),
    Enter: () => { if (selected >= 0) zoom(selected); },
  };
  for (const [id, key] of [['flip', 'f'], ['invert', 'i'], ['state', 'b'], ['change', 'c']]) find(id).addEventListener('click', toggles[key]);
  find('reset').addEventListener('click', () => page.change({ zoom: [], search: '' }));
  find('search').addEventListener('input', (event) => page.change({ search: event.target.value }));
  find('metric').addEventListener('change', (event) => page.change({ metric: event.target.value, zoom: [] }));
  find('thread').addEventListener('change', (event) => page.change({ thread: Number(event.target.value) }));

  // Whether the key was for the picture.
  function key(name) {
    if (walks[name]) select(selected < 0 ? focus : walks[name]());
    else if (toggles[name]) toggles[name]();
    else return false;
    return true;
  }
  return { draw, key, leaveField: (name) => { canvas.focus(); if (name === 'Enter') nextHit(1); } };
}
