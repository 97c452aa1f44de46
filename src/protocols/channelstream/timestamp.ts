/** Microseconds since 1970: distinct, and never backwards while the clock is less than a second off. */
export function createMicroClock(now: () => number = Date.now): () => number {
  let last = 0;
  return () => {
    const micros = now() * 1000;
    const back = last - micros;
    last = back >= 0 && back < 1e6 ? last + 1 : micros;
    return last;
  };
}

/** ISO 8601, UTC, with microseconds and no zone: `2011-09-15T11:36:18.471862`. */
export function printTimestamp(micros: number): string {
  const ms = Math.floor(micros / 1000);
  const rest = String(micros - ms * 1000).padStart(3, "0");
  return `${new Date(ms).toISOString().slice(0, -1)}${rest}`;
}

const ISO =
  /^(\d{4})-(\d{1,2})-(\d{1,2})[T ](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6})\d{0,6})?)?(Z|[+-]\d{2}(?::?\d{2})?)?$/;

/** The first and the last second of Python's calendar, the years 1 to 9999, in Unix ms. */
const FIRST = -62_135_596_800_000;
const LAST = 253_402_300_799_000;

/**
 * A caller's timestamp in our form: in UTC if it had a zone, without a fraction if it had none. `null` if it is invalid.
 */
export function readTimestamp(text: string): string | null {
  const match = ISO.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second = "0", fraction = "", zone = "Z"] = match;
  const parts = [year, month, day, hour, minute, second].map(Number);
  const [y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0] = parts;
  const date = new Date(0);
  date.setUTCFullYear(y, mo - 1, d);
  date.setUTCHours(h, mi, s);
  const asked = [y, mo, d, h, mi, s];
  const got = [
    date.getUTCFullYear(),
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
  ];
  if (y === 0 || asked.some((part, index) => part !== got[index])) return null;
  const at = date.getTime() - offsetMs(zone);
  if (!(at >= FIRST && at <= LAST)) return null;
  const digits = /[1-9]/.test(fraction) ? `.${fraction.padEnd(6, "0")}` : "";
  return `${new Date(at).toISOString().slice(0, 19)}${digits}`;
}

function offsetMs(zone: string): number {
  if (zone === "Z") return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(3).replace(":", "") || "0");
  if (hours > 23 || minutes > 59) return Number.NaN;
  return (zone.startsWith("-") ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}
