// What somebody sees who is not signed in, up to the first look at a workspace of their own.
import { console_url, open } from '../browser.mjs';
import { go } from '../camera.mjs';
import { Api } from '../client.mjs';
import { PASSWORD, at } from '../furnish.mjs';

const EMAIL = 'ana@kestrel.example';

/** Signs up, and gives the world in which everything else happens. */
export async function signUp(camera) {
  const page = await open();
  const state = (name, bring) => camera.state(page, `01-outside-${name}`, bring);
  await state('sign-up', () => go(page, `${console_url}/sign-up`));
  await state('sign-up-no-address', async () => {
    await page.fill('#email', `${'a'.repeat(250)}@kestrel.example`);
    await page.press('#email', 'Enter');
    await page.locator('#email[aria-invalid="true"]').waitFor();
  });
  await state('sign-up-look-at-your-mail', async () => {
    await page.fill('#email', EMAIL);
    await page.press('#email', 'Enter');
    await page.locator('.mail a').waitFor();
  });
  await page.locator('.mail a').click();
  await page.fill('#name', 'Ana Duarte');
  await state('finish', () => page.fill('#password', PASSWORD));
  await state('finish-what-is-wrong', async () => {
    await page.fill('#password', 'password123');
    await page.fill('#slug', 'demo');
    await page.press('#slug', 'Enter');
    await page.locator('[aria-invalid="true"]').first().waitFor();
  });
  await page.fill('#password', PASSWORD);
  await page.fill('#slug', 'kestrel');
  await page.press('#slug', 'Enter');
  await page.waitForURL(/\/w\/kestrel/);
  return { slug: 'kestrel', base: at('kestrel'), owner: page, email: EMAIL, api: new Api('kestrel', await firstApiToken(page)) };
}

async function firstApiToken(page) {
  await page.goto(`${at('kestrel')}/tokens/new?kind=api`);
  await page.fill('#title', 'Set-up script');
  await page.getByRole('button', { name: 'Issue token' }).click();
  return (await page.locator('.secret code').innerText()).trim();
}

export async function outside(camera, world) {
  const page = await open();
  const state = (name, bring) => camera.state(page, `01-outside-${name}`, bring);
  await state('sign-in', () => go(page, `${console_url}/sign-in`));
  await state('sign-in-wrong-password', async () => {
    await page.fill('#email', world.email);
    await page.fill('#password', 'not the password');
    await page.press('#password', 'Enter');
    await page.locator('.note.deny').waitFor();
  });
  await state('sign-in-to-go-on', async () => {
    await go(page, `${world.base}/policies`);
    await page.waitForURL(/\/sign-in\?next=/);
  });
  await state('forgotten', () => go(page, `${console_url}/forgot`));
  await state('forgotten-look-at-your-mail', async () => {
    await page.fill('#email', world.email);
    await page.press('#email', 'Enter');
    await page.locator('.mail a').waitFor();
  });
  await state('new-password', async () => {
    await page.locator('.mail a').click();
    await page.locator('#password').waitFor();
  });
  await state('new-password-common', async () => {
    await page.fill('#password', 'password123');
    await page.press('#password', 'Enter');
    await page.locator('#password[aria-invalid="true"]').waitFor();
  });
  for (const link of ['sign-up', 'reset', 'invitations']) {
    await state(`link-not-good-${link}`, async () => {
      await page.goto(`${console_url}/${link}/none`);
      await page.locator('h1', { hasText: 'no longer works' }).waitFor();
    });
  }
  await state('not-found', () => go(page, `${console_url}/nothing`, 404));
}
