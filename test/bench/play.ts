import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Figures, Scene } from "./scene.ts";
import { type Contender, SECRET } from "./servers.ts";

export interface PlayOptions {
  readonly redisUrl: string;
  /** Secret of the tokens that everyone joins with. */
  readonly secret?: string;
  /** Seconds instead of minutes; `quick` with small crowds too. */
  readonly form: "full" | "short" | "quick";
  /** Whether to run the server under the CPU profiler. */
  readonly profile?: boolean;
  /** A command that executes the generator. */
  readonly under?: readonly string[];
}

export interface Played {
  readonly figures: Figures;
  /** Folder of the profile, where one was asked for. */
  readonly profile: string | null;
}

/** A peer may be slow, but what is not over by then hangs. */
const PATIENCE_MS = 15 * 60_000;

/** Starts the server, plays the scene from a process of its own, stops the server. */
export async function playOnce(scene: Scene, contender: Contender, options: PlayOptions): Promise<Played> {
  const { redisUrl, secret = SECRET, form, under = [] } = options;
  const profile = options.profile ? mkdtempSync(join(tmpdir(), "channel-profile-")) : null;
  const server = await contender.start({
    redisUrl,
    env: scene.env ?? {},
    ...(scene.config === undefined ? {} : { config: scene.config }),
    profileInto: profile,
  });
  try {
    const load = Bun.spawn(
      [
        ...[...under, process.execPath, join(import.meta.dir, "load.ts")],
        ...["--scene", scene.name, "--form", form],
        ...["--url", server.url, "--pid", String(server.pid), "--redis-url", redisUrl],
        ...["--dialect", contender.dialect.name, "--secret", secret],
      ],
      { stdin: "ignore", stdout: "pipe", stderr: "pipe", timeout: PATIENCE_MS },
    );
    const [printed, errors, code] = await Promise.all([
      new Response(load.stdout).text(),
      new Response(load.stderr).text(),
      load.exited,
    ]);
    if (code !== 0) throw new Error(`${scene.name} against ${contender.name} failed:\n${errors}`);
    const figures: Figures = JSON.parse(printed);
    return { figures, profile };
  } finally {
    // The profile is written when the server ends.
    await server.stop();
  }
}
