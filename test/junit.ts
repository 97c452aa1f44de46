/** What a run of `bun test` came to. */
export interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** `file: name` of each failure. */
  readonly failures: readonly string[];
}

/**
 * Reads the JUnit report that `bun test` writes. A file that could not be loaded is not in it, and after a crash there
 * is none at all: each of `files` that it lacks is a failure.
 */
export function readReport(xml: string, files: readonly string[]): Outcome {
  const count = (name: string) =>
    Number(new RegExp(`<testsuites [^>]*\\b${name}="(\\d+)"`).exec(xml)?.[1] ?? 0);
  const reported = new Set(
    [...xml.matchAll(/<testsuite name="[^"]*" file="([^"]*)"/g)].map(([, file]) => text(file)),
  );
  const silent = files.filter((file) => !reported.has(file));
  const failures = [
    ...xml.matchAll(/<testcase name="([^"]*)" classname="([^"]*)"[^>]* file="([^"]*)"[^>]*[^/]>\s*<failure/g),
  ];
  return {
    passed: count("tests") - count("failures") - count("skipped"),
    failed: count("failures") + silent.length,
    skipped: count("skipped"),
    failures: [
      ...failures.map(
        ([, name, group, file]) => `${text(file)}: ${[text(group), text(name)].filter(Boolean).join(" > ")}`,
      ),
      ...silent.map((file) => `${file}: did not run to its end`),
    ],
  };
}

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function text(xml = ""): string {
  return xml.replace(/&(?:#(\d+)|(\w+));/g, (whole, code, name) =>
    code ? String.fromCodePoint(Number(code)) : (ENTITIES[name] ?? whole),
  );
}
