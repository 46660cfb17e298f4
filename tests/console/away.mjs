// A connection that is lost and a session that is over take nothing of what somebody typed, or say that they did.
import { accessible, console_url, endpoints, finish, fits, found, open, signIn, until } from './browser.mjs';

const page = await open();
await signIn(page);
const workspace = `${console_url}/w/${endpoints.tenant}`;

// Without a connection it is said, a form stays where it is, and all is as before when the connection is back.
await page.goto(`${workspace}/tokens/new`);
await page.fill('#title', 'Typed on a train');
await page.context().setOffline(true);
await page.locator('#offline:not([hidden])').waitFor();
await page.getByRole('button', { name: 'Issue token' }).click();
await page.locator('.toast.err', { hasText: 'no connection' }).waitFor();
await accessible(page, 'without a connection');
if (await page.inputValue('#title') !== 'Typed on a train') found('what was typed without a connection is gone');
await page.context().setOffline(false);
await page.locator('#offline[hidden]').waitFor({ state: 'attached' });
await page.locator('.toast.err [data-dismiss]').click();
if (await page.inputValue('#title') !== 'Typed on a train') found('what was typed is gone when the connection is back');
await page.getByRole('button', { name: 'Issue token' }).click();
await page.waitForURL(/\/issued$/);

// A part of a page that is asked for then: the bar says why nothing comes, and the page stays.
await page.goto(`${workspace}/access`);
await page.context().setOffline(true);
await page.fill('main input[name=q]', 'note');
await page.press('main input[name=q]', 'Enter');
await page.locator('#offline:not([hidden])').waitFor();
if (await page.inputValue('main input[name=q]') !== 'note') found('what was searched for is gone');
await page.context().setOffline(false);
await page.locator('#offline[hidden]').waitFor({ state: 'attached' });

// Two minutes before a session ends that is said, with a way to stay, and at its end too. Hours pass by the page's clock only;
// how long is left then is made up here, and staying is asked of the server.
const minutes = await page.context().newPage();
await minutes.clock.install();
let left = '119';
await minutes.route('**/session', (route) => (route.request().method() === 'GET' ? route.fulfill({ body: left }) : route.continue()));
await minutes.goto(`${workspace}/tokens/new`);
const warning = minutes.locator('#session');
const most = Number(await warning.getAttribute('data-left'));
const passes = (seconds) => minutes.clock.fastForward(seconds * 1000);
await passes(most - 125);
if (await warning.isVisible()) found('the end of the session is announced too early');
await passes(10);
await warning.waitFor();
await accessible(minutes, 'two minutes before the session ends');
await minutes.setViewportSize({ width: 320, height: 720 });
await fits(minutes, 'two minutes before the session ends');
await warning.locator('[data-stay]').click();
await warning.waitFor({ state: 'hidden' });
await passes(most - 115);
await warning.waitFor();
left = '0';
await passes(120);
await warning.locator('[data-stay]').waitFor({ state: 'detached' });
if (await warning.locator('span').innerText() !== await warning.getAttribute('data-over')) found('it is not said that the session is over');
await minutes.close();

// The session ends in another tab: a form sent then leads to signing in, which says that nothing was saved, and back.
await page.goto(`${workspace}/settings`);
await page.fill('#title', 'Never saved');
const other = await page.context().newPage();
await other.goto(`${console_url}/account`);
await other.locator('form[action="/sign-out"] button').click();
await other.waitForURL(/\/sign-in/);
await other.close();
await page.locator('form', { has: page.locator('#title') }).getByRole('button').click();
await page.waitForURL(/\/sign-in\?/);
await page.getByText('was not saved').waitFor();
await accessible(page, 'signing in again');
await page.fill('#email', endpoints.owner_email);
await page.fill('#password', endpoints.owner_password);
await page.press('#password', 'Enter');
await page.waitForURL(`${workspace}/settings`).catch(() => found(`signed in again: at ${page.url()}`));
if (await page.inputValue('#title') === 'Never saved') found('a form of a session that was over was saved');

// So does a part of a page.
await page.goto(`${workspace}/access`);
await page.context().clearCookies({ name: /session/ });
await page.fill('main input[name=q]', 'note');
await page.press('main input[name=q]', 'Enter');
await page.waitForURL(/\/sign-in\?/);
const back = await until(() => new URL(page.url()).searchParams.get('next'));
if (!back?.startsWith(`/w/${endpoints.tenant}/access`)) found(`a part of a page leads back to ${back}`);
await finish({});
