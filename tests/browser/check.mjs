// Drives the page through its states; fails when one of them is not shown as it must be.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { Site, until } from "./site.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SIZES = [[1280, 900], [390, 844]];
const SCHEMES = ["light", "dark"];
const QUICK = "[sync]\npoll_interval = \"1s\"\nsettle = \"1s\"\ngive_up = \"3s\"\nlease = \"5s\"\n";
// A page that says so much is read: a picture of less is one of a mistake.
const LEAST_BYTES = 2_000;

const site = await Site.start();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
const faults = [];
const fault = (what) => { faults.push(what); console.log(`  ✗ ${what}`); };
const check = (holds, what) => { if (!holds) fault(what); };

const open = async (url, options = {}) => {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", (line) => { if (["error", "warning"].includes(line.type())) fault(`console: ${line.text()}`); });
  page.on("pageerror", (error) => fault(`error on the page: ${error}`));
  await page.goto(url);
  return page;
};

// Waits until the verdict reads so, then looks at it in every size and scheme.
const state = async (name, url, words) => {
  console.log(`${name}`);
  const verdict = async () => {
    const text = await (await fetch(url)).text();
    return words.test(/<h1 id="verdict">([^<]*)/.exec(text)?.[1] ?? "") && text;
  };
  const text = await until(`${name}: ${words}`, verdict, 120_000);
  check(text.length > LEAST_BYTES, `${name}: only ${text.length} bytes`);
  for (const [width, height] of SIZES) {
    for (const colorScheme of SCHEMES) {
      const page = await open(url, { viewport: { width, height }, colorScheme });
      const shown = `${name}, ${width} px, ${colorScheme}`;
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      check(wide <= width, `${shown}: ${wide} px wide`);
      await page.evaluate(axe);
      const { violations, passes } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      check(passes.length > 10, `${shown}: axe looked at nothing`);
      for (const { id, impact, nodes } of violations) {
        fault(`${shown}: axe ${impact} ${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 120)).join(" | ")}`);
      }
      await page.screenshot({ path: `pictures/${name}-${width}-${colorScheme}.png`, fullPage: true });
      await page.context().close();
    }
  }
  console.log(`  ${/<h1 id="verdict">([^<]*)/.exec(text)[1]}; ${text.length} bytes`);
};

const database = async (name) => {
  await site.migrated(name);
  return name;
};

const up = async (name, vendorOptions, lines = QUICK) => {
  await database(name);
  const vendor = await site.vendor(...vendorOptions);
  const configuration = site.configuration(name, vendor, lines);
  site.koresync(configuration, "-q", "migrate");
  const daemon = await site.daemon(configuration);
  return { vendor, configuration, daemon, url: `${daemon.url}/` };
};

const down = async ({ daemon, vendor }) => {
  await site.end(daemon.child);
  await site.end(vendor.child);
};

const asOf = (page) => page.locator(".verdict time").getAttribute("datetime");

