// The console without JavaScript: sign in, go around, read, search, issue a token, see it once.
import { console_url, endpoints, finish, found, open, signIn, until } from './browser.mjs';
import { Api, call } from './client.mjs';

const page = await open({ javaScriptEnabled: false });
await signIn(page);
const workspace = `${console_url}/w/${endpoints.tenant}`;
for (const name of ['Servers', 'Policies', 'Tokens', 'People', 'Settings']) {
  const link = page.locator('.nav a', { hasText: name });
  const response = await page.goto(console_url + await link.getAttribute('href'));
  if (!response.ok()) found(`${name}: ${response.status()}`);
}
// Activity is filtered by its form.
await page.goto(`${workspace}/activity`);
await page.fill('main input[name=q]', 'tool:no_such_tool');
await page.press('main input[name=q]', 'Enter');
if (!new URL(page.url()).search.includes('no_such_tool')) found(`the filter of Activity is not in the address: ${page.url()}`);
if (await page.locator('main a.rowlink').count() > 0) found('Activity shows calls that were not asked for');
// A tool that was called: its calls are found, and the record that is opened is there.
const api = new Api(endpoints.tenant, endpoints.api_token);
await call(endpoints.tenant, endpoints.token, 'no-script', 'notes__list_notes');
await api.recorded('tool=notes__list_notes');
await page.goto(`${workspace}/activity`);
await page.fill('main input[name=q]', 'tool:notes__list_notes');
await page.press('main input[name=q]', 'Enter');
await page.waitForURL(/notes__list_notes/);
const rows = page.locator('main tbody tr');
const tools = await rows.allInnerTexts();
if (tools.length === 0 || tools.some((row) => !row.includes('list_notes'))) found(`Activity is not filtered to the tool: ${tools}`);
const record = await rows.first().getAttribute('id');
await rows.first().locator('a.rowlink').click();
await page.waitForURL((url) => url.search.includes(record));
await page.locator('#inspector dl').first().waitFor();
if (!(await page.locator('#inspector').innerText()).includes('list_notes')) found('the record that was opened is not of the tool');
// Search has a link of its own where no script opens the palette.
await page.goto(workspace);
await page.getByRole('link', { name: 'Search without a script' }).click();
await page.fill('main input[name=q]', 'notes');
await page.press('main input[name=q]', 'Enter');
if (await page.locator('main .list a').count() === 0) found('searching finds nothing');
await page.goto(`${workspace}/connect?client=codex`);
await page.getByRole('button', { name: 'Issue a token' }).click();
const token = (await page.locator('.secret code').innerText()).trim();
if (!/^slc_/.test(token)) found(`no token: ${token}`);
await page.goto(`${workspace}/connect?client=codex`);
if ((await page.content()).includes(token)) found('the token is shown twice');
await page.getByRole('button', { name: 'Try a blocked call' }).click();
if (await page.locator('#blocked .note').count() === 0) found('nothing is said of a blocked call');
// The newest token is the one just issued: it is revoked, and is worth nothing.
const list = { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }, body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' };
const answers = async (wanted) => until(async () => (await fetch(endpoints.tenant_url, list)).status !== 401 === wanted);
if (!await answers(true)) found('an issued token is not good');
await page.goto(`${workspace}/tokens`);
await page.locator('main a[href*="/tokens/gateway/"]', { hasText: 'Codex' }).first().click();
await page.getByRole('button', { name: 'Revoke token' }).click();
await page.getByText('The token is revoked').waitFor();
if (!await answers(false)) found('a revoked token is still good');
await finish({});
