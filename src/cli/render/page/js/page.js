// The page: its parts, the brush, the address. The view is one object; whoever changes it calls `page.change`.

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text());
}

// An element with attributes and children; text stays text, whatever stands in it.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== '') made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function swatch(word, colour) {
  const colourBox = element('i', { 'aria-hidden': 'true' });
  colourBox.style.background = colour;
  return element('li', {}, colourBox, word);
}

async function start(packed) {
  const model = openModel(await unpack(packed));
  const find = (id) => document.getElementById(id);
  const view = readView(location.hash, model);
  const prefersDark = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => !isPrinting && (view.theme ? view.theme === 'dark' : prefersDark.matches);
  let isPrinting = false;

  const momentText = (at) => model.hasTimes ? timeText(model.moments[at]) : model.isComparison ? ['before', 'after'][at] ?? String(at) : `dump ${at + 1}`;
  const page = { model, view, find, element, swatch, isDark, momentText, change, tip };
  const panels = { summary: summaryPanel(page), time: timePanel(page), flame: flamePanel(page), table: tablePanel(page), ages: agesPanel(page), about: aboutPanel(page) };

  function change(part) {
    Object.assign(view, part);
    if (view.from > view.to) 'to' in part ? view.from = view.to : view.to = view.from;
    draw();
    const fragment = writeView(view, model);
    if (fragment !== location.hash.slice(1)) history.replaceState(null, '', '#' + fragment);
  }

  function draw() {
    document.documentElement.classList.toggle('dark', isDark());
    find('dark').setAttribute('aria-pressed', String(isDark()));
    for (const tab of TABS) {
      find(tab).hidden = tab !== view.tab;
      find('tab-' + tab).setAttribute('aria-selected', String(tab === view.tab));
      find('tab-' + tab).tabIndex = tab === view.tab ? 0 : -1;
    }
    drawBrush();
    panels[view.tab].draw();
  }

  function drawBrush() {
    const total = (at) => column(model, at).reduce((sum, own) => sum + own, 0);
    for (const id of ['from', 'to']) {
      find(id).value = String(view[id]);
      find(id).setAttribute('aria-valuetext', momentText(view[id]));
    }
    const [before, after] = [total(view.from), total(view.to)];
    find('between').textContent = `${momentText(view.from)} → ${momentText(view.to)}: ${humanBytes(before)} → ${humanBytes(after)} live (${signedBytes(after - before)})`;
  }

  function tip(event, text) {
    const box = find('tip');
    box.style.display = text ? 'block' : 'none';
    if (!text) return;
    box.textContent = text;
    box.style.left = Math.max(Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8), 0) + 'px';
    box.style.top = Math.max(Math.min(event.clientY + 16, innerHeight - box.offsetHeight - 8), 0) + 'px';
  }

  // A tab by number; neighbours by arrows on the tabs themselves.
  function tabOf(event) {
    if (/^[1-6]$/.test(event.key)) return TABS[Number(event.key) - 1];
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    return step && event.target.getAttribute('role') === 'tab' ? TABS[(TABS.indexOf(view.tab) + step + TABS.length) % TABS.length] : null;
  }

  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const panel = panels[view.tab];
    if (event.target.type === 'range' || event.target.tagName === 'SELECT') return;
    if (event.target.tagName === 'INPUT') {
      if (event.key !== 'Escape' && event.key !== 'Enter') return;
      panel.leaveField?.(event.key);
      return event.preventDefault();
    }
    if (event.target.tagName === 'BUTTON' && (event.key === 'Enter' || event.key === ' ')) return;
    const tab = tabOf(event);
    if (tab) { change({ tab }); find('tab-' + tab).focus(); }
    else if (event.key === 'd') toggleDark();
    else if (!panel.key(event.key)) return;
    event.preventDefault();
  });
  const toggleDark = () => change({ theme: isDark() ? 'light' : 'dark' });
  find('dark').addEventListener('click', toggleDark);
  for (const tab of TABS) find('tab-' + tab).addEventListener('click', () => change({ tab }));
  for (const id of ['from', 'to']) {
    find(id).max = String(model.last);
    find(id).addEventListener('input', (event) => change({ [id]: Number(event.target.value) }));
  }
  find('brush').hidden = model.last === 0;
  addEventListener('resize', draw);
  addEventListener('hashchange', () => { Object.assign(view, readView(location.hash, model)); draw(); });
  prefersDark.addEventListener('change', draw);
  // On paper all parts stand one below the other, in light colours.
  addEventListener('beforeprint', () => {
    isPrinting = true;
    document.documentElement.classList.remove('dark');
    for (const tab of TABS) { find(tab).hidden = false; panels[tab].draw(); }
  });
  addEventListener('afterprint', () => { isPrinting = false; draw(); });

  find('title').textContent = document.title = model.title;
  find('subtitle').textContent = model.subtitle;
  draw();
  document.documentElement.dataset.ready = 'yes';
}
