/** What was loaded once works offline: files of this site, newest first where there is a network. */

const STORE = "rd4ad-explorer";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== self.location.origin) return;
  event.respondWith(answer(request));
});

/** @param {Request} request */
async function answer(request) {
  const store = await caches.open(STORE);
  const isLarge = /\.(onnx|wasm|mjs)$/.test(new URL(request.url).pathname);
  const kept = await store.match(request, { ignoreSearch: true });
  if (kept && isLarge) return kept; // models and the runtime are named by their build
  try {
    const fresh = await fetch(request);
    if (fresh.ok) await store.put(request, fresh.clone());
    return fresh;
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}
