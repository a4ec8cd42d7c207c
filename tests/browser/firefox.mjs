/** Opens every page of the static site in Firefox; prints what they say, metrics and a score as JSON. */

import puppeteer from "puppeteer-core";

const [site, firefox, photo, ...pages] = process.argv.slice(2);
const browser = await puppeteer.launch({ browser: "firefox", executablePath: firefox, headless: true });
const page = await browser.newPage();
const told = { errors: [], metrics: {}, score: null };
page.on("pageerror", (error) => told.errors.push(String(error)));
for (const name of pages) {
  await page.goto(`${site}/${name}`);
  if (name === "live.html" || name === "teach.html") await page.waitForSelector("#progress[data-ready]", { timeout: 120000 });
  else if (name === "laboratory.html") await page.waitForSelector("[data-metric]", { timeout: 120000 });
  else await new Promise((resolve) => setTimeout(resolve, 2000));
  const said = await page.$eval("#said", (element) => element.innerText);
  if (said) told.errors.push(`${name}: ${said}`);
  if (name === "laboratory.html") {
    told.metrics = Object.fromEntries(await page.$$eval("[data-metric]", (found) => found.map((one) => [one.dataset.metric, Number(one.dataset.value)])));
  }
  if (name === "live.html") {
    await (await page.$("#files")).uploadFile(photo);
    await page.waitForFunction(() => document.querySelector("#verdict").dataset.score, { timeout: 120000 });
    told.score = await page.$eval("#verdict", (element) => Number(element.dataset.score));
  }
}
await browser.close();
console.log(JSON.stringify(told));
