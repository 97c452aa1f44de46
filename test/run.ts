/**
 * `npm test`: everything. `npm test -- unit`, `integration`, `bench`, `browser`, or the path of a test file: only that.
 * Fetches what the tests need, and ends with the line `N passed, M failed`.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { type Outcome, readReport } from "./junit.ts";
import { type Need, provide } from "./needs.ts";

const ROOT = join(import.meta.dir, "..");
const BIN = join(ROOT, "node_modules/.bin");

/** A suite that runs longer than this hangs. */
const SUITE_MS = 30 * 60_000;

interface Suite {
  readonly needs: readonly Need[];
  /** For each test that sets no limit of its own, in ms: what takes longer hangs, on however busy a machine. */
  readonly timeout: number;
}

const SUITES: Readonly<Record<string, Suite>> = {
  unit: { needs: [], timeout: 120_000 },
  integration: {
    needs: ["redis", "chromium", "curl", "python", "nginx", "caddy", "podman"],
    timeout: 30_000,
  },
  bench: { needs: ["redis"], timeout: 60_000 },
  browser: { needs: ["redis", "chromium", "curl", "python"], timeout: 60_000 },
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
    timeout: SUITE_MS,
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
  const folder = mkdtempSync(join(tmpdir(), "channel-report-"));
  const report = join(folder, "junit.xml");
  const options = [`--timeout=${SUITES[suite]?.timeout}`, "--reporter=junit", `--reporter-outfile=${report}`];
  await timed(suite, async () => {
    const paths = files.map((file) => `./${file}`);
    const good = await runs([process.execPath, "test", ...options, ...paths], env);
    const outcome = readReport(existsSync(report) ? readFileSync(report, "utf8") : "", files);
    if (good || outcome.failed > 0) return outcome;
    return { ...outcome, failed: 1, failures: [`${suite}: bun test failed without saying where`] };
  });
  rmSync(folder, { recursive: true });
}

function filesOf(suite: string): string[] {
  return [...new Bun.Glob(`test/${suite}/**/*.test.ts`).scanSync({ cwd: ROOT })].sort();
}

/** The test files asked for, by suite; one line on what is possible where an argument is neither. */
function chosen(args: readonly string[]): Map<string, string[]> | string {
  const files = new Map<string, string[]>();
  for (const arg of args) {
    const path = relative(ROOT, resolve(arg));
    const suite = Object.keys(SUITES).find((name) => arg === name || path.startsWith(`test/${name}/`));
    if (suite === undefined || (arg !== suite && !existsSync(resolve(arg)))) {
      return `unknown argument ${JSON.stringify(arg)}: ${Object.keys(SUITES).join(", ")}, or the path of a test file`;
    }
    files.set(suite, [...(files.get(suite) ?? []), ...(arg === suite ? filesOf(suite) : [path])]);
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
