// The table: rows of any kind, sorted by any column.

function tablePanel(page) {
  const { model, view, find, element } = page;
  const MOST = 150;
  const COLUMNS = [
    { id: 'label', title: 'name', text: (row) => row.label },
    { id: 'self', title: 'self', text: (row) => humanBytes(row.self) },
    { id: 'total', title: 'total', text: (row) => humanBytes(row.total) },
    { id: 'objects', title: 'objects at the end', text: (row) => count(row.objects) },
    { id: 'change', title: 'change', text: (row) => row.change == null ? '–' : signedBytes(row.change) },
    { id: 'rate', title: 'rate', text: (row) => row.rate == null ? '–' : humanRate(row.rate) + (row.rateError ? ` ± ${humanRate(row.rateError).replace('+', '')}` : '') },
    { id: 'age', title: 'median age', text: (row) => row.age == null ? '–' : humanAge(row.age) },
    { id: 'verdict', title: 'verdict', text: (row) => row.verdict ?? '' },
  ];
  let open = null;

  find('by').append(...GROUPS.map((by) => new Option({ place: 'places that allocate', function: 'functions', class: 'classes', package: 'packages', library: 'libraries', thread: 'threads' }[by], by)));
  const measures = metricsOf(model).filter(([metric]) => metric !== 'objects');
  find('of').append(...measures.map(([metric, word]) => new Option(word, metric)));
  find('of').parentElement.hidden = measures.length < 2;
  find('of').addEventListener('change', (event) => { open = null; page.change({ metric: event.target.value, zoom: [] }); });
  find('by').addEventListener('change', (event) => { open = null; page.change({ by: event.target.value }); });
  find('filter').addEventListener('input', (event) => page.change({ filter: event.target.value }));

  function draw() {
    find('by').value = view.by;
    if (find('filter').value !== view.filter) find('filter').value = view.filter;
    const { source, from, to } = sourceOf(model, view), isMapped = source !== model;
    find('of').value = isMapped ? view.metric : 'bytes';
    // Whose threads mapped it is not known.
    const by = isMapped && view.by === 'thread' ? 'place' : view.by;
    const placesOf = isMapped ? mappedRows : placeRows;
    const all = by === 'place' ? placesOf(model, view) : withRates(groupRows(source, by, { from, to }), source, from, to);
    const rows = sortRows(all, view.filter, { column: view.sort, isDown: view.isDown });
    const more = by === 'place' && !isMapped && model.otherPlaces ? `; ${count(model.otherPlaces)} smaller places are not on this page` : '';
    find('rows').textContent = `${count(Math.min(rows.length, MOST))} of ${count(all.length)} rows${more}`;
    const head = element('thead', {}, element('tr', {}, ...COLUMNS.map(heading)));
    const body = element('tbody', {}, ...rows.slice(0, MOST).flatMap((row) => row.key === open ? [line(row), details(row)] : [line(row)]));
    find('list').replaceChildren(head, body);
  }

  // Of other rows than places there is no test: the rate is the change over the time.
  function withRates(rows, source, from, to) {
    const seconds = source.moments[to] - source.moments[from];
    return rows.map((row) => ({ ...row, rate: source.hasTimes && seconds > 0 && row.change != null ? row.change / seconds : null, age: null }));
  }

  function heading(column) {
    const isSorted = view.sort === column.id;
    const button = element('button', { type: 'button' }, column.title + (isSorted ? view.isDown ? ' ▾' : ' ▴' : ''));
    button.addEventListener('click', () => {
      page.change({ sort: column.id, isDown: isSorted ? !view.isDown : column.id !== 'label' });
      find('list').querySelector(`th[data-column="${column.id}"] button`).focus();
    });
    return element('th', { scope: 'col', 'data-column': column.id, class: column.id === 'label' ? 'words' : '', 'aria-sort': isSorted ? view.isDown ? 'descending' : 'ascending' : 'none' }, button);
  }

  function line(row) {
    const button = element('button', { type: 'button' }, row.label || '(no name)');
    if (view.by === 'place') button.setAttribute('aria-expanded', String(open === row.key));
    button.addEventListener('click', () => choose(row));
    return element('tr', {}, ...COLUMNS.map((column) => column.id === 'label' ? element('td', { class: 'words' }, button) : element('td', {}, column.text(row))));
  }

  // A place opens its stack; other rows are searched in the flame graph.
  function choose(row) {
    if (view.by === 'thread') return page.change({ tab: 'flame', thread: row.key, zoom: [] });
    if (view.by !== 'place') return page.change({ tab: 'flame', search: row.label.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), zoom: [] });
    open = open === row.key ? null : row.key;
    draw();
    find('list').querySelector('[aria-expanded="true"]')?.focus();
  }

  function details(row) {
    const place = (sourceOf(model, view).source === model ? model.places : model.mappedPlaces)[row.key];
    const lines = place.frames.map((frame, at) => element(at === place.own ? 'b' : 'span', {}, (at ? '\n' : '') + frame));
    const cell = element('td', { colspan: String(COLUMNS.length), class: 'words' }, element('pre', {}, ...lines));
    if (place.hint) cell.append(element('p', {}, '⇒ ' + place.hint));
    if (place.ages) {
      const button = element('button', { type: 'button' }, 'ages: ' + place.ages.text);
      button.addEventListener('click', () => page.change({ tab: 'ages', place: row.key }));
      cell.append(button);
    }
    return element('tr', {}, cell);
  }
  const leaveField = () => find('list').querySelector('tbody button')?.focus();
  return { draw, leaveField, key: (name) => name === '/' && (find('filter').focus(), true) };
}
