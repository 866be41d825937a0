// The verdict in words, and about the dump, the tap and the names.

function summaryPanel(page) {
  const { model, find, element } = page;
  const MOST = 6;

  function places() {
    const head = element('tr', {}, ...['place', 'live', 'share', 'change', 'verdict'].map((title) => element('th', { scope: 'col', class: title === 'place' ? 'words' : '' }, title)));
    const rows = placeRows(model, page.view), all = column(model, page.view.to).reduce((sum, own) => sum + own, 0);
    const body = sortRows(rows, '', { column: 'total', isDown: true }).slice(0, MOST).map((row) => {
      const button = element('button', { type: 'button' }, row.label);
      button.addEventListener('click', () => page.change({ tab: 'table', by: 'place', filter: '' }));
      const hint = model.places[row.key].hint;
      const cell = element('td', { class: 'words' }, button, hint ? element('div', { class: 'faint' }, '⇒ ' + hint) : '');
      return element('tr', {}, cell, element('td', {}, humanBytes(row.total)), element('td', {}, percent(row.total, all)), element('td', {}, row.change ? signedBytes(row.change) : '0'), element('td', {}, row.verdict));
    });
    return element('table', {}, element('thead', {}, head), element('tbody', {}, ...body));
  }

  function classes() {
    const all = model.summary.classes.reduce((sum, [, bytes]) => sum + bytes, 0);
    const row = ([title, bytes, advice]) => {
      const bar = element('span');
      bar.style.width = 100 * bytes / all + '%';
      return element('tr', {}, element('td', {}, title), element('td', {}, humanBytes(bytes)), element('td', {}, percent(bytes, all)), element('td', {}, element('span', { class: 'track', 'aria-hidden': 'true' }, bar)), element('td', { class: 'words faint' }, advice));
    };
    return element('div', { class: 'wide' }, element('table', {}, element('tbody', {}, ...model.summary.classes.map(row))));
  }

  function draw() {
    const { verdict, isFinding, facts, resident } = { ...model.summary, isFinding: model.summary.is_finding };
    const parts = [element('p', { class: isFinding ? 'verdict finding' : 'verdict' }, verdict), ...facts.map((fact) => element('p', {}, fact))];
    parts.push(element('h2', {}, 'Who holds the memory'), element('div', { class: 'wide' }, places()));
    if (model.summary.classes.length) parts.push(element('h2', {}, 'Where the resident memory is'), ...resident.map((text) => element('p', {}, text)), classes());
    find('summary').replaceChildren(...parts);
  }
  return { draw, key: () => false };
}

function aboutPanel(page) {
  const { model, find, element } = page;
  const table = (titles, rows) => element('div', { class: 'wide' }, element('table', {},
    element('thead', {}, element('tr', {}, ...titles.map((title) => element('th', { scope: 'col', class: 'words' }, title)))),
    element('tbody', {}, ...rows.map((cells) => element('tr', {}, ...cells.map((cell) => element('td', { class: 'words' }, String(cell))))))));

  function draw() {
    const { facts, modules, verdicts } = model.about;
    const missing = modules.length ? [element('h2', {}, 'Names that are missing'), table(['file', 'places', 'named', 'names from', 'what helps'], modules)] : [];
    const keys = [['1 … 6', 'the parts of this page'], ['/', 'search or filter'], ['d', 'dark or light'], ['f', 'flame: root at the bottom'], ['i', 'flame: callers of the leaf'], ['b', 'flame: the state before'], ['c', 'flame: colour by change'], ['n, N', 'flame: next and last hit'], ['arrows, Enter, Esc', 'flame: walk, zoom, back']];
    find('about').replaceChildren(table(['about', ''], facts), ...missing, element('h2', {}, 'Verdicts'), table(['word', 'meaning'], verdicts), element('h2', {}, 'Keys'), table(['key', 'what it does'], keys),
      element('p', { class: 'faint' }, 'The address of this page says what is shown: a copy of it opens the same view.'));
  }
  return { draw, key: () => false };
}
