import phoenixLicense from "../../node_modules/phoenix/LICENSE.md" with { type: "text" };
import phoenixScript from "../../node_modules/phoenix/priv/static/phoenix.min.js" with { type: "text" };
import swaggerLicense from "../../node_modules/swagger-ui-dist/LICENSE" with { type: "text" };
import swaggerStyle from "../../node_modules/swagger-ui-dist/swagger-ui.css" with { type: "text" };
import swaggerScript from "../../node_modules/swagger-ui-dist/swagger-ui-bundle.js" with { type: "text" };
import chartStyle from "../../node_modules/uplot/dist/uPlot.min.css" with { type: "text" };
import adminHtml from "../../public/admin.html" with { type: "text" };
import explorerHtml from "../../public/explorer.html" with { type: "text" };
import indexHtml from "../../public/index.html" with { type: "text" };
import style from "../../public/style.css" with { type: "text" };
import { bundle } from "./bundle.ts" with { type: "macro" };

const adminScript = bundle("public/admin.ts");
const explorerScript = bundle("public/explorer.ts");
const indexScript = bundle("public/index.ts");

/** A file that the executable holds. */
export interface Asset {
  readonly text: string;
  readonly type: string;
  /** A strong validator: two texts with one tag are the same. */
  readonly tag: string;
  /** Whether its scripts make markup of text: somebody else's, which clean it themselves. */
  readonly plainMarkup?: true;
}

const HTML = "text/html;charset=utf-8";
const SCRIPT = "text/javascript;charset=utf-8";
const CSS = "text/css;charset=utf-8";

function asset(text: unknown, type: string): Asset {
  // Without its import attribute an HTML file would be something else of Bun's.
  if (typeof text !== "string") throw new TypeError("an embedded page is no text");
  return {
    text,
    type,
    tag: `"${new Bun.CryptoHasher("sha256").update(text).digest("base64url").slice(0, 22)}"`,
  };
}

const notice = `/*! phoenix.js\n${phoenixLicense}*/\n`;

export const pages = {
  index: asset(indexHtml, HTML),
  admin: asset(adminHtml, HTML),
  // Swagger UI sets markup of descriptions, cleaned: with trusted types enforced it shows nothing.
  explorer: { ...asset(explorerHtml, HTML), plainMarkup: true },
  style: asset(style + chartStyle, CSS),
  indexScript: asset(notice + indexScript, SCRIPT),
  adminScript: asset(notice + adminScript, SCRIPT),
  explorerScript: asset(explorerScript, SCRIPT),
  swaggerScript: asset(`/*! Swagger UI\n${swaggerLicense}*/\n${swaggerScript}`, SCRIPT),
  swaggerStyle: asset(swaggerStyle, CSS),
  /** The pinned client as a script that defines `Phoenix`. */
  phoenix: asset(notice + phoenixScript, SCRIPT),
} as const satisfies Record<string, Asset>;
