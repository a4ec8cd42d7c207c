/** What every page has: the menu, and a place for errors. */

import { byId, el, sayError } from "./dom.js";

const PAGES = [
  ["index.html", "Findings"],
  ["leaderboard.html", "Leaderboard"],
  ["category.html", "Category"],
  ["ablations.html", "Ablations"],
  ["laboratory.html", "Laboratory"],
  ["teach.html", "Teach"],
  ["live.html", "Live"],
];

/**
 * Draw the menu and run the page; what goes wrong is said on it.
 * @param {() => Promise<void>} run
 */
export function start(run) {
  const here = location.pathname.split("/").pop() || "index.html";
  const links = PAGES.map(([file, said]) =>
    el("a", { href: file, "aria-current": file === here ? "page" : null }, said),
  );
  byId("menu").append(el("strong", {}, "RD4AD Explorer"), ...links);
  const server = document.querySelector("meta[name=server]")?.getAttribute("content");
  if (server) byId("menu").append(el("a", { href: server }, "With a server"));
  window.addEventListener("unhandledrejection", (event) => sayError(event.reason));
  run().catch(sayError);
}
