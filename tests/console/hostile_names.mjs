// Names of tools as an upstream that means harm would write them are shown, and do nothing.
import { console_url, endpoints, finish, found, fits, open, pages, signIn } from './browser.mjs';

const page = await open();
page.on('dialog', (dialog) => { found(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
await signIn(page);
// Those of the server that means harm, SERVER, by its id: its own, those of its tools, of its versions, and their reviews.
const own = `/w/${endpoints.tenant}/servers/${process.env.SERVER}`;
const parts = new Set([own, `${own}/calls`, `${own}/versions`, `${own}/settings`, `${own}/credential`]);
for (const path of parts) {
  await page.goto(console_url + path);
  const links = await page.$$eval('a[href^="/"]', (links) => links.map((link) => link.getAttribute('href').replace(/[?#].*/, '')));
  for (const link of links) if (link.startsWith(`${own}/`)) parts.add(link);
}
for (const kind of ['tools', 'versions']) {
  if (![...parts].some((path) => path.startsWith(`${own}/${kind}/`))) found(`the ${kind} of the hostile server have no page`);
}
let named = 0;
for (const path of new Set([...parts, ...await pages(page)])) {
  const answer = await page.goto(console_url + path);
  if (!answer.ok()) found(`${path}: ${answer.status()}`);
  const ran = await page.evaluate(() => window.ran === true || document.querySelector('main img[src="x"], main script') !== null);
  if (ran) found(`${path}: a tool's description became markup`);
  if ((await page.locator('main').innerText()).includes('\u202e')) found(`${path}: a character that turns the line around is not named`);
  // It is named where it stands, as a text that is seen.
  const shown = page.locator('main .unseen', { hasText: /^U\+202E$/ }).filter({ visible: true });
  if (await shown.count() > 0 && (await shown.first().locator('..').innerText()).includes('hostile_U+202Edaolnwod')) named += 1;
  await fits(page, path);
  await page.setViewportSize({ width: 320, height: 720 });
  await fits(page, path);
  await page.setViewportSize({ width: 1440, height: 900 });
}
await page.goto(`${console_url}/w/${endpoints.tenant}/palette?q=hostile`);
const text = await page.locator('main').innerText();
if (!text.includes('hostile')) found(`the hostile tool is not found: ${text}`);
if (named < 3) found(`U+202E is shown on ${named} pages only`);
await finish({ named });
