// Chromium as the scripts here use it. CONSOLE is the installed folder, CHROMIUM the program, ENDPOINTS endpoints.json.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { setInterval } from 'node:timers/promises';

const find = createRequire(`${process.env.CONSOLE}/package.json`);
const { chromium } = find('playwright-core');
const axe = readFileSync(find.resolve('axe-core/axe.min.js'), 'utf8');

export const endpoints = JSON.parse(readFileSync(process.env.ENDPOINTS, 'utf8'));
export const console_url = endpoints.console_url.replace(/\/$/, '');

/** What went wrong so far; a script that ends with any fails. */
export const findings = [];
export const found = (text) => { findings.push(text); console.error(text); };

/** Asks until there is an answer, for 30 s at most, and gives it; `undefined` when there was none. */
export async function until(ask) {
  const end = Date.now() + 30_000;
  for await (const _ of setInterval(20)) {
    const answer = await ask();
    if (answer || Date.now() > end) return answer || undefined;
  }
}

/** The next frames are drawn: what the last event began has begun. */
export const drawn = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

/** Fonts are there, and what moves once has come to its end. Asked again and again: an animation that a page takes away with
 *  what it moved never tells that it is over. */
export const still = (page) => page.waitForFunction(() => document.fonts.status === 'loaded' && document.getAnimations().every(
  (one) => one.playState !== 'running' || one.effect.getComputedTiming().endTime === Infinity));

let browser;
export async function open(options = {}) {
  browser ??= await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: 'light', ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  // A message of the browser is a broken rule of the policy, a script that failed, or a file that is not there. That a
  // request was refused, or got nowhere, scripts bring about on purpose.
  // A fade between two pages that the browser leaves out, since it is busy, is none.
  page.on('pageerror', (error) => { if (!/^Transition was (aborted|skipped)/.test(error.message)) found(`${page.url()}: ${error.message}`); });
  page.on('console', (message) => {
    const expected = /status (of )?4\d\d|ERR_INTERNET_DISCONNECTED|ERR_FAILED|Failed to fetch/.test(message.text());
    if (message.type() === 'error' && !expected) found(`${page.url()}: ${message.text().slice(0, 300)}`);
  });
  return page;
}
export const close = () => browser?.close();

/** Ends the script: with what it found out, or with what went wrong. */
export async function finish(result) {
  await close();
  console.log(JSON.stringify({ ...result, findings }));
  process.exit(findings.length === 0 ? 0 : 1);
}

export async function signIn(page, email = endpoints.owner_email, password = endpoints.owner_password) {
  await page.goto(`${console_url}/sign-in`);
  await page.fill('#email', email);
  await page.fill('#password', password);
  await page.press('#password', 'Enter');
  await page.waitForURL(/\/w\//);
}

/** Goes on by Tab to what a selector is of; nobody used a mouse who got there. */
export async function reach(page, selector) {
  for (let turn = 0; turn < 120; turn += 1) {
    await page.keyboard.press('Tab');
    if (await page.evaluate((selector) => document.activeElement.matches(selector), selector)) return;
  }
  found(`${selector} is not reached by Tab on ${page.url()}`);
}
/** The same, and Enter. */
export async function press(page, selector) {
  await reach(page, selector);
  await page.keyboard.press('Enter');
}
/** What stands in a field that has the focus gives way to what is typed. */
export async function retype(page, text) {
  await page.keyboard.press('Control+a');
  await page.keyboard.type(text);
}

/** What axe has against a page: WCAG 2.2 AA and best practice. */
export async function accessible(page, name) {
  const cdp = await page.context().newCDPSession(page);
  // Only for axe itself, which is no part of the page.
  await cdp.send('Page.setBypassCSP', { enabled: true });
  const violations = await page.evaluate(async (source) => {
    if (!window.axe) (0, eval)(source);
    const { violations } = await window.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    return violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
  }, axe);
  await cdp.send('Page.setBypassCSP', { enabled: false });
  await cdp.detach();
  for (const violation of violations) found(`${name}: ${violation}`);
  return violations.length;
}

/** Nothing of a page stands outside the window's width, and nothing of what is done or read there is cut off by what it
 *  stands in: unless one can scroll to it, or the text ends in dots on purpose. */
export async function fits(page, name) {
  const wrong = await page.evaluate(() => {
    const width = window.innerWidth, over = document.documentElement.scrollWidth - width;
    const wrong = over > 0 ? [`${over} px too wide`] : [];
    const clips = new Set(['clip', 'hidden']), scrolls = new Set(['auto', 'scroll']);
    /** How far a box reaches beyond what can be seen of it. */
    const cut = (element, box) => {
      for (let outer = element; outer; outer = outer.parentElement) {
        const style = getComputedStyle(outer);
        const isTop = outer.matches('dialog, [popover]');
        if (outer !== element && scrolls.has(style.overflowX)) return 0;
        if (style.textOverflow === 'ellipsis' && style.overflowX !== 'visible') return 0;
        if (outer !== element && clips.has(style.overflowX)) {
          const edge = outer.getBoundingClientRect();
          const past = Math.max(box.right - edge.right, edge.left - box.left);
          if (past > 1) return past;
        }
        if (isTop) break;
      }
      return Math.max(box.right - width, -box.left);
    };
    const isSeen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !element.closest('.sr, .skip');
    const look = (element, box, what) => {
      if (box.width < 1 || box.height < 1) return;
      const past = cut(element, box);
      if (past > 1) wrong.push(`${what} is cut off by ${Math.round(past)} px`);
    };
    for (const element of document.querySelectorAll('a, button, input, select, textarea, summary')) {
      const label = element.getAttribute('href') ?? element.id ?? '';
      if (isSeen(element)) look(element, element.getBoundingClientRect(), `<${element.localName}> ${label} ${element.textContent.trim().slice(0, 40)}`);
    }
    for (const cell of document.querySelectorAll('td, th')) {
      const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        const text = texts.currentNode, range = document.createRange();
        if (!text.data.trim() || !isSeen(text.parentElement)) continue;
        range.selectNodeContents(text);
        look(text.parentElement, range.getBoundingClientRect(), `“${text.data.trim().slice(0, 40)}” of a table`);
      }
    }
    return wrong;
  });
  for (const one of wrong) found(`${name}: ${one} at ${page.viewportSize().width} px`);
}

/** What kind of page a path is of: ids and numbers stand for each other. */
export const kind = (path) => path.replace(/\/[a-z]+_[0-9a-z]{26}/g, '/:id').replace(/\/\d+(?=\/|$)/g, '/:n').replace(/\?.*/, '');

/** The pages of a workspace as its side bar and its lists lead to them: each once, one of each kind of thing. */
export async function pages(page) {
  const start = new URL(page.url()).pathname.match(/^\/w\/[^/]+/)[0];
  const seen = new Map([[kind(start), start]]);
  const queue = [start, '/account', '/workspaces', '/workspaces/new'];
  for (const path of queue.slice(1)) seen.set(path, path);
  while (queue.length > 0) {
    const response = await page.goto(console_url + queue.shift());
    if (!response.ok()) { found(`${page.url()}: ${response.status()}`); continue; }
    const links = await page.$$eval('a[href^="/"]', (links) => links.map((link) => link.getAttribute('href')));
    for (const link of links.map((link) => link.replace(/#.*/, ''))) {
      if (!link.startsWith(`${start}/`) || seen.has(kind(link))) continue;
      seen.set(kind(link), link);
      queue.push(link);
    }
  }
  return [...seen.values()];
}
