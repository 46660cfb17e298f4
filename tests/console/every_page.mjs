// Every page of a workspace: no findings of axe in light and dark, no message of the browser, nothing too wide at 320 px.
import { accessible, console_url, finish, fits, open, pages, signIn } from './browser.mjs';

const page = await open();
await signIn(page);
const paths = await pages(page);
const outside = ['/sign-in', '/sign-up', '/forgot', '/sign-up/none', '/invitations/none'];
for (const path of paths) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.goto(console_url + path);
    await accessible(page, `${path} (${colorScheme})`);
  }
  await page.setViewportSize({ width: 320, height: 720 });
  await page.goto(console_url + path);
  await fits(page, path);
  await page.setViewportSize({ width: 1440, height: 900 });
}
const stranger = await open();
for (const path of outside) {
  for (const colorScheme of ['light', 'dark']) {
    await stranger.emulateMedia({ colorScheme });
    await stranger.goto(console_url + path);
    await accessible(stranger, `${path} (${colorScheme})`);
  }
  await stranger.setViewportSize({ width: 320, height: 720 });
  await fits(stranger, path);
  await stranger.setViewportSize({ width: 1440, height: 900 });
}
await finish({ pages: paths.length + outside.length, paths });
