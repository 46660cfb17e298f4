// Takes pictures of states: each in light, dark and at a phone's width, of the page as it stands, without going there again.
import { mkdirSync } from 'node:fs';
import { findings, fits, found, kind, still } from './browser.mjs';

const DESK = { width: 1440, height: 900 };
export const OVER = { whole: [] };
const LOOKS = {
  light: { colorScheme: 'light', viewport: DESK },
  dark: { colorScheme: 'dark', viewport: DESK },
  phone: { colorScheme: 'light', viewport: { width: 390, height: 844 } },
};

/** Goes to a page, which answers as it should. */
export async function go(page, url, status = 200) {
  const answer = await page.goto(url);
  if (answer && answer.status() !== status) throw new Error(`${url} answers ${answer.status()}`);
}

export class Camera {
  constructor(folder) {
    this.folder = folder;
    this.names = new Set();
    this.kinds = new Set();
    this.pictures = 0;
    mkdirSync(folder, { recursive: true });
  }

  /** `whole` are the looks in which the whole page is shown; in the others what the window shows, as where something lies
   *  over the page. */
  async take(page, name, { whole = Object.keys(LOOKS), looks = Object.keys(LOOKS) } = {}) {
    if (this.names.has(name)) found(`two states are called ${name}`);
    this.names.add(name);
    this.kinds.add(kind(new URL(page.url()).pathname));
    for (const look of looks) {
      const { colorScheme, viewport } = LOOKS[look];
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(viewport);
      await still(page);
      // Hiding the caret would leave an empty style attribute behind, which no page of ours has.
      await page.screenshot({ path: `${this.folder}/${name}.${look}.png`, fullPage: whole.includes(look), caret: 'initial' });
      if (look === 'phone') await fits(page, name);
      this.pictures += 1;
    }
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize(DESK);
  }

  /** Brings a state about and takes its picture. What does not come as it should is said, and the next state is tried. */
  async state(page, name, bring, options = {}) {
    const before = findings.length;
    try {
      await bring(page);
      await this.take(page, name, options);
    } catch (error) {
      found(`${page.url()}: ${error.message.split('\n').slice(0, 4).join(' ')}`);
    }
    for (let place = before; place < findings.length; place += 1) findings[place] = `${name}: ${findings[place]}`;
  }
}
