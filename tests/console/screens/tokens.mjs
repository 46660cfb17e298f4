// Tokens: the lists, issuing, what is shown once, one of each state; and connecting each client.
import { go } from '../camera.mjs';

export async function tokens(camera, world) {
  const page = world.owner;
  const state = (name, bring) => camera.state(page, `11-tokens-${name}`, bring);
  const issue = () => page.getByRole('button', { name: 'Issue token' }).click();
  const at = (name, kind = 'gateway') => `${world.base}/tokens/${kind}/${world.tokens[name].id}`;
  await state('list', () => go(page, `${world.base}/tokens`));
  await state('ended', () => go(page, `${world.base}/tokens?show=ended`));
  await state('issue', () => go(page, `${world.base}/tokens/new`));
  await state('issue-what-is-wrong', async () => {
    await page.fill('#title', 'Release notes');
    await page.check('input[name=servers][value=some]');
    await issue();
    await page.locator('.error').first().waitFor();
  });
  await state('issued', async () => {
    await go(page, `${world.base}/tokens/new`);
    await page.fill('#title', 'Codex');
    await page.check('input[name=risk][value=read]');
    await issue();
    await page.locator('.secret code').waitFor();
  });
  await state('issued-and-left', () => go(page, page.url()));
  await state('api-issue', () => go(page, `${world.base}/tokens/new?kind=api`));
  await state('api-issued', async () => { await page.fill('#title', 'Backup'); await issue(); await page.locator('.secret code').waitFor(); });
  await state('in-use', () => go(page, at('jonas')));
  await state('narrow', () => go(page, at('narrow')));
  await state('never-used', () => go(page, at('idle')));
  await state('just-revoked', async () => { await page.getByRole('button', { name: 'Revoke token' }).click(); await page.locator('.toast').waitFor(); });
  await state('revoked', () => go(page, at('gone')));
  await state('api', () => go(page, at('api', 'api')));
}

export async function connect(camera, world) {
  const page = world.owner;
  const state = (name, bring) => camera.state(page, `12-connect-${name}`, bring);
  for (const client of ['claude-code', 'codex', 'cursor', 'vscode', 'other']) {
    await state(client, () => go(page, `${world.base}/connect?client=${client}`));
  }
  await state('cursor-with-token', async () => {
    await go(page, `${world.base}/connect?client=cursor`);
    await page.getByRole('button', { name: 'Issue a token' }).click();
    await page.locator('.secret code').waitFor();
  });
  await state('blocked-call', async () => {
    await page.getByRole('button', { name: 'Try a blocked call' }).click();
    await page.locator('#blocked .note').waitFor();
  });
}
