import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';

/** Where Chromium is, if it is. */
export const chromiumPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
/** Where pictures of the pages go, for whoever wants to look at them. */
const pictures = process.env['INTERLOCK_TEST_PICTURES'];
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export async function startChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath!, args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] });
}

const views = [['phone', { width: 390, height: 844 }], ['desktop', { width: 1280, height: 800 }]] as const;
const schemes = ['light', 'dark'] as const;

/** One page of a browser, worked with by the keyboard alone. */
export class Screen {
  readonly page: Page;
  /** Errors that the page's scripts met. */
  readonly faults: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on('pageerror', ({ message }) => this.faults.push(message));
  }

  /** A new browser profile, with an authenticator that verifies its user (https://www.w3.org/TR/webauthn-3/#sctn-automation). */
  static async open(browser: Browser): Promise<Screen> {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-US', viewport: views[0][1] });
    const page = await context.newPage();
    const debug = await context.newCDPSession(page);
    await debug.send('WebAuthn.enable');
    await debug.send('WebAuthn.addVirtualAuthenticator', { options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true } });
    return new Screen(page);
  }

  /** Waits for the page with this heading. */
  async at(heading: string): Promise<void> {
    await this.page.locator('h1', { hasText: heading }).waitFor({ timeout: 20_000 });
  }

  /**
   * Looks at the page on a phone and a desktop, in light and dark.
   * @returns what is wrong with it: serious findings of axe-core, what sticks out to the right, and what the keyboard cannot do
   */
  async look(name: string): Promise<string[]> {
    const wrong: string[] = [];
    // Through the debugger: the pages themselves let no such script run.
    await this.page.evaluate(axe);
    for (const [view, size] of views) {
      await this.page.setViewportSize(size);
      for (const colorScheme of schemes) {
        await this.page.emulateMedia({ colorScheme });
        const where = `${name} ${view} ${colorScheme}`;
        if (pictures !== undefined) {
          mkdirSync(pictures, { recursive: true });
          await this.page.screenshot({ path: join(pictures, `${name}-${view}-${colorScheme}.png`), fullPage: true });
        }
        const { violations } = await this.page.evaluate<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }>(`axe.run(document, { resultTypes: ['violations'] })`);
        wrong.push(...violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${where}: ${id}: ${nodes[0]?.html ?? ''}`));
        if (!(await this.page.evaluate<boolean>('document.documentElement.scrollWidth <= window.innerWidth'))) wrong.push(`${where}: wider than the screen`);
      }
      wrong.push(...(await this.#tabOrder()).map((fault) => `${name} ${view}: ${fault}`));
    }
    await this.page.setViewportSize(views[0][1]);
    return wrong;
  }

  /** Goes once around by Tab: everything that can be used is reached, from top to bottom, and seen to have the focus. */
  async #tabOrder(): Promise<string[]> {
    await this.page.evaluate(`(() => { globalThis.focusedBefore = document.activeElement; const top = document.createElement('span'); top.tabIndex = -1; document.body.prepend(top); top.focus(); top.remove(); })()`);
    const wrong: string[] = [];
    let before: Stop = { index: -1, top: -1, text: 'the top' };
    const usable = await this.page.evaluate<number>(`${usableElements}.length`);
    let reached = 0;
    for (let tabs = 0; tabs < 100 && reached < usable; tabs += 1) {
      await this.page.keyboard.press('Tab');
      const stop = await this.page.evaluate<Stop | null>(describeFocus);
      if (stop === null) break;
      if (stop.index === before.index) continue;
      if (stop.index < before.index || stop.top < before.top - 1) wrong.push(`from ${before.text} back to ${stop.text}`);
      if (stop.isSeen === false) wrong.push(`no focus to be seen on ${stop.text}`);
      before = stop;
      reached += 1;
    }
    await this.page.evaluate('globalThis.focusedBefore.focus()');
    return reached === usable ? wrong : [...wrong, `Tab reaches ${reached} of ${usable}`];
  }

  /** Goes on by Tab to what has this text or label. */
  async to(text: string): Promise<void> {
    for (let tabs = 0; tabs < 80; tabs += 1) {
      if (await this.page.evaluate<boolean>(`(() => { const on = document.activeElement; return on !== document.body && [on.getAttribute('aria-label'), on.labels?.[0]?.textContent, on.textContent].some((own) => own?.trim().startsWith(${JSON.stringify(text)})); })()`)) return;
      await this.page.keyboard.press('Tab');
    }
    throw new Error(`the keyboard does not get to “${text}” of ${await this.page.title()}`);
  }

  /** Goes on by Tab to what has this text or label, and presses a key on it. */
  async press(text: string, key: 'Enter' | 'Space' = 'Enter'): Promise<void> {
    await this.to(text);
    await this.page.keyboard.press(key);
  }

  /** Types into the field with the focus, and into those after it. */
  async type(...entries: readonly string[]): Promise<void> {
    for (const entry of entries) {
      await this.page.keyboard.type(entry);
      await this.page.keyboard.press('Tab');
    }
  }

  /** What the page says, without markup. */
  async text(): Promise<string> {
    return this.page.locator('main').innerText();
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }
}

interface Stop {
  readonly index: number;
  readonly top: number;
  readonly text: string;
  readonly isSeen?: boolean;
}

const usableElements = `[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')].filter((one) => !one.disabled && one.checkVisibility())`;
const describeFocus = `(() => {
  const on = document.activeElement;
  const index = ${usableElements}.indexOf(on);
  if (index < 0) return null;
  const box = on.getBoundingClientRect();
  const { outlineStyle, outlineWidth } = getComputedStyle(on);
  const isSeen = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && box.top >= 0 && box.bottom <= innerHeight + 1;
  return { index, top: box.top + scrollY + box.height / 2, text: on.name || on.textContent.trim(), isSeen };
})()`;
