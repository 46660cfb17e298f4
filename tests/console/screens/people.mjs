// People and roles; what a role may not do is said where it stands.
import { console_url, open } from '../browser.mjs';
import { OVER, go } from '../camera.mjs';
import { invite } from '../furnish.mjs';

export async function people(camera, world) {
  const page = world.owner;
  const state = (name, bring, options) => camera.state(page, `13-people-${name}`, bring, options);
  const { jonas, tomas } = world.people;
  const member = (id) => `${world.base}/people/${id}`;
  await state('list', () => go(page, `${world.base}/people`));
  await state('invite', () => go(page, `${world.base}/people/invite`));
  await state('invite-already-here', async () => {
    await page.fill('#email', jonas.email);
    await page.check('input[name=role][value=member]');
    await page.getByRole('button', { name: 'Mail the invitation' }).click();
    await page.locator('#email[aria-invalid="true"], .note.deny').first().waitFor();
  });
  let link;
  await state('invited', async () => { link = await invite(world, 'sam@kestrel.example', 'policy_author'); });
  await state('one', () => go(page, member(jonas.id)));
  await state('one-wrong-groups', async () => {
    await page.fill('#groups', 'On Call!');
    await page.getByRole('button', { name: 'Save changes' }).click();
    await page.locator('#groups[aria-invalid="true"]').waitFor();
  });
  await state('one-conflict', async () => {
    await go(page, member(jonas.id));
    await world.api.send('PATCH', `/members/${jonas.id}`, { groups: ['engineering', 'payments'] });
    await page.fill('#groups', 'engineering, release');
    await page.getByRole('button', { name: 'Save changes' }).click();
    await page.locator('.note.wait[role=alert]').waitFor();
  });
  await state('remove', async () => { await go(page, member(tomas.id)); await page.getByRole('button', { name: 'Remove…' }).click(); await page.locator('#remove[open]').waitFor(); }, OVER);
  await state('last-owner', () => go(page, member(world.me)));
  const guest = await open();
  await camera.state(guest, '13-people-joining', () => go(guest, link));
  await camera.state(page, '13-people-joining-as-somebody-else', () => go(page, link));
}

/** What each of them sees who may not do something. */
export async function roles(camera, world) {
  const { jonas, priya, mei } = world.people;
  const forbidden = { servers: 403, policies: 403, people: 403, destinations: 403, evidence: 403 };
  for (const [area, status] of Object.entries({ '': 200, activity: 200, access: 200, tokens: 200, settings: 200, ...forbidden })) {
    await camera.state(jonas.page, `17-member-${area || 'overview'}`, () => go(jonas.page, `${world.base}/${area}`.replace(/\/$/, ''), status));
  }
  for (const area of ['servers', `servers/${world.servers.github.id}`, 'policies', 'tokens', 'people', 'destinations', 'evidence']) {
    await camera.state(priya.page, `17-auditor-${area.replace(/\/.*/, '-one')}`, () => go(priya.page, `${world.base}/${area}`));
  }
  await camera.state(mei.page, '17-admin-owner', () => go(mei.page, `${world.base}/people/${world.me}`));
}

export async function account(camera, world) {
  const { page } = world.people.mei;
  const state = (name, bring) => camera.state(page, `16-account-${name}`, bring);
  await state('all', () => go(page, `${console_url}/account`));
  await state('wrong-password', async () => {
    await page.fill('#present', 'not the password');
    await page.fill('#password', 'copper lantern 88 fog');
    await page.getByRole('button', { name: 'Change the password' }).click();
    await page.locator('#present[aria-invalid="true"]').waitFor();
  });
  await camera.state(world.owner, '16-account-workspaces', () => go(world.owner, `${console_url}/workspaces`));
  // Somebody is signed out in another tab while they fill in a form.
  await state('signed-out-meanwhile', async () => {
    await go(page, `${world.base}/tokens/new`);
    await page.fill('#title', 'Never saved');
    await page.context().clearCookies({ name: /session/ });
    await page.getByRole('button', { name: 'Issue token' }).click();
    await page.getByText('was not saved').waitFor();
  });
}
