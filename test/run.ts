/**
 * `npm test`: everything. `npm test -- unit`, `integration`, `bench`, `browser`, or the path of a test file or a folder of
 * them: only that.
 * Fetches what the tests need, and ends with the line `N passed, M failed`.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { type Outcome, readReport } from "./junit.ts";
import { type Need, provide } from "./needs.ts";

const ROOT = join(import.meta.dir, "..");
const BIN = join(ROOT, "node_modules/.bin");

/** A process that runs longer than this hangs. */
const HANGS_MS = 30 * 60_000;

/** A network of its own, loopback only: no port is taken by another process that runs at the same time. */
const IN_OWN_NETWORK = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"];

interface Suite {
  readonly needs: readonly Need[];
  /** For each test that sets no limit of its own, in ms: what takes longer hangs, on however busy a machine. */
  readonly timeout: number;
  /** Files that are run at a time, each in a process and a network of its own. Default: all in one process, one by one. */
  readonly atOnce?: number;
  /** The files that take longest, to be started first. */
  readonly longest?: readonly string[];
}

const SUITES: Readonly<Record<string, Suite>> = {
  unit: { needs: [], timeout: 120_000 },
  integration: {
    needs: ["redis", "chromium", "curl", "python", "nginx", "caddy", "podman", "rabbitmq"],
    timeout: 30_000,
    // Many wait for a time to pass, and leave a processor free.
    atOnce: 2,
    longest: [
      "deploy/release",
      "recovery-faults",
      "wild/longpoll",
      "embedded-stays",
      "siege/standstill",
      "alive",
      "siege/inbound",
      "siege/redis",
    ],
  },
  bench: { needs: ["redis"], timeout: 60_000 },
  browser: { needs: ["redis", "chromium", "curl", "python", "rabbitmq"], timeout: 60_000 },
};

const CHECKS: readonly (readonly [string, readonly string[]])[] = [
  ["type check", [join(BIN, "tsc"), "--noEmit"]],
  ["lint and format", [join(BIN, "biome"), "check", "--error-on-warnings", "."]],
];

interface Line {
  readonly name: string;
  readonly outcome: Outcome;
  readonly seconds: number;
}

const lines: Line[] = [];

async function timed(name: string, work: () => Promise<Outcome>): Promise<boolean> {
  console.log(`\n# ${name}`);
  const start = performance.now();
  const outcome = await work();
  lines.push({ name, outcome, seconds: (performance.now() - start) / 1000 });
  return outcome.failed === 0;
}

function one(passed: boolean, failure: string): Outcome {
  return { passed: passed ? 1 : 0, failed: passed ? 0 : 1, skipped: 0, failures: passed ? [] : [failure] };
}

async function runs(
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<boolean> {
  const child = Bun.spawn([...command], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"],
    timeout: HANGS_MS,
  });
  return (await child.exited) === 0;
}

const build = () =>
  timed("executable", async () =>
    one(await runs([process.execPath, "build.ts"]), "build.ts: does not compile"),
  );

async function runSuite(
  suite: string,
  files: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const { timeout, atOnce = 1, longest = [] } = SUITES[suite] ?? { timeout: 0 };
  const folder = mkdtempSync(join(tmpdir(), "channel-report-"));
  await timed(suite, async () => {
    if (atOnce === 1 || files.length === 1 || !hasNetworks()) {
      return runFiles(suite, files, timeout, join(folder, "junit.xml"), (command) => runs(command, env));
    }
    const rank = (file: string): number => {
      const at = longest.findIndex((name) => file.endsWith(`${name}.test.ts`));
      return at < 0 ? longest.length : at;
    };
    const waiting = [...files].sort((a, b) => rank(a) - rank(b));
    const outcomes: Outcome[] = [];
    const worker = async (): Promise<void> => {
      for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
        const report = join(folder, `${file.replaceAll("/", "-")}.xml`);
        const run = (command: readonly string[]) => runsApart(command, env, `${report}.log`);
        outcomes.push(await runFiles(suite, [file], timeout, report, run));
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    return sumOf(outcomes);
  });
  rmSync(folder, { recursive: true });
}

/** One `bun test` over some files. */
async function runFiles(
  suite: string,
  files: readonly string[],
  timeout: number,
  report: string,
  run: (command: readonly string[]) => Promise<boolean>,
): Promise<Outcome> {
  const options = [`--timeout=${timeout}`, "--reporter=junit", `--reporter-outfile=${report}`];
  const good = await run([process.execPath, "test", ...options, ...files.map((file) => `./${file}`)]);
  const outcome = readReport(existsSync(report) ? readFileSync(report, "utf8") : "", files);
  if (good || outcome.failed > 0) return outcome;
  const where = files.length === 1 ? files[0] : suite;
  return { ...outcome, failed: 1, failures: [`${where}: an error outside of its tests, see above`] };
}

function hasNetworks(): boolean {
  return Bun.which("unshare") !== null && Bun.spawnSync([...IN_OWN_NETWORK, "true"]).exitCode === 0;
}

/**
 * As `runs`, in a network of its own; what it prints is printed at its end, in one piece.
 * @param output a file for that: the end of a pipe never comes while a process that a test has left behind holds it
 */
async function runsApart(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  output: string,
): Promise<boolean> {
  const child = Bun.spawn(["sh", "-c", 'exec "$@" 2>&1', "sh", ...IN_OWN_NETWORK, ...command], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", Bun.file(output), "inherit"],
    timeout: HANGS_MS,
  });
  const status = await child.exited;
  console.log(await Bun.file(output).text());
  return status === 0;
}

