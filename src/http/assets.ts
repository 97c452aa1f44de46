import phoenixLicense from "../../node_modules/phoenix/LICENSE.md" with { type: "text" };
import phoenixScript from "../../node_modules/phoenix/priv/static/phoenix.min.js" with { type: "text" };
import chartStyle from "../../node_modules/uplot/dist/uPlot.min.css" with { type: "text" };
import chartLicense from "../../node_modules/uplot/LICENSE" with { type: "text" };
import adminHtml from "../../public/admin.html" with { type: "text" };
import explorerStyle from "../../public/explorer.css" with { type: "text" };
import explorerHtml from "../../public/explorer.html" with { type: "text" };
import indexHtml from "../../public/index.html" with { type: "text" };
import signInHtml from "../../public/sign-in.html" with { type: "text" };
import style from "../../public/style.css" with { type: "text" };
import { bundle } from "./bundle.ts" with { type: "macro" };
import { readText } from "./read-text.ts" with { type: "macro" };

const adminScript = bundle("public/admin.ts");
const explorerScript = bundle("public/explorer.ts");
const indexScript = bundle("public/index.ts");
const signInScript = bundle("public/sign-in.ts");

/** A file embedded in the executable. */
export interface Asset {
  readonly text: string | Uint8Array<ArrayBuffer>;
  readonly type: string;
  /** Strong ETag. */
  readonly tag: string;
}

const HTML = "text/html;charset=utf-8";
export const SCRIPT = "text/javascript;charset=utf-8";
export const CSS = "text/css;charset=utf-8";

/** A file with a tag of its content. */
export function createAsset(text: unknown, type: string): Asset {
  // Without the import attribute Bun imports an HTML file as a bundle.
  if (typeof text !== "string" && !(text instanceof Buffer)) throw new TypeError("embedded page is not text");
  return { text, type, tag: tagOf(text) };
}

function tagOf(text: string | Uint8Array): string {
  return `"${new Bun.CryptoHasher("sha256").update(text).digest("base64url").slice(0, 22)}"`;
}

/** The sign-in page that submits without a click. */
function submitting(html: unknown): string {
  return String(html).replace("<body>", "<body data-at-once>");
}

/** The written part of `/channel.d.ts`; the rest comes from the API. */
export const writtenDeclaration = readText("public/channel.d.ts");

const notice = `/*! phoenix.js\n${phoenixLicense}*/\n`;

export const pages = {
  index: createAsset(indexHtml, HTML),
  admin: createAsset(adminHtml, HTML),
  signIn: createAsset(signInHtml, HTML),
  signInSubmitting: createAsset(submitting(signInHtml), HTML),
  signInScript: createAsset(signInScript, SCRIPT),
  explorer: createAsset(explorerHtml, HTML),
  explorerStyle: createAsset(explorerStyle, CSS),
  style: createAsset(style + chartStyle, CSS),
  indexScript: createAsset(notice + indexScript, SCRIPT),
  adminScript: createAsset(`/*! uPlot\n${chartLicense}*/\n${adminScript}`, SCRIPT),
  explorerScript: createAsset(explorerScript, SCRIPT),
  /** The pinned phoenix.js as a script that defines `Phoenix`. */
  phoenix: createAsset(notice + phoenixScript, SCRIPT),
} as const satisfies Record<string, Asset>;
