/** ONNX Runtime, from beside the pages or from where they link it; for workers. */

/** @type {Promise<Record<string, {url: string, integrity: string}>> | null} */
let sources = null;

/**
 * Return where a file of the runtime is: beside the pages, or, where they link a CDN, a copy of what came from there and has
 * the digest that it must have.
 * @param {string} file
 * @returns {Promise<string>}
 */
async function source(file) {
  const here = new URL(`../vendor/${file}`, import.meta.url).href;
  sources ??= fetch(new URL("../vendor/sources.json", import.meta.url)).then((answer) => answer.json());
  const linked = (await sources)[file];
  if (!linked) return here;
  const answer = await fetch(linked.url, { integrity: linked.integrity });
  if (!answer.ok) throw new Error(`the runtime cannot be loaded (${answer.status})`);
  const kind = file.endsWith(".wasm") ? "application/wasm" : "text/javascript";
  return URL.createObjectURL(new Blob([await answer.arrayBuffer()], { type: kind }));
}

/**
 * Return the runtime, ready for sessions.
 * @param {string} engine "wasm" or "webgpu"
 * @returns {Promise<any>}
 */
export async function runtime(engine) {
  const build = engine === "webgpu" ? "ort-wasm-simd-threaded.asyncify" : "ort-wasm-simd-threaded";
  const ort = await import(await source(engine === "webgpu" ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs"));
  ort.env.wasm.wasmPaths = { mjs: await source(`${build}.mjs`), wasm: await source(`${build}.wasm`) };
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  return ort;
}
