/** A worker asked by promises: every message has a number, and so has its answer. */

export class Asked {
  /**
   * @param {string} file of a module
   * @param {(said: string) => void} [onSaid] called with what the worker says of its progress
   */
  constructor(file, onSaid = () => {}) {
    this.worker = new Worker(file, { type: "module" });
    /** @type {Map<number, {resolve: (value: any) => void, reject: (reason: Error) => void}>} */
    this.waiting = new Map();
    this.number = 0;
    this.worker.onmessage = ({ data }) => {
      if (data.said !== undefined) return onSaid(data.said);
      const asked = this.waiting.get(data.number);
      this.waiting.delete(data.number);
      if (data.error) asked?.reject(new Error(data.error));
      else asked?.resolve(data.answer);
    };
    this.worker.onerror = (event) => {
      for (const asked of this.waiting.values()) asked.reject(new Error(event.message || "the worker failed"));
      this.waiting.clear();
    };
  }

  /**
   * @param {object} message
   * @param {Transferable[]} [transfer]
   * @returns {Promise<any>}
   */
  ask(message, transfer = []) {
    this.number += 1;
    const number = this.number;
    return new Promise((resolve, reject) => {
      this.waiting.set(number, { resolve, reject });
      this.worker.postMessage({ ...message, number }, transfer);
    });
  }
}
