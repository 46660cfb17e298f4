// What proves the log, where it is sent, and the workspace's own settings.
import { found } from '../browser.mjs';
import { go } from '../camera.mjs';
import { wait } from '../furnish.mjs';

export async function evidence(camera, world) {
  const page = world.owner;
  const state = (name, bring) => camera.state(page, `14-evidence-${name}`, bring);
  await state('checkpoint', () => go(page, `${world.base}/evidence`));
  await state('verified', async () => {
    await page.getByRole('button', { name: 'Verify now' }).click();
    await page.getByRole('columnheader', { name: 'Result' }).waitFor();
    if (await page.locator('.note.deny').count() > 0) found('the log of the pictures does not verify');
  });
}

export async function destinations(camera, world) {
  const page = world.owner;
  const state = (name, bring) => camera.state(page, `15-destinations-${name}`, bring);
  const { lake, siem, archive } = world.destinations;
  const at = ({ id }) => `${world.base}/destinations/${id}`;
  const button = (name) => page.getByRole('button', { name, exact: true });
  await wait('the healthy receiver has all', async () => (await world.api.get(`/audit/destinations/${lake.id}`)).progress.lag_records === 0);
  await state('list', () => go(page, `${world.base}/destinations`));
  await state('healthy', () => go(page, at(lake)));
  await state('healthy-test', async () => { await button('Send a test').click(); await page.locator('.note').first().waitFor(); });
  await state('failing', async () => { await go(page, at(siem)); await page.locator('#letters').waitFor(); });
  await state('failing-test', async () => { await button('Send a test').click(); await page.locator('.note.deny', { hasText: /test/i }).waitFor(); });
  await state('not-started', () => go(page, at(archive)));
  await state('paused', async () => { await go(page, at(siem)); await button('Pause').click(); await button('Start').waitFor(); });
  await state('sending-again', async () => {
    await go(page, at(siem));
    await button('Send again').click();
    await button('End it').waitFor();
  });
  await state('remove-not-its-name', async () => {
    await go(page, at(archive));
    await page.fill('#typed', 'archive');
    await button('Remove destination').click();
    await page.locator('#typed[aria-invalid="true"]').waitFor();
  });
  await state('new', () => go(page, `${world.base}/destinations/new`));
  for (const kind of ['webhook', 'splunk_hec', 's3', 'syslog']) {
    await state(`new-${kind.replace('_', '-')}`, () => go(page, `${world.base}/destinations/new?kind=${kind}`));
  }
  await state('new-what-is-wrong', async () => {
    await go(page, `${world.base}/destinations/new?kind=webhook`);
    await page.fill('#name', 'Somewhere');
    await page.fill('#url', 'ftp://nowhere.example');
    await page.fill('#secret', 'whsec_short');
    await button('Add webhook').click();
    await page.locator('[aria-invalid="true"], .note.deny').first().waitFor();
  });
  await state('added-webhook', async () => {
    await go(page, `${world.base}/destinations/new?kind=webhook`);
    await page.fill('#name', 'Data platform');
    await page.fill('#url', `${lake.at.url}/data-platform`);
    await page.fill('#secret', `whsec_${btoa('of-a-receiver-that-ends-soon-012')}`);
    await button('Add webhook').click();
    await button('Send a test').waitFor();
  });
}

export async function settings(camera, world) {
  const page = world.owner;
  const state = (name, bring) => camera.state(page, `18-settings-${name}`, bring);
  const open = () => go(page, `${world.base}/settings`);
  await state('all', open);
  await state('wrong', async () => { await page.fill('#blind_max_s', '90'); await page.getByRole('button', { name: 'Save limit' }).click(); await page.locator('#blind_max_s[aria-invalid="true"]').waitFor(); });
  await state('conflict', async () => {
    await open();
    await world.api.send('PATCH', '', { title: 'Kestrel Payments' });
    await page.fill('#title', 'Kestrel Software');
    await page.getByRole('button', { name: 'Save name', exact: true }).click();
    await page.locator('.note.wait[role=alert]').waitFor();
  });
  await world.api.send('PATCH', '', { title: 'Kestrel' });
}
