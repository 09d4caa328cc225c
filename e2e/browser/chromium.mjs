// What every test in Debian's Chromium needs: the browser, pages whose complaints fail the run, and the check that everyone can
// use what is shown. The environment has CHROMIUM, SCREENSHOTS (a folder) and, for a microphone, VOICE (a WAV file).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const { CHROMIUM: executablePath, SCREENSHOTS: folder, VOICE: voice } = process.env;
const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'tollgate-browser-'));

export const desktop = { width: 1280, height: 860 }, phone = { width: 390, height: 844 };

const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', ...(voice ? [`--use-file-for-fake-audio-capture=${voice}%noloop`] : []),
    `--crash-dumps-dir=${profile}`],
});

// open shows an address to a reader. What the browser complains of, a blocked script or a missing file, fails the run.
const faults = [];
export async function open(address, { allow, ...reader } = {}) {
  const context = await browser.newContext({ viewport: desktop, locale: 'en-US', reducedMotion: 'reduce', ...reader });
  context.setDefaultTimeout(60_000); // other tests may have the processor
  const page = await context.newPage();
  const { pathname } = new URL(address);
  page.on('pageerror', (e) => faults.push(`${pathname}: ${e.message}`));
  page.on('console', (m) => {
    if (['error', 'warning'].includes(m.type()) && !(allow && allow.test(m.text()))) faults.push(`${pathname}: ${m.text()}`);
  });
  await page.goto(address);
  return page;
}

// inspect checks that everyone can use the page, and takes its picture.
export async function inspect(page, name) {
  const { width } = page.viewportSize();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, `${name}: wider than the window`);
  const violations = await page.evaluate(async (source) => {
    (0, eval)(source);
    const { violations } = await globalThis.axe.run();
    return violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`);
  }, axe);
  assert.deepEqual(violations, [], name);
  await page.screenshot({ path: path.join(folder, name + '.png'), fullPage: true });
}

export const says = (locator, text) => locator.filter({ hasText: text }).waitFor();

// play runs the scenario that the command line names, and ends the browser.
export async function play(scenarios) {
  try {
    await scenarios[process.argv[2]]();
    assert.deepEqual(faults, [], 'the browser complained');
  } finally {
    await browser.close();
    fs.rmSync(profile, { recursive: true, force: true });
  }
}
