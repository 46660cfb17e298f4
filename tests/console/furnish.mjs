// Fills a workspace as a real team's is after a while, by what everybody has: the API, the console for people, and calls
// through the gateway. What follows from it (held changes, failing servers, dead letters) comes about by itself.
import { console_url, endpoints, open, until } from './browser.mjs';
import { call } from './client.mjs';
import { asks, changed, people, policies, rare, servers } from './team.mjs';
import { receiver, upstream } from './upstream.mjs';

export const PASSWORD = 'otter plinth velvet 42';

/** Waits until something is so; what it is, is said when it does not come. */
export async function wait(what, ask) {
  const answer = await until(ask);
  if (!answer) throw new Error(`it does not come: ${what}`);
  return answer;
}

async function addServer(world, { key, alias, title, labels, timeout_ms, isNew, ...offered }) {
  const running = await upstream(offered);
  const { id } = await world.api.post('/servers', { key, alias, title, labels, timeout_ms, endpoint: running.url });
  if (offered.bearer) await world.api.send('PUT', `/servers/${id}/credential`, { kind: 'bearer', value: offered.bearer });
  const { held } = await world.api.post(`/servers/${id}/import`);
  if (!isNew) await world.api.post(`/servers/${id}/versions/${held.id}/accept`, { all: true });
  world.servers[key] = { id, running, version: held.id };
}

/** The tool of a server, by its name. */
export const toolOf = async (world, server, name) => (await world.api.get(`/servers/${world.servers[server].id}/tools`)).tools.find((tool) => tool.name === name).id;

async function addServers(world) {
  world.servers = {};
  for (const server of servers) await addServer(world, server);
  for (const [server, name, review] of [
    ['postgres-prod', 'execute_sql', { risk: 'destructive', labels: ['kind:sql'] }],
    ['stripe', 'refund_charge', { risk: 'destructive', labels: ['kind:money'] }],
    ['github', 'merge_pull_request', { risk: 'write', labels: ['kind:release'] }],
  ]) await world.api.send('PATCH', `/servers/${world.servers[server].id}/tools/${await toolOf(world, server, name)}`, review);
}

async function addPolicies(world) {
  world.policies = {};
  for (const { name, texts, active } of policies) {
    let { policy } = await world.api.post('/policies', { name, text: texts[0] });
    for (const text of texts.slice(1)) ({ policy } = await world.api.post(`/policies/${policy.id}/versions`, { revision: policy.revision, text }));
    if (active > 0) await world.api.post(`/policies/${policy.id}/activate`, { revision: policy.revision, version: active });
    world.policies[name] = policy.id;
  }
}

/** Invites somebody; gives the link that is mailed to them. */
export async function invite(world, email, role) {
  await world.owner.goto(`${world.base}/people/invite`);
  await world.owner.fill('#email', email);
  await world.owner.check(`input[name=role][value=${role}]`);
  await world.owner.getByRole('button', { name: 'Mail the invitation' }).click();
  return world.owner.locator('.mail a').getAttribute('href');
}

