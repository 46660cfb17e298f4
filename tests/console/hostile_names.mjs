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
for (const path of new Set([...parts, ...await pages(page)])) {
  const answer = await page.goto(console_url + path);
  if (!answer.ok()) found(`${path}: ${answer.status()}`);
  const ran = await page.evaluate(() => window.ran === true || document.querySelector('main img[src="x"], main script') !== null);
  if (ran) found(`${path}: a tool's description became markup`);
  if ((await page.locator('main').innerText()).includes('\u202e')) found(`${path}: a character that turns the line around is not named`);
  await fits(page, path);
}
await page.goto(`${console_url}/w/${endpoints.tenant}/palette?q=hostile`);
const text = await page.locator('main').innerText();
if (!text.includes('hostile')) found(`the hostile tool is not found: ${text}`);
await finish({});
