/** Compiles the JSON scanner: `npx bun test/compile-scan.ts` writes `src/hub/json/scan.wasm` from `scan.wat`. */
import { join } from "node:path";
import openWabt from "wabt";

const FOLDER = join(import.meta.dir, "../src/hub/json");

/** Where the compiled scanner is. */
export const SCAN_WASM = join(FOLDER, "scan.wasm");

/** The bytes that `scan.wat` compiles to. Throws with line and column where it is malformed. */
export async function compileScan(): Promise<Uint8Array> {
  const wabt = await openWabt();
  const module = wabt.parseWat("scan.wat", await Bun.file(join(FOLDER, "scan.wat")).text(), { simd: true });
  module.validate();
  return module.toBinary({}).buffer;
}

if (import.meta.main) await Bun.write(SCAN_WASM, await compileScan());
