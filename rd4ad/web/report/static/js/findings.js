/** The first page: findings, each with its chart. */

import { evidence } from "./charts.js";
import { load } from "./data.js";
import { byId, el } from "./dom.js";
import { start } from "./page.js";

start(async () => {
  const index = await load("index");
  for (const finding of index.findings) {
    const chart = el("div", { class: "chart" });
    byId("cards").append(
      el(
        "article",
        { class: "card" },
        el("strong", {}, finding.claim),
        el("p", { class: "number" }, finding.number),
        el("p", { class: "quiet" }, finding.about),
        chart,
        finding.page ? el("a", { href: finding.page }, "See the evidence") : null,
      ),
    );
    evidence(chart, finding);
  }
});
