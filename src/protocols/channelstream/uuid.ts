/**
 * Reads a UUID as Python's `uuid.UUID` does: with or without hyphens, in braces, as a URN. Returns it in lower case with
 * hyphens, `null` for none.
 */
export function parseUuid(text: string): string | null {
  const bare = text
    .replaceAll("urn:", "")
    .replaceAll("uuid:", "")
    .replace(/^[{}]+|[{}]+$/g, "");
  const hex = bare.replaceAll("-", "");
  if (!/^[0-9a-fA-F]{32}$/.test(hex)) return null;
  return hex.toLowerCase().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
