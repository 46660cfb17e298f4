// Servers: the list, one of each condition, what it changed, its settings; and adding one.
import { OVER, go } from '../camera.mjs';
import { toolOf } from '../furnish.mjs';
import { receiver, upstream } from '../upstream.mjs';

export async function servers(camera, world) {
  const page = world.owner;
  const state = (name, bring, options) => camera.state(page, `07-servers-${name}`, bring, options);
  const at = (key, rest = '') => `${world.base}/servers/${world.servers[key].id}${rest}`;
  await state('list', () => go(page, `${world.base}/servers`));
  await state('searched', () => go(page, `${world.base}/servers?q=issue`));
  await state('searched-nothing', () => go(page, `${world.base}/servers?q=kubernetes`));
  await state('well', () => go(page, at('linear')));
  await state('well-tools-searched-nothing', () => go(page, at('linear', '?q=branch')));
  await state('changed', async () => { await go(page, at('github')); await page.locator('.drift .diff').waitFor(); });
  await state('changed-reject-all', async () => { await page.getByRole('button', { name: 'Reject all…' }).click(); await page.locator('#reject-all[open]').waitFor(); }, OVER);
  await state('changed-review', async () => { await go(page, at('github', `/versions/${world.servers.github.held}`)); await page.locator('.diff').first().waitFor(); });
  await state('changed-review-none-chosen', async () => {
    await page.getByRole('button', { name: 'Accept chosen' }).click();
    await page.locator('.note.deny').waitFor();
  });
  await state('new-first-review', () => go(page, at('notion', `/versions/${world.servers.notion.version}`)));
  await state('new', () => go(page, at('notion')));
  await state('paused', async () => { await go(page, at('stripe')); await page.locator('.note', { hasText: 'Paused.' }).waitFor(); });
  await state('unreachable', async () => { await go(page, at('sentry')); await page.locator('.note.fail').waitFor(); });
  await state('calls', () => go(page, at('postgres-prod', '/calls')));
  await state('calls-none', () => go(page, at('notion', '/calls')));
  await state('versions', () => go(page, at('github', '/versions')));
  await state('tool', async () => go(page, at('postgres-prod', `/tools/${await toolOf(world, 'postgres-prod', 'execute_sql')}`)));
  await state('tool-changed', async () => go(page, at('github', `/tools/${await toolOf(world, 'github', 'list_issues')}`)));
  await state('tool-label-wrong', async () => {
    await go(page, at('linear', `/tools/${await toolOf(world, 'linear', 'get_issue')}`));
    await page.fill('#labels', 'Über alles');
    await page.getByRole('button', { name: 'Save risk and labels' }).click();
    await page.locator('#labels[aria-invalid="true"]').waitFor();
  });
  await credentials(camera, world, at);
  await settings(camera, world, at);
}

async function credentials(camera, world, at) {
  const page = world.owner;
  const state = (name, bring, options) => camera.state(page, `07-servers-credential-${name}`, bring, options);
  await state('none', () => go(page, at('linear', '/credential')));
  await state('set', () => go(page, at('postgres-prod', '/credential')));
  await state('remove', async () => { await page.getByRole('button', { name: 'Remove credential…' }).click(); await page.locator('#remove-credential[open]').waitFor(); }, OVER);
  await state('header-wrong', async () => {
    await go(page, at('linear', '/credential'));
    await page.check('input[name=kind][value=header]');
    await page.fill('#name', 'Content-Length');
    await page.fill('#value', 'of-nobody');
    await page.getByRole('button', { name: 'Set credential' }).click();
    await page.locator('[aria-invalid="true"], .note.deny').first().waitFor();
  });
}

async function settings(camera, world, at) {
  const page = world.owner;
  const state = (name, bring, options) => camera.state(page, `07-servers-${name}`, bring, options);
  const save = () => page.getByRole('button', { name: 'Save settings' }).click();
  await state('menu', async () => { await go(page, at('linear')); await page.click('[popovertarget=server-menu]'); }, OVER);
  await state('pause', async () => { await go(page, at('linear')); await page.click('[popovertarget=server-menu]'); await page.click('[commandfor=pause]'); await page.locator('#pause[open]').waitFor(); }, OVER);
  await state('settings', () => go(page, at('linear', '/settings')));
  await state('settings-prefix-taken', async () => { await page.fill('#alias', 'github'); await save(); await page.locator('#alias[aria-invalid="true"]').waitFor(); });
  await state('settings-timeout-too-long', async () => {
    await go(page, at('linear', '/settings'));
    await page.fill('#timeout', '5000');
    await save();
    await page.locator('#timeout[aria-invalid="true"]').waitFor();
  });
  await state('settings-conflict', async () => {
    await go(page, at('linear', '/settings'));
    const { revision } = await world.api.get(`/servers/${world.servers.linear.id}`);
    await world.api.send('PATCH', `/servers/${world.servers.linear.id}`, { revision, title: 'Linear, payments' });
    await page.fill('#title', 'Linear, Kestrel');
    await save();
    await page.locator('.note.wait, .note.deny').first().waitFor();
  });
  await state('remove-not-its-name', async () => {
    await go(page, at('linear', '/settings'));
    await page.fill('#typed', 'github');
    await page.getByRole('button', { name: 'Remove server' }).click();
    await page.locator('#typed[aria-invalid="true"]').waitFor();
  });
}

export async function adding(camera, world) {
  const page = world.owner;
  const state = (name, bring, options) => camera.state(page, `08-add-server-${name}`, bring, options);
  const look = async (url, said) => {
    await go(page, `${world.base}/servers/new`);
    await page.fill('#url', url);
    await page.press('#url', 'Enter');
    await page.locator('#look .card-head .status, #look .card-foot', { hasText: said }).first().waitFor();
  };
  const offered = { name: 'figma-mcp', version: '1.4.0', tools: world.servers.linear.running.tools };
  const [wanting, giving] = [await upstream({ ...offered, bearer: 'of-figma' }), await upstream(offered)];
  await state('address', () => go(page, `${world.base}/servers/new`));
  await state('wrong-address', async () => { await page.fill('#url', 'ftp://nowhere.example'); await page.press('#url', 'Enter'); await page.locator('#url[aria-invalid="true"]').waitFor(); });
  await state('looking', async () => look((await receiver(() => undefined)).url, 'Looking…'));
  await state('unreachable', () => look(world.servers.sentry.running.url, 'Not usable'));
  await state('no-mcp-server', async () => look((await receiver(() => [200, '<h1>Hello</h1>'])).url, 'Not usable'));
  await state('wants-a-credential', () => look(wanting.url, 'Wants a credential'));
  await state('found', () => look(giving.url, 'Found'));
  await state('key-taken', async () => {
    await page.fill('#title', 'Figma');
    await page.fill('#key', 'github');
    await page.getByRole('button', { name: 'Add and review its tools' }).click();
    await page.locator('#key[aria-invalid="true"]').waitFor();
  });
}
