// What the pages of servers and policies do by script: the editor marks what is wrong where it stands and completes the
// workspace's own names, a wrong address is said in its form, and a draft outlives what somebody else saved meanwhile.
import { console_url, endpoints, finish, found, open, signIn, until } from './browser.mjs';

const page = await open();
await signIn(page);
const workspace = `${console_url}/w/${endpoints.tenant}`;

// The editor. Its text is typed, as a person types it; `//` keeps the brackets it closes by itself out of the way.
await page.goto(`${workspace}/policies/new?pack=read_only`);
const editor = page.locator('.code-host .cm-content');
await editor.click();
await page.keyboard.press('Control+End');
await page.keyboard.type('\nforbid (principal, action == Sluice::Action::"call:notes/');
const option = page.locator('.code-host .cm-tooltip-autocomplete li', { hasText: 'call:notes/list_notes' });
await option.waitFor();
await option.click();
await page.keyboard.press('Control+End');
await page.keyboard.type(', resource) when { context.arguments.nothing_like_it == 1 };');
await page.locator('#checked [data-severity="error"]').first().waitFor();
const line = Number(await page.locator('#checked [data-severity="error"]').first().getAttribute('data-line'));
const marked = await until(() => page.evaluate(() => {
  const root = document.querySelector('.code-host').shadowRoot;
  const mark = root.querySelector('.cm-lintRange-error');
  return mark && [...root.querySelectorAll('.cm-line')].indexOf(mark.closest('.cm-line')) + 1;
}));
if (marked !== line) found(`the error of line ${line} is marked at line ${marked}`);
const text = await page.locator('#text').inputValue();
if (!text.includes('"call:notes/list_notes"')) found(`what was completed is not in the text: ${text}`);

// A wrong address: the form is swapped, the field has the focus, and what stands around it still works.
await page.goto(`${workspace}/servers/new`);
await page.fill('#url', 'ftp://nowhere.example');
await page.press('#url', 'Enter');
await page.locator('#url[aria-invalid="true"]').waitFor();
const focused = await until(() => page.evaluate(() => document.activeElement?.id === 'url'));
if (!focused) found('the wrong address has not the focus');
await page.keyboard.press('Control+k');
await page.locator('#palette[open]').waitFor();
await page.keyboard.press('Escape');

// Two people edit one policy.
await page.goto(`${workspace}/policies/new?pack=observe_everything`);
await page.fill('#name', `Two of us ${Date.now()}`);
await page.getByRole('button', { name: 'Save draft' }).click();
await page.waitForURL(/\/policies\/pol_/);
const other = await page.context().newPage();
await other.goto(page.url());
for (const [tab, words] of [[other, '// theirs'], [page, '// mine']]) {
  await tab.locator('.code-host .cm-content').click();
  await tab.keyboard.press('Control+End');
  await tab.keyboard.type(`\n${words}`);
  await tab.getByRole('button', { name: 'Save draft' }).click();
  await tab.waitForLoadState();
}
await page.locator('.note', { hasText: /saved v2 while you were editing/ }).waitFor();
if (!(await page.locator('#text').inputValue()).includes('// mine')) found('the draft is lost');
if (await page.locator('#compare .diff tr.add').count() === 0) found('the draft is not compared');
await page.getByRole('button', { name: 'Save draft' }).click();
await page.locator('.list', { hasText: 'Version 3' }).waitFor();
await finish({ line });
