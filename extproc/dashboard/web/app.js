// The page: what it shows by the address, what it asks for and how often.

import { Banner } from './banner.js';
import { decisionsView } from './decisions.js';
import { docsView } from './docs.js';
import { attribute, put, text } from './dom.js';
import { experimentsView } from './experiments.js';
import { fleetView } from './fleet.js';
import { duration } from './format.js';
import { Live } from './live.js';
import { Poller } from './poll.js';
import { problems } from './problems.js';
import { Receipt } from './receipt.js';
import { themeToggle } from './theme.js';
import { usageView } from './usage.js';

const EVERY_S = 1;
const LARGE_FLEET = 50; // from here on every other second does
const FIGURES_EVERY = 3;

const live = new Live();
const views = {
  fleet: fleetView(live),
  decisions: decisionsView(live),
  usage: usageView(live),
  experiments: experimentsView(),
  docs: docsView(),
};
const main = document.getElementById('view');
const receipt = new Receipt(() => {
  if (/^#\/decisions\/\d+/.test(location.hash)) history.replaceState(null, '', '#/decisions');
});
let current = views.fleet;
let asked = 0;

const poller = new Poller(ask, EVERY_S, (failure) => {
  banner.show(failure);
  showHealth(failure);
});
const banner = new Banner(document.getElementById('banner'), () => poller.now());

async function ask() {
  if (asked % FIGURES_EVERY === 0) await live.refreshFigures();
  await live.refresh();
  asked += 1;
  poller.everyS = live.replicas.length > LARGE_FLEET ? 2 * EVERY_S : EVERY_S;
  current.update();
  showHealth(null);
}

function showHealth(failure) {
  const health = document.getElementById('health');
  const found = live.at_unix_s ? problems(live) : [];
  const worst = failure ? 'bad' : (found[0]?.level ?? 'ok');
  const urgent = found.filter((each) => each.level !== 'note').length;
  attribute(health, 'class', `health ${live.at_unix_s || failure ? worst : ''}`);
  const said = urgent ? `${urgent} to look at` : 'All well';
  text(health, failure ? 'Not current' : live.at_unix_s ? said : 'Loading');
  const { status } = live;
  text(document.getElementById('about'), status ? `${status.version} · up ${duration(status.uptime_s)}` : '');
}

function route() {
  const [, name = 'fleet', ...rest] = location.hash.split('/');
  const view = views[name] ?? views.fleet;
  if (current !== view || !main.firstChild) {
    current = view;
    put(main, view.element);
    document.title = `${view.title} · KVGate`;
    for (const tab of document.querySelectorAll('#tabs a'))
      attribute(tab, 'aria-current', views[tab.hash.split('/')[1]] === view ? 'page' : null);
    document.querySelector('#tabs [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
    window.scrollTo(0, 0);
  }
  view.update();
  view.show?.(rest.join('/'));
  if (name === 'decisions' && /^\d+$/.test(rest[0] ?? '')) receipt.open(Number(rest[0]));
  else receipt.hide();
}

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault(); // the address is the view's
  main.focus();
});
themeToggle(document.getElementById('theme'));
document.body.append(receipt.element);
window.addEventListener('hashchange', route);
window.addEventListener('resize', () => current.update());
window.kvgate = { live, poller }; // for a look at it in the console
route();
poller.start();
