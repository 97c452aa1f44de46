const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** `12,345`. */
export function amount(value: number): string {
  return whole.format(value);
}

/** `12.3K`; below 10 with one decimal. */
export function compact(value: number): string {
  return Math.abs(value) < 10 ? String(Math.round(value * 10) / 10) : short.format(value);
}

/** `1.5 MB`, `0.5 B`. */
export function bytes(value: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  const isWhole = size >= 100 || (unit === 0 && (size >= 10 || Number.isInteger(size)));
  return `${isWhole ? Math.round(size) : size.toFixed(1)} ${units[unit] ?? ""}`;
}

/** `1.5 ms`, `2.2 s`. */
export function delay(ms: number): string {
  return ms < 1000 ? `${compact(ms)} ms` : `${compact(ms / 1000)} s`;
}

/** `3 s`, `12 min`, `5 h`, `3 d`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.round(seconds / 360) / 10} h`;
  return `${Math.round(seconds / 8640) / 10} d`;
}

/** `3 s ago`, `now`, or a dash for `null`. */
export function ago(at: number | null, now = Date.now()): string {
  if (at === null) return "–";
  return now - at < 1500 ? "now" : `${duration(now - at)} ago`;
}

const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});

/** `14:03:12.345`. */
export function timeOf(at: number): string {
  return clock.format(at);
}
