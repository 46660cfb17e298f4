// A picture of every screen, light, dark and phone, in the folder named: screenshots.mjs FOLDER.
import { mkdirSync } from 'node:fs';
import { close, console_url, open, pages, signIn } from './browser.mjs';

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });
const looks = {
  light: {},
  dark: { colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true },
};
const name = (path) => path.replace(/^\/w\/[^/]+/, 'workspace').replace(/[a-z]+_[0-9a-z]{26}/g, 'one').replace(/[^a-z0-9]+/gi, '-').replace(/^-|-$/g, '');
let paths;
for (const [look, options] of Object.entries(looks)) {
  const outside = await open(options);
  for (const path of ['/sign-in', '/sign-up', '/forgot', '/nothing']) {
    await outside.goto(console_url + path);
    await outside.screenshot({ path: `${folder}/${name(path)}.${look}.png`, fullPage: true });
  }
  const page = await open(options);
  await signIn(page);
  paths ??= await pages(page);
  for (const path of paths) {
    await page.goto(console_url + path);
    // Fonts are there, and what moves once has come to its end.
    await page.evaluate(() => {
      const once = document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime !== Infinity);
      return Promise.all([document.fonts.ready, ...once.map((one) => one.finished.catch(() => null))]);
    });
    await page.screenshot({ path: `${folder}/${name(path)}.${look}.png`, fullPage: true });
  }
}
await close();
console.log(`${paths.length + 4} screens, three looks each, are in ${folder}`);
