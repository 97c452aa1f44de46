import { BLOCK, BROKEN, scanModule, TOO_DEEP, WHOLE, WINDOW, WINDOW_START } from "./scan.ts";

/** Whether the text, valid UTF-8, is JSON; `undefined`: too many containers are open at once to tell. Never throws. */
export type Scanner = (text: Uint8Array) => boolean | undefined;

/**
 * Makes a scanner, which holds 128 KiB whatever it is given, or `undefined` where the engine can't run it: on x86 it
 * needs AVX. `window` is a multiple of BLOCK; less than WINDOW is for tests.
 */
export function openScanner(window = WINDOW): Scanner | undefined {
  const instance = instantiated(scanModule());
  if (instance === undefined) return undefined;
  const { run, memory } = instance.exports;
  if (typeof run !== "function" || !(memory instanceof WebAssembly.Memory)) return undefined;
  const room = new Uint8Array(memory.buffer);

  return (text) => {
    for (let start = 0; ; start += window) {
      const left = text.length - start;
      const length = Math.min(left, window);
      const available = Math.min(left, window + BLOCK);
      const isAll = available === text.length;
      room.set(isAll ? text : text.subarray(start, start + available), WINDOW_START);
      const verdict: number = run(length, available, start === 0 ? 1 : 0);
      if (verdict === BROKEN) return false;
      if (verdict === TOO_DEEP) return undefined;
      if (length === left) return verdict === WHOLE;
    }
  };
}

function instantiated(module: BufferSource): WebAssembly.Instance | undefined {
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(module));
  } catch {
    return undefined;
  }
}
