import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../redis-process.ts";
import { type Program, startProgram } from "./program.ts";

/** Where a Tangram of its own will run: a folder with its `tangram.toml`, and free ports written into it. */
export interface Installation {
  readonly folder: string;
  /** The `tangram.toml`. */
  readonly config: string;
  /** Address of its page. */
  readonly url: string;
  /** Address of its own Channel service. */
  readonly serviceUrl: string;
  readonly servicePort: number;
  remove(): void;
}

export interface InstallationOptions {
  readonly redisUrl: string;
  readonly jwtSecret: string;
  /** Address of the service that pages are sent to; without it Tangram's own. */
  readonly publicUrl?: string;
}

const START_MS = 20_000;

/** A map of nothing, so that the page draws one without asking the world for it. */
const EMPTY_STYLE = { version: 8, sources: {}, layers: [] };

/** Takes ports, and writes the configuration that Tangram and a hub in place of its service read alike. */
export function installTangram(options: InstallationOptions): Installation {
  const folder = mkdtempSync(join(tmpdir(), "channel-tangram-"));
  const config = join(folder, "tangram.toml");
  const pagePort = freePort();
  const servicePort = freePort();
  const publicUrl =
    options.publicUrl === undefined ? "" : `public_url = ${JSON.stringify(options.publicUrl)}\n`;
  writeFileSync(join(folder, "style.json"), JSON.stringify(EMPTY_STYLE));
  writeFileSync(
    config,
    `[core]
redis_url = ${JSON.stringify(options.redisUrl)}
plugins = ["tangram_system"]

[server]
port = ${pagePort}

[channel]
port = ${servicePort}
jwt_secret = ${JSON.stringify(options.jwtSecret)}
${publicUrl}
[map]
style = "style.json"
`,
  );
  return {
    folder,
    config,
    url: `http://127.0.0.1:${pagePort}`,
    serviceUrl: `http://127.0.0.1:${servicePort}`,
    servicePort,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/**
 * Runs `tangram serve` and waits until its page and its own service answer. `python` is an interpreter that has
 * `tangram-core` and `tangram-system`. Rejects with what it printed where it doesn't come up.
 */
export async function startTangram(python: string, installation: Installation): Promise<Program> {
  const { folder, config, url, serviceUrl } = installation;
  const program = startProgram([python, "-m", "tangram_core", "serve", "--config", config], {
    cwd: folder,
    env: { COLUMNS: "200", NO_COLOR: "1", TZ: "UTC" },
  });
  const deadline = performance.now() + START_MS;
  const answers = async (address: string, init?: RequestInit): Promise<boolean> => {
    try {
      return (await fetch(address, init)).ok;
    } catch {
      return false;
    }
  };
  const token = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"channel":"system"}',
  };
  while (!((await answers(`${url}/manifest.json`)) && (await answers(`${serviceUrl}/token`, token)))) {
    if (!program.isRunning || performance.now() > deadline) {
      await program.stop();
      throw new Error(`tangram did not start:\n${program.lines.all.join("\n")}`);
    }
    await Bun.sleep(50);
  }
  return program;
}
