// Colours say where code comes from, so that two pictures compare. Hues are those of Okabe and Ito, which people with
// any kind of colour blindness tell apart; the letters on them have a contrast of 4.5 at least (WCAG, AA).

const ORIGINS = [
  { word: 'Java', light: '#8fd9bf', dark: '#0b6b52', fits: (kind) => kind === 'java' },
  { word: 'Java VM', light: '#f4c568', dark: '#7a5200', fits: (kind) => /^libjvm\.so/.test(kind) },
  { word: 'system libraries', light: '#a9d5f2', dark: '#1f5f88', fits: (kind) => /^(libc[.-]|ld-|libstdc|libgcc|libpthread|libm[.-]|libdl)/.test(kind) },
  { word: 'no library known', light: '#c9ced6', dark: '#4d5563', fits: (kind) => kind === '' },
  // Libraries and programs: three shades, so that neighbours differ.
  { word: 'libraries and programs', light: ['#e9a9cb', '#efc0d9', '#e294be'], dark: ['#8a3d68', '#772f58', '#964a75'], fits: () => true },
];

function colourOf(kind, isDark) {
  const shades = ORIGINS.find((origin) => origin.fits(kind))[isDark ? 'dark' : 'light'];
  if (typeof shades === 'string') return shades;
  let hash = 7;
  for (const letter of kind.replace(/\.so.*/, '')) hash = (hash * 31 + letter.codePointAt(0)) % 4093;
  return shades[hash % shades.length];
}

const INK = { light: '#1d2129', dark: '#f2f4f7' };

// Orange for more, blue for less, grey for the same, seen from the state before.
function changeColour(after, before, isDark) {
  const most = Math.max(after, before, 1), change = (after - before) / most;
  const ends = isDark ? { more: [150, 72, 0], less: [0, 88, 150], same: [72, 78, 90] } : { more: [240, 148, 60], less: [110, 180, 232], same: [222, 225, 230] };
  const end = change >= 0 ? ends.more : ends.less, strength = Math.min(1, Math.abs(change));
  return `rgb(${end.map((part, at) => Math.round(ends.same[at] + (part - ends.same[at]) * strength)).join(' ')})`;
}

// Areas of a plot, from the bottom up; the last is for all the rest.
const AREAS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442', '#7a6fbf', '#8c564b', '#4d9221'];
const REST = '#9aa1ad';

if (typeof module !== 'undefined') Object.assign(module.exports, { ORIGINS, INK, colourOf, changeColour });
