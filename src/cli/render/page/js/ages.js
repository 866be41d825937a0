// How the objects of a place live and die: who is alive by age, who was freed by lifetime.

// Neighbouring bins as one until there are at most so many: [seconds, value, objects].
function coarser(bins, most) {
  let all = bins;
  while (all.length > most) {
    all = all.reduce((pairs, bin, at) => {
      if (at % 2 === 0) pairs.push([...bin]);
      else bin.slice(1).forEach((value, part) => { pairs[pairs.length - 1][part + 1] += value; });
      return pairs;
    }, []);
  }
  return all;
}

function agesPanel(page) {
  const { model, view, find, element } = page;
  const MOST = 24;
  const aged = model.places.map((place, index) => ({ place, index })).filter(({ place }) => place.ages);
  find('place').append(...aged.map(({ place, index }) => new Option(place.label.slice(0, 120), String(index))));
  find('place').addEventListener('change', (event) => page.change({ place: Number(event.target.value) }));

  function bars(title, unit, bins, text) {
    const most = Math.max(...bins.map((bin) => bin[1]), 1);
    const rows = bins.map((bin) => {
      const bar = element('span');
      bar.style.width = 100 * bin[1] / most + '%';
      return element('tr', {}, element('td', {}, humanAge(bin[0])), element('td', {}, element('span', { class: 'track', 'aria-hidden': 'true' }, bar)), element('td', {}, text(bin)));
    });
    const head = element('tr', {}, element('th', { scope: 'col' }, unit), element('th'), element('th', { scope: 'col' }, title));
    return element('div', {}, element('h2', {}, title), element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows)));
  }

  function draw() {
    if (!aged.length) return find('lives').replaceChildren(element('p', {}, 'The last dump tells no ages: heaptap writes them, a stock jemalloc does not.'));
    const { place, index } = aged.find(({ index }) => index === view.place) ?? aged[0];
    find('place').value = String(index);
    const live = bars('alive now', 'at least so old', coarser(place.ages.live, MOST), (bin) => `${humanBytes(bin[1])} in ${count(bin[2])}`);
    const freed = place.ages.freed.length
      ? bars('freed samples', 'lived at least', coarser(place.ages.freed, MOST), (bin) => count(bin[1]))
      : element('p', {}, 'No sample of this place was ever freed.');
    const verdict = place.verdict ? `${place.verdict}: ${Object.fromEntries(model.about.verdicts)[place.verdict] ?? ''}` : '';
    find('lives').replaceChildren(element('p', {}, place.label), element('p', {}, verdict), element('p', {}, place.ages.text), element('div', { class: 'columns' }, live, freed));
  }
  return { draw, key: () => false };
}

if (typeof module !== 'undefined') Object.assign(module.exports, { coarser });
