// From signing up to a blocked call, as a person who has never seen Sluice: the clicks are counted. A form that is sent by
// Enter while one types in it is typing. TYPESCRIPT_SDK is the script of a real MCP client.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { accessible, console_url, drawn, finish, found, open, until } from './browser.mjs';

const clicked = [];
const page = await open({ permissions: ['clipboard-read', 'clipboard-write'] });
const began = Date.now();
const slug = `four-${Date.now().toString(36)}`;

async function click(locator, what) {
  clicked.push(what);
  await locator.first().click();
}
const button = (name) => page.getByRole('button', { name });
// With PICTURES, a folder, each step is kept as it looks, also on a phone.
const folder = process.env.PICTURES;
async function picture(name) {
  if (!folder) return;
  for (const [look, width] of [['light', 1440], ['phone', 390]]) {
    await page.setViewportSize({ width, height: 900 });
    await drawn(page);
    await page.screenshot({ path: `${folder}/${name}.${look}.png`, fullPage: true });
  }
  await page.setViewportSize({ width: 1440, height: 900 });
}

// Somebody signs up; the mail stands on the page, for only this machine reaches the console.
await page.goto(`${console_url}/sign-up`);
await page.fill('#email', `ana-${slug}@kestrel.example`);
await page.press('#email', 'Enter');
await click(page.locator('.mail a'), 'the link in the mail');
await page.fill('#name', 'Ana Duarte');
await page.fill('#password', 'otter plinth velvet 42');
await page.fill('#slug', slug);
await page.press('#slug', 'Enter');
await page.waitForURL(new RegExp(`/w/${slug}`));
const workspace = `${console_url}/w/${slug}`;

await picture('overview');

// The sandbox server: looked at, added, and its tools accepted, which the next page says.
await click(button('Try with the sandbox server'), 'Try with the sandbox server');
await page.waitForURL(/\/policies\?added=srv_/);
const said = await page.locator('.note', { hasText: 'Sandbox is added.' }).innerText();
if (!/\d+ tools are accepted/.test(said)) found(`what was accepted is not said: ${said}`);
const pack = page.locator('.pack', { hasText: 'Read-only' });
if (!/[1-9]\d*\s+allowed/.test(await pack.innerText())) found(`the pack is not counted on the tools: ${await pack.innerText()}`);
await accessible(page, 'choosing a policy');
await picture('policies');

// A policy to begin with, published at once: the next page says on how many nodes.
await click(button('Start with Read-only'), 'Start with Read-only');
await page.waitForURL(/\/connect/);
await page.locator('#listener', { hasText: /Read-only is in force\s*Live on (\d+) of \1 node/ }).waitFor();
await picture('connect');

// A token, and a real client with it.
await click(button('Issue a token'), 'Issue a token');
await picture('token');
const token = (await page.locator('.secret code').innerText()).trim();
const address = (await page.locator('.code code', { hasText: `/${slug}/mcp` }).last().innerText()).trim();
const endpoint = address.match(/https?:\/\/[^ "]+\/mcp/)[0];
const call = (tool, args) => promisify(execFile)('node', [process.env.TYPESCRIPT_SDK, endpoint, token, 'auto', tool, JSON.stringify(args)]);
// What was published reaches the nodes within a second or so: the client asks until the tool is there.
const version = '2026-07-28';
const meta = { 'protocolVersion': version, 'clientCapabilities': {}, 'clientInfo': { name: 'typescript-sdk', version: '2' } };
const params = { _meta: Object.fromEntries(Object.entries(meta).map(([name, value]) => [`io.modelcontextprotocol/${name}`, value])) };
const listed = async () => {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-protocol-version': version, 'mcp-method': 'tools/list' };
  const answer = await fetch(endpoint, { method: 'POST', headers, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params }) });
  const { result } = await answer.json().catch(() => ({}));
  return result?.tools?.map((tool) => tool.name).find((name) => name.endsWith('list_notes'));
};
const tool = await until(listed);
const called = tool && await call(tool, {}).catch((error) => found(`${tool}: ${error.stderr ?? error}`));
if (!called) found('the client could not call a tool');

// The page has turned by itself, without being asked.
await page.getByText('Your call arrived').waitFor();
const card = await page.locator('#first-call').innerText();
for (const part of ['list_notes', 'Allowed', 'Ana Duarte', 'typescript-sdk']) {
  if (!card.includes(part)) found(`the decision card does not say ${part}: ${card}`);
}
await picture('call');
const minutes = (Date.now() - began) / 60_000;
await accessible(page, 'the decision card');

// A denial, through the same gateway.
await click(button('Try a blocked call'), 'Try a blocked call');
await page.locator('#blocked .note.deny').waitFor();
await page.locator('#first-call', { hasText: 'Denied' }).waitFor();
const says = await page.locator('#blocked').innerText();
if (!/Denied/.test(says)) found(`no denial: ${says}`);
await accessible(page, 'the blocked call');
await picture('blocked');
await finish({ clicks: clicked.length, clicked, minutes, endpoint, workspace });
