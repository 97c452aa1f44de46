/** Quotes external text: one line, at most 80 characters before escaping. */
export function inQuotes(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** An external name or path: unchanged if it has safe characters only, else quoted. */
export function quoted(text: string): string {
  return /^[\w./:+*-]{1,200}$/.test(text) ? text : inQuotes(text);
}
