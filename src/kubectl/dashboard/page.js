'use strict';
// The board of `kubectl storm dashboard`. Text of alerts is text: it gets onto the page by textContent only.

const ROW = 34; // Pixels of a row, as in page.css.
const KEPT = 240; // Counts that are kept of a storm's growth: two hours of one a half minute.
const EVERY = 30_000; // Between two of them, in milliseconds.
const $ = (id) => document.getElementById(id);
const storms = new Map();
const growth = new Map();
let shown = [];
let chosen = null;
let due = false;

function element(name, given = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key === 'class') made.className = value;
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const number = (value) => value.toLocaleString('en');
const plural = (count, one) => `${number(count)} ${one}${count === 1 ? '' : 's'}`;

function age(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
  if (minutes < 2) return `${seconds}s`;
  if (hours < 2) return `${minutes}m`;
  return days < 2 ? `${hours}h` : `${days}d`;
}

const time = (milliseconds) => new Date(milliseconds).toISOString().replace('T', ' ').replace(/\.\d+Z$/, ' UTC');
const endOf = (storm) => storm.closedAt ?? Date.now();

function grew(storm, now) {
  const counts = growth.get(storm.key) ?? [];
  const last = counts.at(-1);
  if (last && now - last[0] < EVERY && counts.length > 1) last[1] = storm.alerts;
  else counts.push([now, storm.alerts]);
  if (counts.length > KEPT) counts.shift();
  growth.set(storm.key, counts);
}

const grownBy = (storm) => {
  const counts = growth.get(storm.key);
  return counts ? storm.alerts - counts[0][1] : 0;
};

function line(counts, width, height) {
  const [first, last] = [counts[0][0], Math.max(counts.at(-1)[0], counts[0][0] + 1)];
  const most = Math.max(1, ...counts.map(([, count]) => count));
  const point = ([at, count]) => `${((at - first) / (last - first) * width).toFixed(1)},${(height - 2 - count / most * (height - 4)).toFixed(1)}`;
  const points = counts.map(point);
  // It is what it was until it changes.
  points.push(`${width},${points.at(-1).split(',')[1]}`);
  return points.join(' ');
}

function graph(kind, counts, width, height) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', kind);
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', `from ${counts[0][1]} to ${plural(counts.at(-1)[1], 'alert')} since this page is open`);
  const drawn = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
  drawn.setAttribute('points', line(counts, width, height));
  svg.append(drawn);
  return svg;
}

// What is to be shown, in order.
function choose() {
  const [words, which, sort] = [$('find').value.trim().toLowerCase(), $('which').value, $('sort').value];
  const has = (storm) => [storm.pattern, storm.namespace, storm.name, ...storm.resources].some((text) => text.toLowerCase().includes(words));
  const fits = (storm) => (which === 'all' || storm.open) && (which !== 'storms' || storm.storm) && (!words || has(storm));
  const by = {
    severity: (a, b) => b.rank - a.rank || b.firstSeen - a.firstSeen,
    age: (a, b) => b.firstSeen - a.firstSeen,
    alerts: (a, b) => b.alerts - a.alerts,
    growth: (a, b) => grownBy(b) - grownBy(a) || b.alerts - a.alerts,
  }[sort];
  shown = [...storms.values()].filter(fits).sort((a, b) => b.open - a.open || by(a, b) || (a.key < b.key ? -1 : 1));
}

const range = () => Number($('range').value) * 3_600_000;

function axis(now) {
  const hours = range() / 3_600_000;
  const step = hours <= 1 ? 10 / 60 : hours <= 6 ? 1 : hours <= 24 ? 4 : 24;
  const label = (at) => step < 24 ? new Date(at).toTimeString().slice(0, 5) : new Date(at).toLocaleDateString('en', { weekday: 'short', day: 'numeric' });
  const marks = [];
  // As many as there is room for.
  const room = Math.max(1, Math.floor($('axis').clientWidth / 60));
  const every = step * 3_600_000 * Math.ceil(hours / step / room);
  for (let at = Math.ceil((now - range()) / every) * every; at < now - every / 3; at += every) {
    const mark = element('span', {}, label(at));
    mark.style.left = `${(1 - (now - at) / range()) * 100}%`;
    marks.push(mark);
  }
  $('axis').replaceChildren(...marks);
}