function sumOf(outcomes: readonly Outcome[]): Outcome {
  const sum = (key: "passed" | "failed" | "skipped") =>
    outcomes.reduce((total, each) => total + each[key], 0);
  return {
    passed: sum("passed"),
    failed: sum("failed"),
    skipped: sum("skipped"),
    failures: outcomes.flatMap(({ failures }) => failures),
  };
}

/** The test files under a folder. */
function filesUnder(folder: string): string[] {
  return [...new Bun.Glob(`${folder}/**/*.test.ts`).scanSync({ cwd: ROOT })].sort();
}

/** The test files asked for, by suite; one line on what is possible where an argument is neither. */
function chosen(args: readonly string[]): Map<string, string[]> | string {
  const files = new Map<string, string[]>();
  for (const arg of args) {
    const path = Object.keys(SUITES).includes(arg) ? `test/${arg}` : relative(ROOT, resolve(arg));
    const suite = Object.keys(SUITES).find((name) => `${path}/`.startsWith(`test/${name}/`));
    const found = statSync(join(ROOT, path), { throwIfNoEntry: false });
    if (suite === undefined || found === undefined) {
      return `unknown argument ${JSON.stringify(arg)}: ${Object.keys(SUITES).join(", ")}, or the path of a test file or a folder of them`;
    }
    const here = found.isDirectory() ? filesUnder(path) : [path];
    files.set(suite, [...new Set([...(files.get(suite) ?? []), ...here])]);
  }
  return files;
}

function summarize(): number {
  console.log("");
  for (const { name, outcome, seconds } of lines) {
    const skipped = outcome.skipped > 0 ? `, ${outcome.skipped} skipped` : "";
    const counts = `${outcome.passed} passed, ${outcome.failed} failed${skipped}`;
    console.log(
      `${outcome.failed > 0 ? "FAIL" : "ok  "}  ${name.padEnd(18)} ${counts.padEnd(36)} ${seconds.toFixed(1)} s`,
    );
    for (const failure of outcome.failures) console.log(`        ${failure}`);
  }
  const sum = (key: "passed" | "failed") => lines.reduce((total, { outcome }) => total + outcome[key], 0);
  console.log(`\n${sum("passed")} passed, ${sum("failed")} failed`);
  return sum("failed") === 0 ? 0 : 1;
}

async function main(args: readonly string[]): Promise<number> {
  const files = chosen(args.length > 0 ? args : Object.keys(SUITES));
  if (typeof files === "string") {
    console.error(files);
    return 2;
  }
  const { env, missing } = provide(new Set([...files.keys()].flatMap((suite) => SUITES[suite]?.needs ?? [])));
  if (args.length === 0) {
    for (const [name, command] of CHECKS)
      await timed(name, async () => one(await runs(command), `${name}: see above`));
  }
  const built = [...files.keys()].some((suite) => suite !== "unit") ? await build() : true;
  for (const [suite, paths] of files) {
    const lacking = (SUITES[suite]?.needs ?? []).flatMap((need) => missing.get(need) ?? []);
    if (suite !== "unit" && !built) lacking.push("the executable");
    // Without a name bun test would run whatever it finds.
    if (paths.length === 0) lacking.push("test files");
    if (lacking.length === 0) await runSuite(suite, paths, env);
    else {
      const failures = lacking.map((what) => `not run for want of ${what}`);
      await timed(suite, async () => ({
        passed: 0,
        failed: Math.max(1, paths.length),
        skipped: 0,
        failures,
      }));
    }
  }
  return summarize();
}

process.exit(await main(process.argv.slice(2)));
