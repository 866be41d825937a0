// Numbers and times as the reports say them.

function humanBytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let size = Math.abs(value), unit = 0;
  while (size >= 1023.5 && unit + 1 < units.length) { size /= 1024; unit++; }
  const digits = unit === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  return (value < 0 ? '-' : '') + size.toFixed(digits) + ' ' + units[unit];
}

const signedBytes = (value) => (value > 0 ? '+' : '') + humanBytes(value);
const count = (value) => Math.round(value).toLocaleString('en');
const percent = (part, all) => (100 * part / (all || 1)).toFixed(1) + ' %';

// `+8.70 MiB/min`: in the unit in which the number is easy to read.
function humanRate(perSecond) {
  for (const [seconds, unit] of [[1, 's'], [60, 'min'], [3600, 'h']]) {
    if (Math.abs(perSecond) * seconds >= 1048576) return signedBytes(perSecond * seconds) + '/' + unit;
  }
  return signedBytes(perSecond * 86400) + '/day';
}

function humanAge(seconds) {
  for (const [limit, size, unit] of [[0.1, 0.001, 'ms'], [60, 1, 's'], [3600, 60, 'min'], [86400, 3600, 'h']]) {
    if (seconds < limit) return short(seconds / size) + ' ' + unit;
  }
  return short(seconds / 86400) + ' d';
}

const short = (value) => value < 9.95 ? value.toFixed(1) : value.toFixed(0);

// `2026-11-25 22:01:02`, UTC.
const timeText = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ');

if (typeof module !== 'undefined') Object.assign(module.exports, { humanBytes, humanRate, humanAge, timeText });
