// Drives one Chromium for all tests: a line of JSON is a command, a line of JSON its answer. Ends when
// the tests do: then nobody holds its standard input open.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.DROWSE_TEST_CHROMIUM}/`);
const { chromium } = require("playwright-core");
const axe = require("axe-core").source;

const PATIENCE = 30_000;

const browser = await chromium.launch({
  executablePath: process.env.DROWSE_CHROMIUM ?? "/usr/bin/chromium",
  args: [
    // The tests run as root, in namespaces of their own.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
    // Letters look the same on every machine that has the same fonts.
    "--font-render-hinting=none",
  ],
});

const tabs = new Map();
let opened = 0;

const commands = {
  // A window of its own, with what is asked for: color scheme, language, scripts…
  async open({ options }) {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    const seen = [];
    page.on("request", (request) => seen.push(`${request.method()} ${request.url()}`));
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      const text = message.text();
      // A browser says of each answer that is no success that it is none.
      if (message.type() === "error" && !text.startsWith("Failed to load resource")) complaints.push(text);
    });
    opened += 1;
    const tab = String(opened);
    tabs.set(tab, { context, page, seen, complaints });
    return tab;
  },
  // The status of the answer.
  async go({ page, url }) {
    const answer = await page.goto(url, { waitUntil: "domcontentloaded" });
    return answer?.status() ?? 0;
  },
  async evaluate({ page, script }) {
    return page.evaluate(script);
  },
  // Until the script is true of the page, or of the one that it has gone on to. Playwright's own way is
  // an `eval` within the page, which its policy forbids.
  async until({ page, script }) {
    const deadline = Date.now() + PATIENCE;
    let last;
    while (Date.now() < deadline) {
      try {
        last = await page.evaluate(script);
        if (last) return;
      } catch (error) {
        // It is going on to another page.
        last = error;
      }
      await new Promise((done) => setTimeout(done, 20));
    }
    throw new Error(`it did not become true: ${last}; the page: ${await page.content()}`);
  },
  // Without scripts in the page.
  async sees({ page, text }) {
    await page.getByText(text).first().waitFor();
  },
  async click({ page, selector }) {
    await page.click(selector);
  },
  // Requests for what the pattern matches get no answer, or are refused.
  async block({ page, pattern, how }) {
    await page.route(new RegExp(pattern), (route) => (how === "refuse" ? route.abort() : undefined));
  },
  async requests({ seen }) {
    return seen;
  },
  async complaints({ complaints }) {
    return complaints;
  },
  // What stands in the way of people who see, hear or point differently.
  async audit({ page }) {
    await page.evaluate(axe);
    const { violations } = await page.evaluate("axe.run()");
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.failureSummary + " " + node.html).join("; ")}`);
  },
  async picture({ page, path }) {
    // Where everything that moves has come to rest.
    await page.evaluate("document.fonts.ready");
    await page.screenshot({ path, animations: "disabled" });
  },
  async close({ context, tab }) {
    await context.close();
    tabs.delete(tab);
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const { id, command, tab, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = { id, ok: (await commands[command]({ ...tabs.get(tab), tab, ...rest })) ?? null };
  } catch (error) {
    answer = { id, error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
lines.on("close", async () => {
  await browser.close();
  process.exit(0);
});
