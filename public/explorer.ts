import { element, field, setStatus } from "./shared/page.ts";

/** A request that the explorer is about to send. */
interface Call {
  url: string;
  method?: string;
  headers: Record<string, string>;
}

type Explore = (options: {
  spec: unknown;
  domNode: HTMLElement;
  deepLinking: boolean;
  tryItOutEnabled: boolean;
  displayRequestDuration: boolean;
  defaultModelsExpandDepth: number;
  docExpansion: "list" | "none";
  validatorUrl: null;
  queryConfigEnabled: boolean;
  requestInterceptor: (call: Call) => Call | Promise<Call>;
}) => void;

declare global {
  var SwaggerUIBundle: Explore;
}

const SIGNATURE = "x-channelstream-secret";

const state = element("state", HTMLParagraphElement);

/** `METHOD path` of the operations that require a signature. */
function signedCalls(spec: unknown): Set<string> {
  const signed = new Set<string>();
  const paths = field(spec, "paths");
  if (typeof paths !== "object" || paths === null) return signed;
  for (const [path, item] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(item ?? {})) {
      const security = field(operation, "security");
      if (Array.isArray(security) && security.some((each) => field(each, "signature") !== undefined)) {
        signed.add(`${method.toUpperCase()} ${path}`);
      }
    }
  }
  return signed;
}

/** Adds a signature from the server to calls that require one and have none. */
function addSignature(spec: unknown): (call: Call) => Promise<Call> {
  const signed = signedCalls(spec);
  const base = new URL(".", location.href).pathname;
  return async (call) => {
    const { pathname } = new URL(call.url, location.href);
    const path = `/${pathname.slice(base.length)}`;
    if (!signed.has(`${(call.method ?? "GET").toUpperCase()} ${path}`)) return call;
    if (Object.keys(call.headers).some((name) => name.toLowerCase() === SIGNATURE)) return call;
    const response = await fetch("api/channelstream/signature", { method: "POST" });
    const signature = field(await response.json(), "signature");
    if (typeof signature === "string") call.headers[SIGNATURE] = signature;
    return call;
  };
}

const dark = matchMedia("(prefers-color-scheme: dark)");

function followScheme(): void {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

async function start(): Promise<void> {
  followScheme();
  dark.addEventListener("change", followScheme);
  const session = await fetch("admin/session").catch(() => null);
  if (session === null) return setStatus(state, "No response from the server", "bad");
  if (field(await session.json().catch(() => null), "signed_in") !== true) {
    element("sign-in-section", HTMLElement).hidden = false;
    return setStatus(state, "Not signed in", "waiting");
  }
  const spec: unknown = await (await fetch("openapi.json")).json();
  setStatus(state, "Signed in as administrator", "good");
  SwaggerUIBundle({
    spec,
    domNode: element("explorer", HTMLDivElement),
    deepLinking: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: -1,
    docExpansion: "list",
    validatorUrl: null,
    queryConfigEnabled: false,
    requestInterceptor: addSignature(spec),
  });
}

void start();
