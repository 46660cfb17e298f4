// The console by keyboard alone: the palette, the letters, the list of them and turning them off, a form, a dialog.
// What one does with a workspace is in by_keyboard.mjs; a row of Activity is opened by keyboard in activity.mjs.
import { accessible, console_url, drawn, endpoints, finish, found, open, press, reach, retype, signIn } from './browser.mjs';

const page = await open();
await signIn(page);
const at = async (path, what) => page.waitForURL(`${console_url}/w/${endpoints.tenant}${path}`).catch(() => found(`${what}: at ${page.url()}`));

// The palette finds a page, a thing that is to be done, and what the server knows by name.
await page.keyboard.press('Control+k');
await accessible(page, 'the palette');
await page.keyboard.type('people');
await page.keyboard.press('Enter');
await at('/people', 'the palette');
await page.keyboard.press('Control+k');
await page.keyboard.type('owner');
await page.locator('#palette-found [role=option]').first().filter({ hasText: /owner/i }).waitFor();
await accessible(page, 'the palette with what was found');
await page.keyboard.press('Enter');
await page.waitForURL(/\/people\/mem_/);
await page.keyboard.press('Control+k');
await page.keyboard.type('no such thing');
await page.locator('#palette-none').waitFor();
await page.keyboard.press('Escape');
await page.waitForFunction(() => document.activeElement === document.body);

// Letters.
await page.keyboard.press('g');
await page.keyboard.press('c');
await at('/connect', 'g c');
await page.keyboard.press('?');
await page.locator('#keys[open]').waitFor();
await accessible(page, 'the list of keys');
await page.keyboard.press('Escape');
await page.keyboard.press('n');
await page.keyboard.press('u');
await at('/people/invite', 'n u');
await reach(page, '#email');
await page.keyboard.type('g s ?');
if (await page.inputValue('#email') !== 'g s ?' || await page.locator('#keys[open]').count() > 0) found('letters do something in a field');
await reach(page, 'button');
await page.keyboard.press('?');
await page.locator('#keys[open]').waitFor();
await reach(page, '[data-keys-toggle]');
await page.keyboard.press('Space');
await page.keyboard.press('Escape');
let left = false;
page.on('request', (request) => { left ||= request.isNavigationRequest(); });
await page.keyboard.press('g');
await page.keyboard.press('c');
await drawn(page).catch(() => { left = true; });
if (left || !page.url().endsWith('/people/invite')) found('letters do something though they are off');

// A form is filled in and sent, and what is wrong in it has the focus.
await page.goto(`${console_url}/w/${endpoints.tenant}/people/invite`);
await reach(page, '#email');
await page.keyboard.type('nobody');
await page.keyboard.press('Enter');
if (await page.evaluate(() => document.activeElement.id) !== 'email') found('the address that is wrong has not the focus');
const email = `kim-${crypto.randomUUID()}@keys.example`;
await retype(page, email);
await page.keyboard.press('Tab');
await page.keyboard.press('ArrowUp');
await press(page, 'form[action$="/people/invite"] button');
await page.locator('.mail').waitFor();
if (!(await page.locator('main').innerText()).includes(email)) found('who was invited by keyboard is not there');

// A dialog: it opens, has the focus in it, and gives it back to what opened it.
const added = await fetch(`${endpoints.api_url}/tenants/${endpoints.tenant}/members`, {
  method: 'POST', headers: { authorization: `Bearer ${endpoints.api_token}`, 'content-type': 'application/json' },
  body: JSON.stringify({ name: 'Kim', email, role: 'member', groups: [] }),
});
await page.goto(`${console_url}/w/${endpoints.tenant}/people/${(await added.json()).id}`);
await press(page, '[commandfor=remove]');
await page.locator('#remove[open]').waitFor();
await accessible(page, 'an open dialog');
if (!await page.evaluate(() => document.querySelector('#remove').contains(document.activeElement))) found('the focus is not in the dialog');
await page.keyboard.press('Escape');
await page.locator('#remove:not([open])').waitFor({ state: 'attached' });
if (!await page.evaluate(() => document.activeElement.matches('[commandfor=remove]'))) found('the focus does not come back from the dialog');

// Every control of a page can be reached, in order, and what has the focus is seen.
await page.goto(`${console_url}/w/${endpoints.tenant}/connect`);
await page.keyboard.press('Tab');
if (await page.evaluate(() => document.activeElement.className) !== 'skip') found('the first stop is not the way to the content');
const stops = new Set();
for (let turn = 0; turn < 80; turn += 1) {
  await page.keyboard.press('Tab');
  stops.add(await page.evaluate(() => {
    const element = document.activeElement;
    const outline = getComputedStyle(element).outlineStyle;
    return `${element.textContent.trim().slice(0, 30)}|${element === document.body || outline !== 'none' ? '' : 'no ring'}`;
  }));
}
for (const wanted of ['Issue a token', 'Try a blocked call', 'Codex']) {
  if (![...stops].some((stop) => stop.startsWith(wanted))) found(`${wanted} is not reached by Tab`);
}
for (const stop of stops) if (stop.endsWith('no ring')) found(`the focus is not seen on: ${stop}`);

// The theme is the one chosen, and the system's again.
await press(page, '[popovertarget=user-menu]');
await press(page, '[data-theme-pick=dark]');
await page.reload();
if (await page.evaluate(() => document.documentElement.dataset.theme) !== 'dark') found('a theme is not kept');
await press(page, '[popovertarget=user-menu]');
await press(page, '[data-theme-pick=""]');
if (await page.evaluate(() => document.documentElement.dataset.theme ?? '') !== '') found('the system’s theme does not come back');

// Without a connection it is said.
await page.context().setOffline(true);
await page.locator('#offline:not([hidden])').waitFor();
await page.context().setOffline(false);
await page.locator('#offline[hidden]').waitFor({ state: 'attached' });
await finish({ stops: stops.size });
