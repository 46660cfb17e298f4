// The console without JavaScript: sign in, go around, read, search, issue a token, see it once.
import { console_url, endpoints, finish, found, open, signIn, until } from './browser.mjs';

const page = await open({ javaScriptEnabled: false });
await signIn(page);
const workspace = `${console_url}/w/${endpoints.tenant}`;
for (const name of ['Servers', 'Policies', 'Tokens', 'People', 'Settings']) {
  const link = page.locator('.nav a', { hasText: name });
  const response = await page.goto(console_url + await link.getAttribute('href'));
  if (!response.ok()) found(`${name}: ${response.status()}`);
}
await page.goto(`${workspace}/palette`);
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
await page.goto(`${workspace}/tokens`);
const one = page.locator('main a[href*="/tokens/gateway/"]', { hasText: 'Codex' }).first();
if (await one.count() > 0) {
  await page.goto(console_url + await one.getAttribute('href'));
  await page.getByRole('button', { name: /Revoke/ }).last().click();
  const refused = await until(async () => {
    const answer = await fetch(endpoints.tenant_url, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }, body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' });
    return answer.status === 401;
  });
  if (!refused) found('a revoked token is still good');
}
await finish({});
