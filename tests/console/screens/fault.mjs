// The page for what is our fault: the database is gone. UP is the process of `sluice up`, which would start it again, and is
// held for as long as that. Comes last.
import { endpoints } from '../browser.mjs';
import { wait } from '../furnish.mjs';

export async function atFault(camera, world) {
  const up = Number(process.env.UP);
  // The browser says that a page is answered with an error, which is what is wanted here.
  world.owner.removeAllListeners('console');
  process.kill(up, 'SIGSTOP');
  try {
    process.kill(endpoints.pids.postgres, 'SIGINT');
    await camera.state(world.owner, '19-our-fault', (page) => wait('the page for what is our fault', async () => (await page.goto(`${world.base}/servers`)).status() >= 500));
  } finally {
    process.kill(up, 'SIGCONT');
  }
}