function row(storm, index, now) {
  const from = Math.max(storm.firstSeen, now - range());
  const place = (at) => (1 - (now - at) / range()) * 100;
  const bar = element('div', { class: `bar${storm.previous ? ' follows' : ''}` });
  // However young, it can be seen.
  bar.style.left = `min(${Math.max(0, place(from))}%, 100% - 5px)`;
  bar.style.width = `${Math.max(0, place(endOf(storm)) - Math.max(0, place(from)))}%`;
  const lane = element('div', { class: 'lane' });
  if (endOf(storm) >= now - range()) lane.append(bar);
  const counts = growth.get(storm.key);
  const numbers = element('div', { class: 'numbers' });
  if (counts && counts.length > 1 && grownBy(storm) !== 0) numbers.append(graph('spark', counts, 56, 20));
  numbers.append(element('span', {}, storm.open ? `${number(storm.firing)} of ${number(storm.alerts)}` : number(storm.alerts)), element('small', {}, age(now - storm.firstSeen)));
  const kind = storm.open ? storm.severity : 'over';
  const made = element('div', {
    class: `row ${kind}`, id: `row-${index}`, role: 'option', 'aria-selected': String(storm.key === chosen),
    'aria-posinset': index + 1, 'aria-setsize': shown.length,
    'aria-label': `${storm.pattern}, ${storm.open ? 'open' : 'closed'}, ${storm.severity}, ${plural(storm.alerts, 'alert')}, ${storm.firing} firing`,
  },
  element('div', { class: 'what' }, element('span', { class: `badge ${kind}` }, storm.open ? storm.severity : 'closed'), element('b', { title: storm.pattern }, storm.pattern)),
  lane, numbers);
  made.style.top = `${index * ROW}px`;
  made.dataset.key = storm.key;
  return made;
}

// Only the rows that can be seen are on the page, however many there are.
function draw() {
  const now = Date.now();
  const box = $('rows');
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 5);
  const last = Math.min(shown.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + 5);
  $('space').style.height = `${shown.length * ROW}px`;
  $('space').replaceChildren(...shown.slice(first, last).map((storm, n) => row(storm, first + n, now)));
  const index = shown.findIndex((storm) => storm.key === chosen);
  if (index >= first && index < last) box.setAttribute('aria-activedescendant', `row-${index}`);
  else box.removeAttribute('aria-activedescendant');
  axis(now);
}

function tell() {
  const all = [...storms.values()];
  const open = all.filter((storm) => storm.open);
  const sum = (of, what) => of.reduce((total, storm) => total + what(storm), 0);
  $('open').textContent = number(open.length);
  $('firing').textContent = number(sum(open, (storm) => storm.firing));
  $('requests').textContent = number(all.length);
  $('alerts').textContent = number(sum(all, (storm) => storm.alerts));
  $('count').textContent = `${number(shown.length)} shown`;
  $('empty').hidden = shown.length > 0;
  document.title = `${number(open.length)} open · Storms`;
}

function chain(storm) {
  const seen = new Set();
  let first = storm;
  while (first.previous && storms.has(first.previous) && !seen.has(first.key)) {
    seen.add(first.key);
    first = storms.get(first.previous);
  }
  const next = new Map([...storms.values()].filter((one) => one.previous).map((one) => [one.previous, one]));
  const links = [];
  for (let one = first; one && !links.includes(one); one = next.get(one.key)) links.push(one);
  return links;
}

function facts(storm) {
  const said = [
    ['state', storm.open ? 'open' : `closed (${storm.closeReason ?? 'no reason'})`],
    ['severity', storm.severity],
    ['alerts', `${number(storm.alerts)} (${number(storm.firing)} firing)`],
    ['resources', number(storm.affected)],
    ['first seen', time(storm.firstSeen)],
    ['last seen', time(storm.lastSeen)],
    ...(storm.closedAt ? [['closed', time(storm.closedAt)]] : []),
    ...(storm.outcome ? [['outcome', storm.outcome]] : []),
    ['policy', storm.policy],
    ['revision', number(storm.revision)],
    ['object', `${storm.namespace}/${storm.name}`],
  ];
  return element('dl', {}, ...said.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]));
}

