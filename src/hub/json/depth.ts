const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** UTF-16 units up to which any nesting is cheap to parse. */
const SHORT = 1024;

/**
 * Whether lists and objects lie deeper in each other than `most`, in text that may be no JSON. To be asked before text of a
 * stranger is parsed: 100 KB of `[` cost `JSON.parse` 15 ms, a text as long without them less than one.
 */
export function isDeeper(text: string, most: number): boolean {
  if (text.length <= SHORT) return false;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === OPEN_LIST || unit === OPEN_OBJECT) {
      if (++depth > most) return true;
    } else if (unit === CLOSE_LIST || unit === CLOSE_OBJECT) depth--;
    else if (unit === QUOTE) i = endOfText(text, i + 1);
  }
  return false;
}

/** Where the quote stands that ends a text; the length where none does. */
function endOfText(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === QUOTE) return i;
    if (unit === BACKSLASH) i++;
  }
  return text.length;
}
