// Each role signs in: what it may not do is said, where it stands, and nothing it may not do is offered.
import { accessible, console_url, endpoints, finish, found, open, signIn } from './browser.mjs';

const PASSWORD = 'otter plinth velvet 42';
const workspace = `/w/${endpoints.tenant}`;
const owner = await open();
await signIn(owner);

/** Somebody invited by the owner, come in by the mailed link. */
async function come(role) {
  const email = `${role}-${crypto.randomUUID()}@roles.example`;
  await owner.goto(`${console_url}${workspace}/people/invite`);
  await owner.fill('#email', email);
  await owner.check(`input[name=role][value=${role}]`);
  await owner.getByRole('button', { name: 'Mail the invitation' }).click();
  const link = await owner.locator('.mail a').getAttribute('href');
  const page = await open();
  await page.goto(link);
  await page.fill('#name', `The ${role}`);
  await page.fill('#password', PASSWORD);
  await page.getByRole('button', { name: 'Join the workspace' }).click();
  await page.waitForURL(/\/w\//);
  await page.context().clearCookies();
  await signIn(page, email, PASSWORD);
  return page;
}

// Of each page: the status, and what of the controls named is there.
const controls = {
  '/servers': 'Add a server', '/policies': 'New policy', '/tokens': 'Issue a token', '/people': 'Invite', '/settings': 'Save name',
};
const may = {
  owner: { '/servers': true, '/policies': true, '/tokens': true, '/people': true, '/settings': true },
  admin: { '/servers': true, '/policies': true, '/tokens': true, '/people': true, '/settings': true },
  policy_author: { '/servers': false, '/policies': true, '/tokens': true, '/people': false, '/settings': false },
  auditor: { '/servers': false, '/policies': false, '/tokens': false, '/people': false, '/settings': false },
  member: { '/servers': 403, '/policies': 403, '/tokens': true, '/people': 403, '/settings': false },
};
for (const [role, pages] of Object.entries(may)) {
  const page = role === 'owner' ? owner : await come(role);
  const shown = await page.goto(`${console_url}${workspace}`);
  if (!shown.ok()) found(`${role}: the overview answers ${shown.status()}`);
  const nav = await page.$$eval('.nav a', (links) => links.map((link) => link.getAttribute('href')));
  for (const [path, wanted] of Object.entries(pages)) {
    const what = `${role} at ${path}`;
    const answer = await page.goto(console_url + workspace + path);
    const control = page.locator('main').getByRole(path === '/settings' ? 'button' : 'link', { name: controls[path], exact: true });
    const offered = await control.count() > 0;
    if (answer.status() !== (wanted === 403 ? 403 : 200)) found(`${what}: ${answer.status()}`);
    if (offered !== (wanted === true)) found(`${what}: ${controls[path]} is ${offered ? '' : 'not '}offered`);
    if (nav.includes(workspace + path) !== (wanted !== 403)) found(`${what}: the side bar says otherwise`);
    const said = await page.locator('main').innerText();
    if (wanted === 403 && !said.includes('Your role does not allow this')) found(`${what}: it is not said that the role does not allow it`);
    // A lock stands before each sentence that says who may. Names and roles of people, which a page may show too, say nothing.
    const who = await page.locator('main p').filter({ has: page.locator('use[href$="#lock"]') }).allInnerTexts();
    const isSaid = who.some((sentence) => /owner|admin|whoever/i.test(sentence));
    if (isSaid !== (wanted === false)) found(`${what}: it is ${isSaid ? '' : 'not '}said who may: ${who}`);
    if (wanted !== true) await accessible(page, what);
  }
}
await finish({ roles: Object.keys(may).length });
