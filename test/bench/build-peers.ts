/** `npm run bench:peers`: builds the peers that come from other registries into node_modules/.cache; says what is still missing. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { BUILT as CENTRIFUGO, MODULE } from "./peers/centrifugo.ts";
import { BUILT as PHOENIX, SOURCE } from "./peers/phoenix.ts";
import { peers } from "./peers.ts";

await install("go", [["go", "install", MODULE]], { GOBIN: CENTRIFUGO });
await install(
  "mix",
  [
    ["mix", "local.hex", "--if-missing", "--force"],
    ["mix", "local.rebar", "--if-missing", "--force"],
    ["mix", "deps.get"],
    ["mix", "compile"],
  ],
  { MIX_ENV: "prod", MIX_BUILD_PATH: PHOENIX, MIX_DEPS_PATH: join(PHOENIX, "deps") },
);
for (const { name, lacks } of peers) {
  const lacking = lacks();
  console.log(`${name}: ${lacking === null ? "ready" : `not ready: ${lacking}`}`);
}

/** Runs the commands in the Phoenix application's folder, each with its own output; none if the tool is not on the path. */
async function install(
  tool: string,
  commands: readonly (readonly string[])[],
  env: Readonly<Record<string, string>>,
): Promise<void> {
  if (Bun.which(tool) === null) return;
  mkdirSync(PHOENIX, { recursive: true });
  for (const command of commands) {
    console.log(`$ ${command.join(" ")}`);
    const child = Bun.spawn([...command], {
      cwd: SOURCE,
      env: { ...process.env, ...env },
      stdio: ["ignore", "inherit", "inherit"],
    });
    await child.exited;
  }
}