async function addPeople(world) {
  world.people = {};
  for (const { name, email, role, groups } of people) {
    const link = await invite(world, email, role);
    const page = await open();
    await page.goto(link);
    await page.fill('#name', name);
    await page.fill('#password', PASSWORD);
    await page.getByRole('button', { name: 'Join the workspace' }).click();
    await page.waitForURL(/\/w\//);
    world.people[email.split('@')[0]] = { page, email, groups };
  }
  await invite(world, 'lena@kestrel.example', 'member');
  const { members } = await world.api.get('/members');
  for (const person of Object.values(world.people)) {
    const member = members.find((member) => member.email === person.email);
    Object.assign(person, { id: member.id });
    if (person.groups.length > 0) await world.api.send('PATCH', `/members/${member.id}`, { groups: person.groups });
  }
  world.me = members.find((member) => member.role === 'owner').id;
}

async function addTokens(world) {
  const { mei, jonas, priya } = world.people;
  const on = (...keys) => ({ servers: keys.map((key) => world.servers[key].id) });
  const issue = (body) => world.api.post('/gateway-tokens', body);
  const issued = {
    ana: await issue({ title: 'Claude Code on Ana’s laptop', days: 90 }),
    mei: await issue({ title: 'Cursor', days: 30, member: mei.id }),
    jonas: await issue({ title: 'CI triage', days: 365, member: jonas.id }),
    narrow: await issue({ title: 'Release notes', days: 7, member: jonas.id, scope: on('github', 'linear') }),
    idle: await issue({ title: 'Support copilot, pilot', days: 1, member: jonas.id, scope: { ...on('stripe'), tools: [await toolOf(world, 'stripe', 'list_charges')] } }),
    gone: await issue({ title: 'Lost laptop', days: 90, member: mei.id }),
  };
  world.tokens = Object.fromEntries(Object.entries(issued).map(([name, { secret, token }]) => [name, { secret, id: token.id }]));
  await world.api.send('DELETE', `/gateway-tokens/${world.tokens.gone.id}`);
  const api = (body) => world.api.post('/api-tokens', body);
  const terraform = await api({ title: 'Terraform', days: 365, member: mei.id });
  const nightly = await api({ title: 'Nightly evidence', days: 7, member: priya.id });
  const old = await api({ title: 'First script', days: 30 });
  world.tokens.api = { id: terraform.token.id };
  await world.api.send('DELETE', `/api-tokens/${old.token.id}`);
  const asked = await fetch(`${endpoints.api_url}/tenants/${world.slug}/audit/checkpoint`, { headers: { authorization: `Bearer ${nightly.secret}` } });
  if (asked.status >= 500) throw new Error(`the nightly token: ${asked.status}`);
}

/** A round of the team's calls, those of each person one after the other, the people beside each other. */
export async function round(world) {
  const callers = [...new Set(asks.map(([who]) => who))];
  await Promise.all(callers.map(async (who) => {
    for (const [, client, tool, args, often] of asks.filter(([caller]) => caller === who)) {
      for (let turn = 0; turn < often; turn += 1) await call(world.slug, world.tokens[who].secret, client, tool, args);
    }
  }));
}
/** A token that was just issued reaches the nodes within a second or so. */
const isKnown = (world, who) => wait(`the token of ${who} on the nodes`, async () => (await call(world.slug, world.tokens[who].secret, 'claude-code', 'github__list_issues', { owner: 'kestrel', repo: 'billing' })).status !== 401);
const once = (world, [who, client, tool, args]) => call(world.slug, world.tokens[who].secret, client, tool, args);

/** Two receivers: one takes what it gets; the other never takes three of the records, and then is out of order. */
async function addDestinations(world) {
  const well = await receiver(() => [204, '']);
  const ill = await receiver(() => [503, 'maintenance until further notice']);
  const never = new Set();
  ill.judge = (lines) => {
    for (const line of lines) if (never.size < 3 && Number.isInteger(line.seq)) never.add(line.seq);
    return lines.some((line) => never.has(line.seq)) ? [422, 'field "decision" is not in the schema'] : [202, 'queued'];
  };
  const add = (name, settings, more = {}) => world.api.post('/audit/destinations', { name, settings, ...more });
  const lake = await add('Security lake', { kind: 'webhook', url: `${well.url}/ingest/sluice` }, { format: 'ocsf' });
  const siem = await add('Old SIEM', { kind: 'webhook', url: `${ill.url}/hooks/7f3a` }, { wanted: { kinds: ['call', 'admin'] } });
  const archive = await add('Archive', { kind: 's3', bucket: 'kestrel-audit', region: 'eu-central-1', prefix: 'sluice' },
    { secret: { access_key_id: 'AKIAIOSFODNN7EXAMPLE', secret_access_key: 'of-nobody' } });
  for (const { id } of [lake, siem]) await world.api.post(`/audit/destinations/${id}/start`);
  world.destinations = { lake: { id: lake.id, at: well }, siem: { id: siem.id, at: ill }, archive: { id: archive.id } };
}

/** What has changed since all was well: a server offers something else, one is gone, one is paused, a receiver is ill. */
async function later(world) {
  const { github, sentry, stripe, linear } = world.servers;
  Object.assign(github.running, { tools: changed, version: '0.22.0' });
  const { held } = await world.api.post(`/servers/${github.id}/import`);
  github.held = held.id;
  await sentry.running.stop();
  await world.api.post(`/servers/${sentry.id}/import`).then(() => { throw new Error('a server that is gone is imported'); }, () => undefined);
  await world.api.post(`/servers/${stripe.id}/pause`);
  await world.api.post(`/servers/${linear.id}/import`);
  const { siem } = world.destinations;
  const of = (id) => world.api.get(`/audit/destinations/${id}`);
  await wait('three dead letters', async () => (await of(siem.id)).dead_letters >= 3);
  siem.at.judge = () => [503, 'maintenance until further notice'];
}

/** Fills the workspace that `owner` is signed in to; what is in it is told in `world`. */
export async function furnish(world) {
  await addServers(world);
  await addPolicies(world);
  await addPeople(world);
  await addTokens(world);
  await world.api.live();
  for (const who of ['ana', 'mei', 'jonas']) await isKnown(world, who);
  await addDestinations(world);
  for (let turn = 0; turn < 3; turn += 1) await round(world);
  for (const ask of rare) await once(world, ask);
  await later(world);
  await world.api.live();
  for (let turn = 0; turn < 2; turn += 1) await round(world);
  await wait('the ill receiver to have refused again', async () => (await world.api.get(`/audit/destinations/${world.destinations.siem.id}`)).progress.failures >= 2);
  await wait('a checkpoint', async () => (await world.api.get('/audit/checkpoint').catch(() => undefined))?.size > 100);
}

export const at = (slug) => `${console_url}/w/${slug}`;