const use = async (url) => {
  console.log("used");
  const page = await open(url, { viewport: { width: 1280, height: 900 } });
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  // It refreshes by itself, and keeps who uses the keyboard where they are.
  const first = await asOf(page);
  const link = page.locator(".grid td a").first();
  await link.focus();
  const focused = await page.evaluate(() => document.activeElement.outerHTML.slice(0, 40));
  await until("a refresh", async () => (await asOf(page)) !== first, 15_000);
  check((await page.evaluate(() => document.activeElement.outerHTML.slice(0, 40))) === focused, "the focus was lost");
  // Hidden it rests, shown again it looks at once.
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  let asked = 0;
  page.on("request", (request) => { if (request.url() === url) asked += 1; });
  await hide(true);
  await page.waitForTimeout(500);
  asked = 0;
  await page.waitForTimeout(7_000);
  check(asked === 0, `hidden, it asked ${asked} times`);
  await hide(false);
  await until("a look when shown again", () => asked > 0, 3_000);
  await page.getByRole("button", { name: "Stop refreshing" }).click();
  asked = 0;
  await page.waitForTimeout(6_000);
  check(asked === 0, `stopped, it asked ${asked} times`);
  await page.getByRole("button", { name: "Go on refreshing" }).click();
  // From a cell to its window, and the command copied.
  await page.locator(".grid td.v a").first().click();
  if (page.url().includes("/windows?")) await page.locator("td a[href^='/windows/']").first().click();
  await page.waitForURL(/\/windows\/\d+$/);
  check(/^Window \d+ verified$/.test((await page.locator("h1").innerText()).trim()), "no window's page");
  const command = await page.locator("#command-1").innerText();
  await page.getByRole("button", { name: "Copy" }).first().click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  check(copied === command && command.startsWith("koresync verify --stream support --from "), `copied: ${copied}`);
  await page.screenshot({ path: "pictures/window.png", fullPage: true });
  await page.goBack();
  await page.getByRole("link", { name: "support", exact: true }).first().click();
  await page.waitForURL(/\/streams\/support/);
  await page.screenshot({ path: "pictures/stream.png", fullPage: true });
  await page.keyboard.press("Tab");
  check((await page.evaluate(() => document.activeElement.className)) === "skip", "the first stop is not the way past the links");
  await page.context().close();
  // Without a script everything is there but the buttons.
  const plain = await open(url, { javaScriptEnabled: false });
  check((await plain.locator(".grid td a").count()) > 20, "without a script there is no grid");
  check((await plain.locator("noscript meta, meta[http-equiv=refresh]").count()) > 0, "without a script nothing reloads");
  await plain.context().close();
};

try {
  {
    const empty = await up("empty", ["--contacts", "0", "--still", "--requests-per-minute", "0"]);
    await state("empty", empty.url, /^support is complete through /);
    await down(empty);
  }
  {
    const syncing = await up("syncing", ["--contacts", "20000", "--requests-per-minute", "60"]);
    await state("syncing", syncing.url, /[3-9] % of the history of support is read/);
    await down(syncing);
  }
  const healthy = await up("healthy", ["--contacts", "3000", "--requests-per-minute", "0"]);
  await state("healthy", healthy.url, /^support is complete through /);
  await use(healthy.url);
  {
    const line = ["backfill", "--stream", "support", "--from", new Date(Date.now() - 20 * 86_400_000).toISOString(),
      "--to", new Date(Date.now() - 86_400_000).toISOString(), "--window", "10m", "--detach"];
    // So that it takes its time.
    site.psql("healthy", "update koresync.api_budgets set requests_per_minute = 60");
    const id = site.koresync(healthy.configuration, ...line).trim();
    const has = async () => (await (await fetch(healthy.url)).text()).includes(`Backfill ${id}`);
    await until("a backfill on the page", has);
    await state("backfilling", healthy.url, /support/);
    site.koresync(healthy.configuration, "backfill", "cancel", id);
  }
  process.kill(healthy.vendor.child.pid, "SIGSTOP");
  await state("behind", healthy.url, /support is complete only through .*behind by/);
  process.kill(healthy.vendor.child.pid, "SIGCONT");
  site.stopDatabase();
  await state("failing-database", healthy.url, /^The warehouse is out of reach: /);
  site.startDatabase();
  // What failed meanwhile is tried again in its time; the page looks at once.
  await until("the database again", async () => !(await (await fetch(healthy.url)).text()).includes("out of reach"));
  await down(healthy);
  {
    const failing = await up("failing", ["--contacts", "300", "--requests-per-minute", "0", "--fault", "http_500=1"]);
    await state("failing-vendor", failing.url, /windows? fails?/);
    await down(failing);
  }
  {
    const bad = ["--fault", "malformed=0.05", "--fault", "drifted=0.05"];
    const quarantine = await up("quarantine", ["--contacts", "2000", "--requests-per-minute", "0", ...bad]);
    await state("quarantine", quarantine.url, /^support is complete through /);
    const text = await (await fetch(quarantine.url)).text();
    check(text.includes("koresync quarantine retry"), "nothing is told of quarantine");
    await down(quarantine);
  }
} catch (error) {
  fault(error.stack ?? String(error));
} finally {
  await browser.close();
  await site.stop();
}
console.log(faults.length === 0 ? "\nThe page is well in every state; look at target/browser/pictures." : `\n${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
