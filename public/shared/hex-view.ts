import { textElement } from "./page.ts";

/** Maximum bytes shown. */
const MAX_BYTES = 4096;
const WIDTH = 16;

/** A hex dump: offset, 16 bytes, and their ASCII characters. */
export function hexView(bytes: Uint8Array): HTMLElement {
  const shown = bytes.subarray(0, MAX_BYTES);
  const lines: string[] = [];
  for (let at = 0; at < shown.length; at += WIDTH) {
    const row = [...shown.subarray(at, at + WIDTH)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0"));
    const left = hex.slice(0, 8).join(" ").padEnd(23);
    const right = hex.slice(8).join(" ").padEnd(23);
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${left}  ${right}  ${text}`);
  }
  const view = textElement("pre", lines.join("\n"), "hex");
  view.tabIndex = 0;
  view.setAttribute("role", "region");
  view.setAttribute("aria-label", "Bytes");
  return view;
}

/** The first 24 bytes, for a row of a list: `ff 00 01 …`. */
export function hexStart(bytes: Uint8Array): string {
  const start = [...bytes.subarray(0, 24)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return bytes.length > 24 ? `${start} …` : start;
}