function detail() {
  const [panel, storm] = [$('detail'), storms.get(chosen)];
  const held = panel.contains(document.activeElement);
  if (!storm || panel.dataset.open !== 'true') {
    panel.hidden = true;
    return;
  }
  const close = element('button', { class: 'close', type: 'button', 'aria-label': 'back to the list' }, '×');
  close.addEventListener('click', back);
  const parts = [close, element('h2', {}, storm.pattern), facts(storm)];
  const counts = growth.get(storm.key);
  if (counts && counts.length > 1) parts.push(element('h3', {}, 'Growth since this page is open'), graph('growth', counts, 380, 64));
  const links = chain(storm);
  if (links.length > 1) {
    const link = (one) => {
      const made = element('button', { type: 'button', 'aria-current': String(one.key === storm.key) },
        `${time(one.firstSeen)} · ${plural(one.alerts, 'alert')} · ${one.open ? 'open' : one.closeReason ?? 'closed'}`);
      made.addEventListener('click', () => select(one.key, true));
      return element('li', {}, made);
    };
    parts.push(element('h3', {}, `Chain of ${links.length}`), element('ol', {}, ...links.map(link)));
  }
  if (storm.resources.length) {
    const more = storm.affected - storm.resources.length;
    const items = storm.resources.map((name) => element('li', {}, name));
    if (more > 0) items.push(element('li', {}, `and ${number(more)} more`));
    parts.push(element('h3', {}, 'What it affects'), element('ul', {}, ...items));
  }
  parts.push(element('h3', {}, 'Ask further'), element('code', {}, `kubectl storm why rr/${storm.name} -n ${storm.namespace}`));
  panel.replaceChildren(...parts);
  panel.hidden = false;
  if (held) close.focus();
}

function select(key, open = false) {
  chosen = key;
  if (open) $('detail').dataset.open = 'true';
  const index = shown.findIndex((storm) => storm.key === key);
  const box = $('rows');
  if (index >= 0) {
    if (index * ROW < box.scrollTop) box.scrollTop = index * ROW;
    else if ((index + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (index + 1) * ROW - box.clientHeight;
  }
  detail();
  draw();
}

function back() {
  $('detail').dataset.open = 'false';
  detail();
  $('rows').focus();
}

function step(event) {
  const index = shown.findIndex((storm) => storm.key === chosen);
  const page = Math.max(1, Math.floor($('rows').clientHeight / ROW) - 1);
  const to = { ArrowDown: index + 1, ArrowUp: index < 0 ? 0 : index - 1, PageDown: index + page, PageUp: index - page, Home: 0, End: shown.length - 1 }[event.key];
  if (to !== undefined && shown.length) select(shown[Math.min(shown.length - 1, Math.max(0, to))].key);
  else if (event.key === 'Enter' && storms.has(chosen)) {
    select(chosen, true);
    $('detail').focus();
  } else return;
  event.preventDefault();
}

// For whoever measures: when something was seen first, when the storms were, and what all of it takes.
function measure() {
  const facts = document.documentElement.dataset;
  if (facts.drawn || !storms.size) return;
  facts.paint = String(Math.round(performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1));
  facts.drawn = String(Math.round(performance.now()));
  facts.heap = String(performance.memory?.usedJSHeapSize ?? -1);
}

function refresh() {
  due = false;
  choose();
  tell();
  draw();
  detail();
  measure();
}

function soon() {
  if (!due) {
    due = true;
    requestAnimationFrame(refresh);
  }
}

function take(changes) {
  const now = Date.now();
  if (changes.all) storms.clear();
  for (const storm of changes.storms) {
    storms.set(storm.key, storm);
    grew(storm, now);
  }
  for (const key of changes.gone) {
    storms.delete(key);
    growth.delete(key);
  }
  soon();
}

function follow() {
  const link = (state, words) => {
    $('link').dataset.state = state;
    $('link').textContent = words;
  };
  const source = new EventSource('changes');
  source.onmessage = (event) => {
    link('live', 'live');
    take(JSON.parse(event.data));
  };
  source.onerror = () => link('lost', 'no answer from kubectl storm dashboard: is it still running?');
}

$('rows').addEventListener('scroll', draw, { passive: true });
$('rows').addEventListener('keydown', step);
$('rows').addEventListener('click', (event) => {
  const hit = event.target.closest('.row');
  if (hit) select(hit.dataset.key, true);
});
for (const control of ['find', 'which', 'sort', 'range']) $(control).addEventListener('input', soon);
$('controls').addEventListener('submit', (event) => event.preventDefault());
addEventListener('resize', draw);
addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && $('detail').dataset.open === 'true') back();
  if (event.key === '/' && document.activeElement.tagName !== 'INPUT') {
    $('find').focus();
    event.preventDefault();
  }
});
// Ages and bars move on although nothing changes.
setInterval(soon, 10_000);
follow();
