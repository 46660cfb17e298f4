// The whole work by keyboard alone: sign in; add a server by its address and accept its tools; write a policy, publish it,
// publish another version and roll back; issue, copy and revoke a token; export. Nothing here is clicked, filled or given
// the focus: keys go to whatever has it, as a person's do.
import { readFile } from 'node:fs/promises';
import { console_url, endpoints, finish, found, open, press, reach, retype, until } from './browser.mjs';
import { Api, call, gateway } from './client.mjs';
import { endAll, upstream } from './upstream.mjs';

const page = await open({ permissions: ['clipboard-read', 'clipboard-write'] });
const api = new Api(endpoints.tenant, endpoints.api_token);
const key = `keys${Date.now().toString(36)}`;
const type = (text) => page.keyboard.type(text);
const at = (path, what) => page.waitForURL((url) => path.test(url.pathname)).catch(() => found(`${what}: at ${page.url()}`));
/** Two letters that lead somewhere from any page. */
async function letters([first, second], path) {
  await type(first);
  await type(second);
  await at(path, `${first} ${second}`);
}

// Signing in. The address of the console is typed, as it is anywhere.
await page.goto(`${console_url}/sign-in`);
if (!await page.evaluate(() => document.activeElement.id === 'email')) await reach(page, '#email');
await type(endpoints.owner_email);
await reach(page, '#password');
await type(endpoints.owner_password);
await page.keyboard.press('Enter');
await at(/^\/w\//, 'signing in');

// A server by its address: looked at step by step, added, and its tools accepted.
const tool = (name, hints) => ({ name, description: `${name}, by keyboard.`, inputSchema: { type: 'object', properties: {} }, annotations: hints });
const server = await upstream({ name: 'keys', version: '1', tools: [tool('look', { readOnlyHint: true }), tool('wipe', { destructiveHint: true })] });
await letters('ns', /\/servers\/new$/);
await reach(page, '#url');
await type(server.url);
await page.keyboard.press('Enter');
await page.locator('#title').waitFor();
await reach(page, '#title');
await retype(page, 'By keyboard');
await reach(page, '#key');
await retype(page, key);
await press(page, 'form[action$="/servers/add"] button.primary');
await at(/\/versions\/sver_/, 'adding a server');
await press(page, 'form[action$="/accept"] button.primary');
await at(/\/servers\/srv_[^/]+$/, 'accepting');
const { servers } = await api.get('/servers');
const added = servers.find((one) => one.key === key);
const accepted = added ? (await api.get(`/servers/${added.id}/tools`)).tools.map((one) => one.name) : [];
for (const name of ['look', 'wipe']) if (!accepted.includes(name)) found(`${name} is not accepted by keyboard: ${accepted}`);

// A policy: written, published, written again, published, and the first version again. It is about nothing but that server.
const isLive = () => page.locator('#live', { hasText: /\b(\d+) of \1\b/ }).waitFor().catch(() => found(`not live by keyboard: ${page.url()}`));
const inForce = async (version) => until(async () => (await api.get('/policies')).policies.find((one) => one.name === key)?.active_version === version);
const rule = (name) => `@id("${key}") forbid (principal, action == Sluice::Action::"call:${key}/${name}", resource); //`;
await letters('np', /\/policies\/new$/);
await reach(page, '#name');
await type(key);
await reach(page, '.code-host');
await type(rule('wipe'));
// The bar above comes before the form: one goes back to it.
await press(page, '[form=policy][value=review]');
await at(/\/versions\/1$/, 'writing a policy');
await press(page, 'form[action$="/versions/1/publish"] button');
await isLive();
if (!await inForce(1)) found('version 1 is not in force by keyboard');
const { pathname } = new URL(page.url());
const policy = pathname.match(/pol_[0-9a-z]+/)[0];
if (!(await api.get(`/policies/${policy}/versions/1`)).text.includes(`call:${key}/wipe`)) found('what was typed is not the policy');
await press(page, `.crumbs a[href$="/${policy}"]`);
await at(/\/policies\/pol_[^/]+$/, 'back to the policy');
await reach(page, '.code-host');
await retype(page, rule('look'));
await press(page, '[form=policy][value=review]');
await at(/\/versions\/2$/, 'writing version 2');
await press(page, 'form[action$="/versions/2/publish"] button');
await isLive();
if (!await inForce(2)) found('version 2 is not in force by keyboard');
await press(page, `.crumbs a[href$="/${policy}"]`);
await at(/\/policies\/pol_[^/]+$/, 'back to the policy again');
await press(page, 'a[href$="/versions/1"]');
await at(/\/versions\/1$/, 'opening version 1');
await press(page, 'form[action$="/versions/1/publish"] button');
await isLive();
if (!await inForce(1)) found('it is not rolled back by keyboard');

// A token: issued, copied, good, revoked, worth nothing.
await letters('nt', /\/tokens\/new$/);
await reach(page, '#title');
await type(key);
await press(page, 'form[action$="/tokens/new"] button.primary');
await at(/\/issued$/, 'issuing a token');
const shown = (await page.locator('.secret code').innerText()).trim();
await press(page, '.secret [data-copy]');
await page.locator('.secret [data-copy][data-done]').waitFor();
const copied = await page.evaluate(() => navigator.clipboard.readText());
if (copied !== shown || !/^slc_/.test(copied)) found('what was copied by keyboard is not the token');
const list = { method: 'POST', headers: { authorization: `Bearer ${copied}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }, body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' };
const isGood = (wanted) => until(async () => ((await fetch(gateway(endpoints.tenant), list)).status !== 401) === wanted);
if (!await isGood(true)) found('the copied token is not good');
const issued = page.url().match(/tok_[0-9a-z]+/)[0];
await letters('gt', /\/tokens$/);
await press(page, `a[href$="/tokens/gateway/${issued}"]`);
await at(/\/tokens\/gateway\/tok_[^/]+$/, 'opening a token');
await press(page, 'form[action*="/tokens/gateway/"] button');
await page.locator('#toasts .toast').waitFor();
if (!await isGood(false)) found('the token is not revoked by keyboard');

// Exported: a file comes, with what the page shows, a call of the notes among it.
await call(endpoints.tenant, endpoints.token, key, 'notes__list_notes');
await api.recorded('tool=notes__list_notes');
await letters('ga', /\/activity$/);
await press(page, '[popovertarget=export]');
const coming = page.waitForEvent('download');
await press(page, '#export button[value=csv]');
const file = await coming;
const lines = (await readFile(await file.path(), 'utf8')).trim().split(/\r?\n/);
if (!/\.csv$/.test(file.suggestedFilename()) || !/decision/.test(lines[0])) found(`${file.suggestedFilename()} begins ${lines[0]}`);
await api.send('DELETE', `/policies/${policy}`);
await endAll();
await finish({ exported: lines.length - 1 });
