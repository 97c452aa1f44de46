import { readFileSync } from "node:fs";
import wasm from "./scan.wasm" with { type: "file" };

/** What `run` of scan.wat returns. */
const BROKEN = 0;
const WHOLE = 2;
const TOO_DEEP = 3;

/** Bytes that the scanner reads in one step. */
export const BLOCK = 64;
/** Address of the window in the scanner's memory; the stack is before it. */
const WINDOW_START = 65_536;
/** Maximum bytes of text in one call: one more block of text, and white space for two, must fit after them. */
export const WINDOW = 64 * 1024 - 4 * BLOCK;

/** Whether valid UTF-8 text is JSON; `undefined` if it is nested too deeply for the scanner. Never throws. */
export type Scanner = (text: Uint8Array) => boolean | undefined;

/**
 * Creates a scanner, which uses 128 KiB of memory for texts of any size. `undefined` where the engine can't run it: on x86 it
 * needs AVX. `window` is a multiple of BLOCK; tests use less than WINDOW.
 */
export function openScanner(window = WINDOW): Scanner | undefined {
  const instance = instantiate(readFileSync(wasm));
  if (instance === undefined) return undefined;
  const { run, memory } = instance.exports;
  if (typeof run !== "function" || !(memory instanceof WebAssembly.Memory)) return undefined;
  const bytes = new Uint8Array(memory.buffer);

  return (text) => {
    for (let start = 0; ; start += window) {
      const left = text.length - start;
      const length = Math.min(left, window);
      const available = Math.min(left, window + BLOCK);
      const isAll = available === text.length;
      bytes.set(isAll ? text : text.subarray(start, start + available), WINDOW_START);
      const verdict: number = run(length, available, start === 0 ? 1 : 0);
      if (verdict === BROKEN) return false;
      if (verdict === TOO_DEEP) return undefined;
      if (length === left) return verdict === WHOLE;
    }
  };
}

function instantiate(module: BufferSource): WebAssembly.Instance | undefined {
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(module));
  } catch {
    return undefined;
  }
}
