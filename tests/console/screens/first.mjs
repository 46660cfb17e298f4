// A workspace in which nothing has happened yet, from every side, and its way to the first call.
import { console_url } from '../browser.mjs';
import { go } from '../camera.mjs';
import { call } from '../client.mjs';
import { at, wait } from '../furnish.mjs';

const SLUG = 'kestrel-labs';

export async function first(camera, world) {
  const page = world.owner;
  const state = (name, bring, options) => camera.state(page, `02-first-${name}`, bring, options);
  await state('new-workspace', () => go(page, `${console_url}/workspaces/new`));
  await state('new-workspace-taken', async () => {
    await page.fill('#title', 'Kestrel');
    await page.fill('#slug', 'kestrel');
    await page.fill('#name', 'Ana Duarte');
    await page.press('#slug', 'Enter');
    await page.locator('#slug[aria-invalid="true"]').waitFor();
  });
  await state('run', async () => {
    await page.fill('#title', 'Kestrel Labs');
    await page.fill('#slug', SLUG);
    await page.press('#slug', 'Enter');
    await page.getByText('Put the first call through your gateway').waitFor();
  });
  await state('nothing-on-overview', () => go(page, `${at(SLUG)}?guide=off`));
  for (const area of ['servers', 'policies', 'activity', 'live', 'tokens', 'connect', 'people', 'evidence', 'destinations', 'access', 'policies/access']) {
    await state(`nothing-in-${area.replace('/', '-')}`, () => go(page, `${at(SLUG)}/${area}`));
  }
  await wayToTheFirstCall(camera, page);
}

async function wayToTheFirstCall(camera, page) {
  const state = (name, bring, options) => camera.state(page, `02-first-${name}`, bring, options);
  const press = (name) => page.getByRole('button', { name }).first().click();
  await state('packs-counted', async () => {
    await go(page, at(SLUG));
    await press('Try with the sandbox server');
    await page.locator('.note', { hasText: 'Sandbox is added.' }).waitFor();
  });
  await state('policy-live-waiting-for-a-call', async () => {
    await press('Start with Read-only');
    await page.locator('#listener', { hasText: /Read-only is in force\s*Live on (\d+) of \1 node/ }).waitFor();
  });
  await state('run-three-steps-done', () => go(page, at(SLUG)));
  let token;
  await state('token-in-connect', async () => {
    await go(page, `${at(SLUG)}/connect`);
    await press('Issue a token');
    token = (await page.locator('.secret code').innerText()).trim();
  });
  await state('call-arrived', async () => {
    // What was published and issued reaches the nodes within a second or so.
    await wait('the first call', async () => (await call(SLUG, token, 'claude-code', 'sandbox__list_notes')).text.includes('"result"'));
    await page.getByText('Your call arrived').waitFor();
  });
  await state('call-blocked', async () => {
    await press('Try a blocked call');
    await page.locator('#blocked .note.deny').waitFor();
    await page.locator('#first-call', { hasText: 'Denied' }).waitFor();
  });
}
