/** The clock of the `system` channel: RFC 3339, local time with milliseconds and offset. */

function two(n: number): string {
  return String(n).padStart(2, "0");
}

/** `2026-11-21T10:00:00.000+01:00`. */
export function localTime(date: Date): string {
  const offset = -date.getTimezoneOffset();
  const shifted = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, -1);
  const minutes = Math.abs(offset);
  return `${shifted}${offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

/** Calls `tick` once a second with the payload of a `datetime` event. Returns a function that stops it. */
export function startClock(tick: (payload: string) => void): () => void {
  let counter = 0;
  const timer = setInterval(() => {
    tick(`{"status":"ok","response":{"datetime":"${localTime(new Date())}","counter":${counter++}}}`);
  }, 1000);
  return () => clearInterval(timer);
}
