import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

/** What a test may need beyond npm packages. */
export type Need = "redis" | "chromium" | "curl" | "python" | "nginx" | "caddy" | "podman" | "rabbitmq";

/** What was found or fetched: variables for the tests, and what is still missing, with the way to get it. */
export interface Provision {
  readonly env: Readonly<Record<string, string>>;
  readonly missing: ReadonlyMap<Need, string>;
}

interface Program {
  /** Any one of each group does. */
  readonly names: readonly (readonly string[])[];
  readonly debian: readonly string[];
  readonly how: string;
  /** Its tests skip themselves without it. */
  readonly optional?: true;
}

/** Where programs are, those included that Debian keeps from people who are not root. */
const PATH = `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin`;

const CHROMIUMS = ["chromium", "chromium-browser", "google-chrome"];

const PROGRAMS: Readonly<Record<Need, Program>> = {
  redis: {
    names: [["redis-server"], ["redis-cli"]],
    debian: ["redis-server"],
    how: "redis-server and redis-cli: apt-get install redis-server, brew install redis, or https://redis.io/download",
  },
  chromium: {
    names: [CHROMIUMS],
    debian: ["chromium"],
    how: "Chromium: apt-get install chromium, or install Chrome and name it in CHANNEL_TEST_CHROMIUM",
  },
  curl: {
    names: [["curl"]],
    debian: ["curl"],
    how: "curl: apt-get install curl, or https://curl.se/download.html",
  },
  python: {
    names: [["python3"]],
    debian: ["python3-venv"],
    how: "Python 3.10 or newer with venv: apt-get install python3-venv, or https://www.python.org/downloads",
  },
  nginx: {
    names: [["nginx"]],
    debian: ["nginx-light"],
    how: "nginx: apt-get install nginx-light, brew install nginx, or https://nginx.org/en/download.html",
  },
  caddy: {
    names: [["caddy"]],
    debian: ["caddy"],
    how: "Caddy: apt-get install caddy, brew install caddy, or https://caddyserver.com/docs/install",
  },
  podman: {
    names: [["podman"], ["runc"]],
    debian: ["podman", "runc"],
    how: "podman and runc: apt-get install podman runc, or https://podman.io/docs/installation",
    optional: true,
  },
  rabbitmq: {
    names: [["rabbitmq-server"], ["epmd"]],
    debian: ["rabbitmq-server"],
    how: "RabbitMQ: apt-get install rabbitmq-server",
    optional: true,
  },
};

const ROOT = join(import.meta.dir, "..");
const CACHE = join(ROOT, "node_modules/.cache/channel");
/** Packages whose own tests are run: their sources, tests included, as PyPI has them. Never a part of this repository. */
const SOURCES = [{ name: "channelstream", version: "0.7.1" }] as const;
const REQUIREMENTS = join(import.meta.dir, "requirements.txt");

/** Looks for what the tests need, and fetches it where that is permitted: programs as root on Debian, Python packages into node_modules. */
export function provide(needs: ReadonlySet<Need>): Provision {
  let absent = [...needs].filter((need) => !isThere(need));
  if (absent.length > 0 && mayInstall()) {
    install(absent.flatMap((need) => PROGRAMS[need].debian));
    absent = absent.filter((need) => !isThere(need));
  }
  const needed = absent.filter((need) => !PROGRAMS[need].optional);
  const missing = new Map(needed.map((need) => [need, PROGRAMS[need].how]));
  const env: Record<string, string> = {};
  if (needs.has("python") && !missing.has("python")) {
    const made = makePython();
    if (made.ok) env.CHANNEL_TEST_PYTHON = made.path;
    else missing.set("python", made.why);
  }
  return { env, missing };
}

function isThere(need: Need): boolean {
  if (need === "chromium" && process.env.CHANNEL_TEST_CHROMIUM) return true;
  if (
    need === "python" &&
    !run(["python3", "-c", "import sys, venv, ensurepip; assert sys.version_info >= (3, 10)"]).ok
  )
    return false;
  return PROGRAMS[need].names.every((group) => group.some((name) => Bun.which(name, { PATH }) !== null));
}

function mayInstall(): boolean {
  return process.getuid?.() === 0 && Bun.which("apt-get") !== null;
}

function install(packages: readonly string[]): void {
  console.log(`Installing ${packages.join(", ")}`);
  // Tests start servers of their own: the package must not start one on the standard port (runlevel 1 starts none).
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  for (const command of [
    ["apt-get", "update", "-qq"],
    ["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...packages],
  ]) {
    const done = run(command, env);
    if (!done.ok) console.log(done.output);
  }
}

type Made = { readonly ok: true; readonly path: string } | { readonly ok: false; readonly why: string };

/** A Python of the tests' own, with the packages of `requirements.txt`, kept until that file changes. */
function makePython(): Made {
  const key = Bun.hash(readFileSync(REQUIREMENTS)).toString(36);
  const folder = join(CACHE, `python-${key}`);
  const path = join(folder, "bin/python");
  const complete = join(folder, "complete");
  if (existsSync(complete)) return fetchSources(path);
  console.log("Installing Python packages from PyPI");
  for (const command of [
    ["python3", "-m", "venv", "--clear", folder],
    [path, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS],
    ["touch", complete],
  ]) {
    const done = run(command);
    if (!done.ok) return { ok: false, why: `Python packages of ${REQUIREMENTS}: ${done.output.trim()}` };
  }
  return fetchSources(path);
}

/** Fetches and unpacks what is missing of `SOURCES`, each into `node_modules/.cache/channel/<name>-<version>`. */
function fetchSources(python: string): Made {
  for (const { name, version } of SOURCES) {
    const folder = join(CACHE, `${name}-${version}`);
    if (existsSync(folder)) continue;
    const work = mkdtempSync(join(CACHE, `${name}-`));
    const fetch = ["download", "--quiet", "--no-deps", "--no-build-isolation", "--no-binary", ":all:"];
    const archive = join(work, `${name}-${version}.tar.gz`);
    for (const command of [
      [python, "-m", "pip", ...fetch, "--dest", work, `${name}==${version}`],
      ["tar", "xzf", archive, "-C", work],
      ["mv", "-T", join(work, `${name}-${version}`), folder],
    ]) {
      const done = run(command);
      // Another run may have been faster.
      if (!done.ok && !existsSync(folder)) {
        rmSync(work, { recursive: true, force: true });
        return { ok: false, why: `the source of ${name} ${version} from PyPI: ${done.output.trim()}` };
      }
    }
    rmSync(work, { recursive: true, force: true });
  }
  return { ok: true, path: python };
}

function run(command: string[], env?: Record<string, string | undefined>): { ok: boolean; output: string } {
  try {
    const done = Bun.spawnSync(command, { stdout: "pipe", stderr: "pipe", ...(env && { env }) });
    return { ok: done.exitCode === 0, output: `${done.stdout}${done.stderr}` };
  } catch (error) {
    return { ok: false, output: String(error) };
  }
}
