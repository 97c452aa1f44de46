import type { Positions, Unresolved } from "./positions.ts";

/** How long a position that another server has counted already is waited for, and the time between two looks, in ms. */
const TIMEOUT = 1000;
const INTERVAL = 20;

/** The number of a position, which may be ahead of what this server has received; `unknown position` if it stays so for 1 s. */
export async function awaitPosition(
  positions: Positions,
  position: string,
): Promise<number | Exclude<Unresolved, "ahead">> {
  for (let waited = 0; ; waited += INTERVAL) {
    const seq = positions.resolve(position);
    if (seq !== "ahead") return seq;
    if (waited >= TIMEOUT) return "unknown position";
    await Bun.sleep(INTERVAL);
  }
}
