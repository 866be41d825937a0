// Memory over time: two stacked plots with marks for dumps and events, and what changed between before and after.

// Values one upon the other, the sum of all first: it is drawn first and lies behind the others.
function stack(layers) {
  const sums = [];
  for (const layer of layers) {
    const below = sums[0];
    sums.unshift(layer.map((value, at) => value + (below ? below[at] : 0)));
  }
  return sums;
}

const MARKS = {
  dump: { letter: 'D', word: 'dump', colour: ['#57606f', '#a4adba'] },
  rate: { letter: 'R', word: 'sampling rate', colour: ['#00674c', '#5fd3ae'] },
  pause: { letter: 'P', word: 'sampling on, off, or reset', colour: ['#005a8d', '#7cc4f2'] },
  failure: { letter: 'F', word: 'something failed', colour: ['#a32b00', '#ff9a66'] },
  kill: { letter: 'K', word: 'killed for memory', colour: ['#a32b00', '#ff9a66'] },
};

function timePanel(page) {
  const { model, view, find, element } = page;
  const MOST_PLACES = 8;
  const plots = [];

  const ink = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const markColour = (kind) => MARKS[kind].colour[page.isDark() ? 1 : 0];

  // Clock times of ticks; days where they are far apart.
  function ticks(_, splits, __, ___, step) {
    if (!model.hasTimes) return splits.map((at) => !Number.isInteger(at) ? '' : model.isComparison ? page.momentText(at) : String(at + 1));
    return splits.map((time) => step >= 86400 ? timeText(time).slice(5, 10) : timeText(time).slice(11, step < 60 ? 19 : 16));
  }

  // What lies behind the areas: the time between before and after. And before them: marks.
  function hooks() {
    return {
      drawClear: [(plot) => {
        const [left, right] = [view.from, view.to].map((at) => plot.valToPos(model.moments[at], 'x', true));
        plot.ctx.save();
        plot.ctx.fillStyle = page.isDark() ? '#f07bff2e' : '#8b1fa81f';
        plot.ctx.fillRect(left, plot.bbox.top, Math.max(right - left, 2), plot.bbox.height);
        plot.ctx.restore();
      }],
      draw: [(plot) => {
        const { ctx, bbox } = plot, ratio = devicePixelRatio || 1;
        ctx.save();
        ctx.font = `${10 * ratio}px system-ui, sans-serif`;
        ctx.textAlign = 'center';
        let last = -Infinity;
        for (const mark of model.marks) {
          const x = plot.valToPos(mark.time, 'x', true);
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.strokeStyle = ctx.fillStyle = markColour(mark.kind);
          ctx.lineWidth = ratio;
          ctx.setLineDash(mark.kind === 'dump' ? [2 * ratio, 3 * ratio] : []);
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          if (x - last > 9 * ratio) { ctx.fillText(MARKS[mark.kind].letter, x, bbox.top - 3 * ratio); last = x; }
        }
        ctx.strokeStyle = ink('--mark')();
        ctx.setLineDash([]);
        ctx.lineWidth = 2 * ratio;
        for (const at of [view.from, view.to]) {
          const x = plot.valToPos(model.moments[at], 'x', true);
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
        }
        ctx.restore();
      }],
      setSelect: [(plot) => {
        if (plot.select.width < 3) return;
        const edges = [plot.select.left, plot.select.left + plot.select.width].map((x) => momentAt(model, plot.posToVal(x, 'x')));
        plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        if (edges[0] < edges[1]) page.change({ from: edges[0], to: edges[1] });
      }],
      setCursor: [(plot) => tell(plot)],
    };
  }

  // Beside the names of the areas: their values under the pointer, else the last ones.
  function tell(plot) {
    const at = plot.cursor.idx ?? plot.data[0].length - 1;
    plot.areas.forEach((area) => { area.told.textContent = area.values[at] == null ? '' : ' ' + plot.words(area.values[at]); });
    plot.clock.textContent = model.hasTimes ? timeText(plot.data[0][at]) + ' UTC' : '';
  }

  // A plot of areas {title, values, colour}, from the bottom up, and of lines {title, values, name}: bytes, or numbers.
  function plotOf(id, times, areas, lines, words = humanBytes) {
    const height = words === humanBytes ? HEIGHT : HEIGHT * 2 / 3;
    const sums = stack(areas.map((area) => area.values));
    const painted = [...areas].reverse();
    const spaced = uPlot.paths.linear();
    const series = [{}, ...painted.map((area) => ({ label: area.title, stroke: area.colour, fill: area.colour, width: 0.5, paths: spaced, points: { show: times.length < 2 } })),
      ...lines.map((line) => ({ label: line.title, stroke: ink(line.name), width: 1.5, dash: line.dash, points: { show: false } }))];
    const axis = { stroke: ink('--ink'), grid: { stroke: ink('--line'), width: 1 }, ticks: { stroke: ink('--line'), width: 1 }, font: '11px system-ui, sans-serif' };
    const span = [model.moments[0], model.moments[model.last], ...model.timeline?.times ?? []];
    const range = [Math.min(...span), Math.max(...span)];
    if (range[0] === range[1]) range[0] -= 1;
    const plot = new uPlot({
      width: 600, height, series, hooks: hooks(), legend: { show: false }, padding: [14, 12, 0, 0],
      scales: { x: { time: model.hasTimes, range: () => range }, y: { range: (_, __, most) => [0, (most || 1) * 1.05] } },
      axes: [{ ...axis, values: ticks, space: 76 }, { ...axis, size: 72, values: (_, splits) => splits.map(words), ...(words === humanBytes ? { incrs: BINARY } : { incrs: WHOLE }) }],
      cursor: { drag: { x: true, y: false, setScale: false, dist: 3 }, sync: { key: 'heaptap' }, points: { show: false }, bind: { dblclick: () => () => page.change({ from: 0, to: model.last }) } },
    }, [times, ...sums, ...lines.map((line) => line.values)], find(id));
    plot.areas = [...areas, ...lines].map((area) => ({ ...area, told: element('span') }));
    plot.words = words;
    plot.clock = element('span', { class: 'faint' });
    const swatches = [...plot.areas].reverse().map((area) => { const item = page.swatch(area.title, area.colour ?? ink(area.name)()); item.append(area.told); return item; });
    find(id + '-legend').replaceChildren(...swatches, plot.clock);
    find(id).setAttribute('role', 'img');
    find(id).setAttribute('aria-label', `${[...areas, ...lines].map((area) => area.title).join(', ')} over time; the table below says what changed`);
    plots.push(plot);
    tell(plot);
  }

  function residentPlot() {
    const { timeline } = model;
    if (!timeline || timeline.times.length < 2) return false;
    const areas = timeline.classes.map((area, at) => ({ title: area.title, values: area.bytes, colour: AREAS[at % AREAS.length] }));
    if (timeline.rest.some((bytes) => bytes > 0)) areas.push({ title: 'other', values: timeline.rest, colour: REST });
    const most = Math.max(...stack(areas.map((area) => area.values))[0]);
    // A limit that is far away would press the areas flat.
    const isNear = timeline.limit.some((limit) => limit !== null && limit < 3 * most);
    plotOf('resident', timeline.times, areas, isNear ? [{ title: 'limit', values: timeline.limit, name: '--bad', dash: [6, 4] }] : []);
    return true;
  }

  function livePlot() {
    const peak = (place) => Math.max(...place.course, 0);
    const shown = [...model.places].sort((a, b) => peak(b) - peak(a)).slice(0, MOST_PLACES);
    const total = model.moments.map((_, at) => column(model, at).reduce((sum, own) => sum + own, 0));
    const areas = shown.map((place, at) => ({ title: `${place.label}${place.verdict ? ` (${place.verdict})` : ''}`, values: place.course, colour: AREAS[at % AREAS.length] }));
    const rest = total.map((bytes, at) => Math.max(bytes - shown.reduce((sum, place) => sum + place.course[at], 0), 0));
    areas.push({ title: 'all other places', values: rest, colour: REST });
    plotOf('live', model.moments, areas, []);
  }

  function mappedPlot() {
    const source = model.mapped;
    const known = model.mappedPlaces.filter((place) => place.course.length === source?.moments.length);
    if (!source?.hasTimes || source.last === 0 || !known.length) return false;
    const peak = (place) => Math.max(...place.course);
    const shown = [...known].sort((a, b) => peak(b) - peak(a));
    const areas = shown.slice(0, MOST_PLACES).map((place, at) => ({ title: place.label, values: place.course, colour: AREAS[at % AREAS.length] }));
    const rest = shown.slice(MOST_PLACES);
    if (rest.length) areas.push({ title: 'all other places', values: source.moments.map((_, at) => rest.reduce((sum, place) => sum + place.course[at], 0)), colour: REST });
    plotOf('mapped', source.moments, areas, []);
    return true;
  }

  // Lines of numbers; those of which nothing is known are left out.
  function linesPlot(id, times, lines) {
    const known = lines.filter((line) => line.values.some((value) => value));
    if (!known.length || times.length < 2) return false;
    plotOf(id, times, [], known, count);
    return true;
  }

  const objectsPlot = () => linesPlot('objects', model.timeline?.liveTimes ?? [], [{ title: 'live objects', values: model.timeline?.objects ?? [], name: '--good' }]);
  const countsPlot = () => linesPlot('counts', model.timeline?.times ?? [], [
    { title: 'threads', values: model.timeline?.threads ?? [], name: '--mark' },
    { title: 'open descriptors', values: model.timeline?.descriptors ?? [], name: '--good', dash: [6, 4] },
  ]);

  function make() {
    livePlot();
    for (const [id, draw] of [['resident', residentPlot], ['mapped', mappedPlot], ['objects', objectsPlot], ['counts', countsPlot]]) {
      if (!draw()) for (const part of [`${id}-title`, id, `${id}-legend`]) find(part).hidden = true;
    }
    find('marks').replaceChildren(...model.marks.slice(0, 500).map((mark) => element('li', {}, `${timeText(mark.time)}  [${MARKS[mark.kind].letter}] ${mark.text}`)));
    if (!model.marks.length) find('marks').previousElementSibling.hidden = true;
  }

  function changed() {
    const rows = sortRows(placeRows(model, view), '', { column: 'change', isDown: true });
    const most = [...rows.slice(0, 5), ...rows.slice(5).slice(-2)].filter((row) => row.change);
    find('changed-title').textContent = `Changed from ${page.momentText(view.from)} to ${page.momentText(view.to)}`;
    find('changed').replaceChildren(...most.map((row) => element('tr', {}, element('td', {}, row.label), element('td', {}, signedBytes(row.change)), element('td', {}, row.verdict))));
  }

  function draw() {
    if (!plots.length) make();
    const width = Math.max(find('time').clientWidth - 30, 260);
    for (const plot of plots) if (plot.width !== width) plot.setSize({ width, height: plot.height }); else plot.redraw(false, true);
    changed();
  }
  return { draw, key: () => false };
}

// Of a plot of bytes; one of numbers has two thirds of it.
const HEIGHT = 210;

// Steps of a scale of numbers.
const WHOLE = Array.from({ length: 15 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
// Steps of a scale of bytes.
const BINARY = Array.from({ length: 52 }, (_, power) => [1, 2, 5].map((step) => step * 2 ** power)).flat().filter((step, at, all) => all.indexOf(step) === at).sort((a, b) => a - b);

if (typeof module !== 'undefined') Object.assign(module.exports, { stack });
