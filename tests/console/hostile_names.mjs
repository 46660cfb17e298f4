// Names of tools as an upstream that means harm would write them are shown, and do nothing.
import { console_url, endpoints, finish, found, fits, open, pages, signIn } from './browser.mjs';

const page = await open();
page.on('dialog', (dialog) => { found(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
await signIn(page);
for (const path of await pages(page)) {
  await page.goto(console_url + path);
  const ran = await page.evaluate(() => window.ran === true || document.querySelector('main img[src="x"], main script') !== null);
  if (ran) found(`${path}: a tool's description became markup`);
  if ((await page.locator('main').innerText()).includes('\u202e')) found(`${path}: a character that turns the line around is not named`);
  await fits(page, path);
}
await page.goto(`${console_url}/w/${endpoints.tenant}/palette?q=hostile`);
const text = await page.locator('main').innerText();
if (!text.includes('hostile')) found(`the hostile tool is not found: ${text}`);
await finish({});
