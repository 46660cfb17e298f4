// Calls in a browser: they land on the live page, wait while it is paused or hidden, and are found, opened and asked for by
// keyboard alone. DENIED is a tool that policy denies.
import { accessible, console_url, endpoints, finish, found, open, signIn, until } from './browser.mjs';

const base = `${console_url}/w/${endpoints.tenant}`;
const meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} };

/** Makes a call through the gateway, and gives its trace. */
async function call(tool) {
  const answer = await fetch(endpoints.tenant_url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${endpoints.token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': tool,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool, arguments: {}, _meta: meta } }),
  });
  await answer.text();
  return answer.headers.get('x-trace-id');
}

/** The record of a call, once it is in the log. */
const recorded = (trace) => until(async () => {
  const answer = await fetch(`${endpoints.api_url}/tenants/${endpoints.tenant}/activity?trace=${trace}`, { headers: { authorization: `Bearer ${endpoints.api_token}` } });
  return (await answer.json()).records.find((record) => record.final)?.id;
});

const page = await open();
await signIn(page);
const row = (id) => page.locator(`#live-rows tr[id="${id}"]`);
const lands = (id, what) => row(id).waitFor({ state: 'attached' }).catch(() => found(`${what}: the call is not on the page`));
const isThere = async (id, what) => { if (await row(id).count() > 0) found(`${what}: the call is on the page`); };

// Live: what is called lands, newest on top.
await page.goto(`${base}/live`);
const earlier = await recorded(await call('notes__list_notes'));
await lands(earlier, 'live');
const second = await recorded(await call('notes__list_notes'));
await lands(second, 'live');
// Others call here too.
const ids = await page.locator('#live-rows tr').evaluateAll((rows) => rows.map((row) => row.id));
if (ids.indexOf(second) > ids.indexOf(earlier)) found('the newer call is below the older one');

// A hidden page fetches nothing, and goes on where it was.
const hide = (hidden) => page.evaluate((hidden) => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}, hidden);
await hide(true);
const unseen = await recorded(await call('notes__list_notes'));
await isThere(unseen, 'hidden');
await hide(false);
await lands(unseen, 'seen again');

// So does a paused one.
await page.keyboard.press('Space');
await page.waitForURL(/pause=yes/);
await page.getByText('Paused').waitFor();
await accessible(page, 'live, paused');
const waiting = await recorded(await call('notes__list_notes'));
await isThere(waiting, 'paused');
await page.keyboard.press('Space');
await page.waitForURL((url) => !url.search.includes('pause'));
await lands(waiting, 'resumed');

// A filter lets its own through only.
await page.getByRole('link', { name: 'Denied', exact: true }).click();
await page.waitForURL(/decision=denied/);
const allowed = await recorded(await call('notes__list_notes'));
await lands(await recorded(await call(process.env.DENIED)), 'denied');
await isThere(allowed, 'denied');

// So does what is typed: here a part of a tool's name.
await page.goto(`${base}/live`);
await page.keyboard.press('/');
await page.keyboard.type('list_note');
await page.keyboard.press('Enter');
await page.waitForURL(/name=list_note/);
const another = await recorded(await call(process.env.DENIED));
await lands(await recorded(await call('notes__list_notes')), 'filtered by a tool');
await isThere(another, 'filtered by a tool');
await accessible(page, 'live, filtered');

// Without a connection it says that it is live no more; with one again it goes on where it was.
await page.goto(`${base}/live`);
const state = (text) => page.locator('[data-live] .status', { hasText: text }).waitFor().catch(() => found(`the live page does not say ${text}`));
await lands(await recorded(await call('notes__list_notes')), 'before the connection is lost');
await state(/^Live$/);
await page.context().setOffline(true);
await state(/^Reconnecting$/);
if (await page.locator('.dot.live').count() > 0) found('the live page is lit without a connection');
const missed = await recorded(await call('notes__list_notes'));
await page.context().setOffline(false);
await lands(missed, 'connected again');
await state(/^Live$/);
if (await page.locator('#toasts .toast').count() > 0) found('a lost stream is said in a toast');

// The page keeps 500 rows.
await page.evaluate(() => {
  const body = document.getElementById('live-rows');
  for (let more = 0; more < 600; more += 1) body.prepend(body.rows[0].cloneNode(true));
});
const kept = await until(async () => await page.locator('#live-rows tr').count() === 500);
if (!kept) found('the live page does not keep 500 rows');

// Activity by keyboard: a question, its answer by person, then the records one by one.
await page.goto(`${base}/activity`);
await page.keyboard.press('/');
await page.keyboard.type('who notes last hour');
await page.keyboard.press('Enter');
await page.waitForURL(/server=notes.*group=person/);
await page.getByRole('columnheader', { name: 'Client' }).waitFor();
await accessible(page, 'activity by person');
await page.keyboard.press('j');
await page.keyboard.press('Enter');
await page.waitForURL(/caller=usr_/);
await page.keyboard.press('j');
await page.keyboard.press('j');
const first = await page.evaluate(() => document.activeElement.closest('tr').id);
await page.keyboard.press('Enter');
const isOpen = (id, what) => page.locator(`#split tr[id="${id}"][aria-selected=true]`).waitFor().catch(() => found(`${what}: ${id} is not open`));
await isOpen(first, 'Enter');
const next = await page.locator(`tr[id="${first}"] + tr`).getAttribute('id');
await page.keyboard.press('j');
await isOpen(next, 'J');
if (!page.url().includes(next)) found('the address does not say what is open');
await accessible(page, 'an open record');
await page.keyboard.press('k');
await isOpen(first, 'K');
await page.keyboard.press('j');
await isOpen(next, 'J again');
await page.keyboard.press('Escape');
await page.locator('#inspector').waitFor({ state: 'detached' });
if (page.url().includes('call=')) found('the address says that a record is open');
const back = await until(() => page.evaluate(() => document.activeElement.closest('tr')?.id));
if (back !== next) found(`after Escape the focus is not at the row that was open, but at ${back}`);

// What a page asks for by itself fails without a word; what a person asks for is said once, however often it fails.
await page.goto(`${base}/connect`);
let failed = 0;
page.on('requestfailed', () => { failed += 1; });
await page.route('**/connect/**', (route) => route.abort());
if (!await until(() => failed >= 3)) found('the page of connecting does not listen');
if (await page.locator('#toasts .toast').count() > 0) found('what a page repeats by itself is said in a toast');
const attempt = async (times) => {
  const before = failed;
  await page.getByRole('button', { name: 'Try a blocked call' }).click();
  await page.locator('#toasts .toast.err').waitFor();
  await until(() => failed > before && page.locator('#try-blocked:enabled').count());
  const shown = await page.locator('#toasts .toast').count();
  if (shown !== 1) found(`${shown} toasts after ${times} attempts`);
};
await attempt(1);
await attempt(2);
await page.unroute('**/connect/**');

// Who is signed out meanwhile is told so, and is not asked for again.
const other = await open();
await signIn(other);
await other.goto(`${base}/live`);
const heard = await recorded(await call('notes__list_notes'));
await other.locator(`#live-rows tr[id="${heard}"]`).waitFor();
await other.context().setOffline(true);
await other.context().clearCookies();
await other.getByText('Reconnecting').waitFor().catch(() => found('the live page does not say that it reconnects'));
await other.context().setOffline(false);
await other.getByText('Stopped: you are signed out').waitFor().catch(() => found('the live page does not say that one is signed out'));

await page.goto(`${base}/activity?decision=limited`);
await page.getByText('No records match').waitFor();
await accessible(page, 'nothing found');
await finish({});
