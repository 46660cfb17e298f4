// Policies: written, compared, published; and who may call what by them.
import { found, until } from '../browser.mjs';
import { OVER, go } from '../camera.mjs';

const PRODUCTION = 'Production is read-only', FRIDAYS = 'No merges on Friday afternoons';

/** Types at the end of the editor, as a person does; what it completes by itself is out of the way after `//`. */
async function type(page, text) {
  await page.locator('.code-host .cm-content').click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type(text);
}

export async function policies(camera, world) {
  const page = world.owner;
  const state = (name, bring, options) => camera.state(page, `09-policies-${name}`, bring, options);
  const at = (name, rest = '') => `${world.base}/policies/${world.policies[name]}${rest}`;
  await state('list', async () => { await go(page, `${world.base}/policies`); await page.locator('#live', { hasText: /live on/ }).waitFor(); });
  await state('new', () => go(page, `${world.base}/policies/new`));
  await state('new-from-a-pack', async () => { await go(page, `${world.base}/policies/new?pack=ask_before_writes`); await page.locator('.code-host').waitFor(); });
  await state('new-completion', async () => {
    await type(page, '\nforbid (principal, action == Sluice::Action::"call:post');
    await page.locator('.code-host .cm-tooltip-autocomplete li').first().waitFor();
  }, OVER);
  await state('new-error-marked', async () => {
    await go(page, `${world.base}/policies/new?pack=ask_before_writes`);
    await type(page, '\nforbid (principal, action == Sluice::Action::"call:postgres-prod/explain_query", resource)');
    await type(page, '\nwhen { context.arguments.nothing_like_it == 1 };');
    await page.locator('#checked [data-severity="error"]').first().waitFor();
    const isMarked = await until(() => page.evaluate(() => document.querySelector('.code-host').shadowRoot.querySelector('.cm-lintRange-error')));
    if (!isMarked) found('the editor marks no error');
  });
  await state('new-not-saved', async () => {
    await page.fill('#name', 'No plans of queries');
    await page.getByRole('button', { name: 'Save draft' }).click();
    await page.locator('.note.deny').waitFor();
  });
  await state('name-taken', async () => {
    await go(page, `${world.base}/policies/new?pack=read_only`);
    await page.fill('#name', PRODUCTION);
    await page.getByRole('button', { name: 'Save draft' }).click();
    await page.locator('#name[aria-invalid="true"]').waitFor();
  });
  await state('open-with-draft', async () => { await go(page, at(PRODUCTION)); await page.locator('.code-host').waitFor(); });
  await state('switch-off', async () => { await page.getByRole('button', { name: 'Switch off…' }).click(); await page.locator('#switch-off[open]').waitFor(); }, OVER);
  await state('remove', async () => { await go(page, at(FRIDAYS)); await page.getByRole('button', { name: 'Remove…' }).click(); await page.locator('#remove[open]').waitFor(); }, OVER);
  await state('draft-to-publish', () => go(page, at(PRODUCTION, '/versions/3')));
  await state('in-force', () => go(page, at(PRODUCTION, '/versions/2')));
  await state('roll-back', () => go(page, at(PRODUCTION, '/versions/1')));
  await state('compared', async () => { await go(page, at(PRODUCTION, '/versions/3?against=1')); await page.locator('.diff tr.add').first().waitFor(); });
  await state('published', async () => {
    await go(page, at(PRODUCTION, '/versions/3'));
    await page.getByRole('button', { name: 'Publish v3' }).click();
    await page.locator('#live', { hasText: /live on (\d+) of \1/ }).waitFor();
  });
  await conflicts(camera, world, at);
  await access(camera, world);
}

async function conflicts(camera, world, at) {
  const page = world.owner;
  const state = (name, bring) => camera.state(page, `09-policies-${name}`, bring);
  const { mei } = world.people;
  await state('draft-conflict', async () => {
    for (const tab of [mei.page, page]) await go(tab, at(FRIDAYS));
    for (const [tab, words] of [[mei.page, '// Also on the day before a holiday.'], [page, '// From 14:00 on, in UTC.']]) {
      await type(tab, `\n${words}`);
      await tab.getByRole('button', { name: 'Save draft' }).click();
      await tab.locator('.note, .toast').first().waitFor();
    }
    await page.locator('#compare .diff tr.add').first().waitFor();
  });
  await state('publish-conflict', async () => {
    await go(page, at(FRIDAYS, '/versions/1'));
    const policy = await world.api.get(`/policies/${world.policies[FRIDAYS]}`);
    await world.api.post(`/policies/${policy.id}/activate`, { revision: policy.revision, version: 2 });
    await page.getByRole('button', { name: /Publish v1|Roll back to v1/ }).click();
    await page.locator('.note.wait[role=alert]').waitFor();
  });
}

async function access(camera, world) {
  const page = world.owner;
  const state = (name, bring) => camera.state(page, `10-access-${name}`, bring);
  await state('person', () => go(page, `${world.base}/policies/access?member=${world.people.jonas.id}`));
  await state('who-calls-nothing', () => go(page, `${world.base}/policies/access?member=${world.people.priya.id}`));
  await state('token', () => go(page, `${world.base}/policies/access?token=${world.tokens.narrow.id}`));
  await state('searched', async () => {
    await go(page, `${world.base}/policies/access`);
    await page.fill('main input[name=q]', 'issue');
    await page.waitForURL(/q=issue/);
  });
  await state('nothing-found', async () => {
    await page.fill('main input[name=q]', 'kubernetes');
    await page.getByText('No tool matches').waitFor();
  });
  await state('own', () => go(page, `${world.base}/access`));
}
