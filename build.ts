/**
 * Compiles the executable for this machine: `npm run build`, or `npm run build -- --outfile=PATH --platform=linux-arm64`
 * (platforms: deploy/release/platforms.ts). `npm run release` makes all packages.
 */
import { parseArgs } from "node:util";
import { compile, megabytes } from "./deploy/release/compile.ts";
import { PLATFORMS } from "./deploy/release/platforms.ts";

const { outfile, platform } = parseArgs({
  options: {
    outfile: { type: "string", default: "dist/channel" },
    platform: { type: "string" },
  },
}).values;

if (platform !== undefined && !Object.hasOwn(PLATFORMS, platform)) {
  console.error(`no platform ${JSON.stringify(platform)}: ${Object.keys(PLATFORMS).join(", ")}`);
  process.exit(2);
}
await compile(outfile, platform === undefined ? undefined : PLATFORMS[platform]?.bun);
console.log(`${outfile} (${megabytes(outfile)} MB)`);
