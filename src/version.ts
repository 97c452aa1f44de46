import { version } from "../package.json";

// build.ts puts the commit here; a run from source has none.
declare const BUILD_COMMIT: string;

export const VERSION = version;

/** `0.2.0 (commit 1a2b3c4, Bun 1.4.5)`. */
export function describeVersion(): string {
  const origin = typeof BUILD_COMMIT === "string" ? `commit ${BUILD_COMMIT}` : "from source";
  return `${version} (${origin}, Bun ${Bun.version})`;
}
