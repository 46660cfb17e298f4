// Pictures of every screen in every state that is designed, light, dark and at a phone's width: screenshots.mjs FOLDER. The
// workspace is furnished first, as a real team's would be.
import { close, console_url, findings, found, kind, pages } from './browser.mjs';
import { Camera, go } from './camera.mjs';
import { furnish } from './furnish.mjs';
import { atFault } from './screens/fault.mjs';
import { activity, live, over, overview } from './screens/activity.mjs';
import { first } from './screens/first.mjs';
import { destinations, evidence, settings } from './screens/log.mjs';
import { outside, signUp } from './screens/outside.mjs';
import { account, people, roles } from './screens/people.mjs';
import { policies } from './screens/policies.mjs';
import { adding, servers } from './screens/servers.mjs';
import { connect, tokens } from './screens/tokens.mjs';
import { endAll } from './upstream.mjs';

const camera = new Camera(process.argv[2]);
const began = Date.now();
const world = await signUp(camera);
await furnish(world);
const furnished = Math.round((Date.now() - began) / 1000);

/** Pages that links lead to and that no state is of: none is forgotten. */
async function crawled() {
  await go(world.owner, world.base);
  for (const path of (await pages(world.owner)).filter((path) => !camera.kinds.has(kind(path)))) {
    const name = path.replace(/^\/w\/[^/]+/, 'workspace').replace(/[a-z]+_[0-9a-z]{26}/g, 'one').replace(/[^a-z0-9]+/gi, '-').replace(/^-|-$/g, '');
    await camera.state(world.owner, `00-page-${name}`, () => go(world.owner, console_url + path));
  }
}
const areas = [outside, overview, activity, live, over, servers, adding, tokens, connect, people, evidence, destinations, settings, roles, policies, account, crawled, first, atFault];
for (const area of areas) {
  // What is between two states and does not come takes the rest of its area along, and no other.
  await area(camera, world).catch((error) => found(`${area.name}: ${error.message}`));
}

await close();
await endAll();
console.log(`${camera.names.size} screens, ${camera.pictures} pictures, are in ${process.argv[2]}; furnished in ${furnished} s, all in ${Math.round((Date.now() - began) / 1000)} s`);
if (findings.length > 0) console.error(`${findings.length} findings:\n${findings.map((finding) => `- ${finding}`).join('\n')}`);
process.exit(findings.length === 0 ? 0 : 1);
