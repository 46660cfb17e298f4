// The overview, and what was called: searched, opened, live.
import { found } from '../browser.mjs';
import { OVER, go } from '../camera.mjs';
import { round, wait } from '../furnish.mjs';

export async function overview(camera, world) {
  const page = world.owner;
  const state = (name, bring, options) => camera.state(page, `03-overview-${name}`, bring, options);
  const attention = () => page.locator('.attention').waitFor();
  await state('day', async () => { await go(page, `${world.base}?range=24h`); await attention(); });
  await state('hour', async () => { await go(page, world.base); await attention(); });
  await state('month', () => go(page, `${world.base}?range=30d`));
  await state('workspaces', async () => { await go(page, world.base); await page.click('[popovertarget=tenant-menu]'); }, { ...OVER, looks: ['light', 'dark'] });
  await state('account-menu', async () => { await go(page, world.base); await page.click('[popovertarget=user-menu]'); }, { ...OVER, looks: ['light', 'dark'] });
  await state('navigation', async () => {
    await go(page, world.base);
    await page.setViewportSize({ width: 390, height: 844 });
    await page.click('.mobilebar [popovertarget=side]');
    await page.locator('#side:popover-open').waitFor();
  }, { ...OVER, looks: ['phone'] });
}

export async function activity(camera, world) {
  const page = world.owner;
  const state = (name, bring, options) => camera.state(page, `04-activity-${name}`, bring, options);
  const list = (query) => go(page, `${world.base}/activity${query}`);
  await state('calls', () => list(''));
  await state('everything', () => list('?kind=all'));
  await state('changes', () => list('?kind=admin'));
  await state('filtered', async () => {
    await list('?decision=denied&server=postgres-prod&caller=mei');
    if (await page.locator('main a.rowlink').count() === 0) found('the filtered activity shows no call');
  });
  await state('wrong-filter', async () => { await list('?decision=purple&colour=red&server=postgres-prod'); await page.locator('.chip.wrong').first().waitFor(); });
  await state('asked-in-words', async () => {
    await list('');
    await page.fill('main input[name=q]', 'who postgres-prod last hour');
    await page.press('main input[name=q]', 'Enter');
    await page.getByRole('columnheader', { name: 'Client' }).waitFor();
  });
  await state('by-person', () => list('?group=person'));
  await state('nothing-found', async () => { await list('?tool=github__delete_branch&caller=priya'); await page.getByText('No records match').waitFor(); });
  await state('export', async () => { await list(''); await page.click('[popovertarget=export]'); }, OVER);
  const opened = { allowed: 'tool=github__list_issues&decision=allow', denied: 'tool=postgres__execute_sql&decision=deny', 'needs-a-person': 'tool=github__delete_branch', 'tool-error': 'status=tool_error', timeout: 'status=timeout', unreachable: 'tool=sentry__list_errors&status=upstream_unavailable', change: 'kind=admin' };
  for (const [name, query] of Object.entries(opened)) {
    await state(`open-${name}`, async () => {
      await list(`?kind=all&call=${await world.api.recorded(query)}`);
      await page.locator('#inspector dl').first().waitFor();
    }, { whole: ['light', 'dark'] });
  }
  await state('open-nothing', async () => { await list('?call=rec_00000000000000000000000000'); await page.getByText('No such record').waitFor(); }, OVER);
}

export async function live(camera, world) {
  const page = world.owner;
  const state = (name, bring, options) => camera.state(page, `05-live-${name}`, bring, options);
  const says = (text) => page.locator('[data-live] .status', { hasText: text }).waitFor();
  const rows = page.locator('#live-rows tr');
  const hear = async () => {
    await go(page, `${world.base}/live`);
    await says(/^Live$/);
    const before = await rows.first().getAttribute('id');
    await round(world);
    await wait('calls on the live page', async () => await rows.first().getAttribute('id') !== before);
  };
  await state('calls', hear);
  await state('paused', async () => { await page.keyboard.press('Space'); await says(/^Paused$/); });
  await state('denied', async () => { await go(page, `${world.base}/live?decision=denied`); await rows.first().waitFor(); });
  await state('without-connection', async () => {
    await hear();
    await page.context().setOffline(true);
    await says(/^Reconnecting$/);
    await page.locator('#offline:not([hidden])').waitFor();
  }, OVER);
  await page.context().setOffline(false);
}

/** What lies over any page: the palette, the keys, a word on what was just done. */
export async function over(camera, world) {
  const page = world.owner;
  const state = (name, bring) => camera.state(page, `06-over-${name}`, bring, OVER);
  await state('palette', async () => { await go(page, world.base); await page.keyboard.press('Control+k'); await page.locator('#palette[open]').waitFor(); });
  await state('palette-found', async () => {
    await page.keyboard.type('post');
    await page.locator('#palette-found [role=option]').first().waitFor();
  });
  await state('palette-nothing', async () => {
    await page.keyboard.press('Control+a');
    await page.keyboard.type('no such thing');
    await page.locator('#palette-none').waitFor();
  });
  await page.keyboard.press('Escape');
  await state('keys', async () => { await go(page, world.base); await page.keyboard.press('?'); await page.locator('#keys[open]').waitFor(); });
  await state('toast', async () => {
    await go(page, `${world.base}/settings`);
    await page.fill('#title', 'Kestrel');
    await page.getByRole('button', { name: 'Save name', exact: true }).click();
    await page.locator('.toast').waitFor();
  });
  await state('toast-not-sent', async () => {
    await go(page, `${world.base}/tokens/new`);
    await page.fill('#title', 'Typed on a train');
    await page.context().setOffline(true);
    await page.locator('#offline:not([hidden])').waitFor();
    await page.getByRole('button', { name: 'Issue token' }).click();
    await page.locator('.toast.err').waitFor();
  });
  await page.context().setOffline(false);
}
