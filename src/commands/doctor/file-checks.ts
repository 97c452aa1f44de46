import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { connect } from "node:tls";
import type { Config } from "../../config/config.ts";
import { openFileLimit } from "../../process/open-files.ts";
import { type Check, failed, ok, skipped, warning } from "./check.ts";

/** Descriptors that a server needs beside those of its clients. */
const RESERVED_FILES = 64;

/** Remaining validity that raises a warning, in ms. */
const MARGIN_MS = 14 * 86_400_000;

const TIMEOUT_MS = 10_000;

/** Whether this process, and so a server started here, may open a file for each client. */
export function checkFiles({ limits: { maxConnections } }: Config, limit = openFileLimit()): Check {
  const name = "open files";
  if (limit === Number.POSITIVE_INFINITY) return skipped(name, "the limit is not readable on this system");
  const needed = maxConnections + RESERVED_FILES;
  return limit >= needed
    ? ok(name, `${limit} for at most ${maxConnections} clients`)
    : warning(
        name,
        `${limit} here: ${Math.max(0, limit - RESERVED_FILES)} clients instead of ${maxConnections} (limits.max_connections)`,
        `ulimit -n ${needed} before the start; for a service LimitNOFILE=${needed}`,
      );
}

/** The certificate that clients get: of `tls_cert`, and of `public_url` as it is now. */
export async function checkCertificate({ tls, publicUrl }: Config, now: number): Promise<Check[]> {
  const url = publicUrl === null ? null : new URL(publicUrl);
  const host = url?.hostname.replace(/^\[|\]$/g, "") ?? null;
  const checks: Check[] = [];
  if (tls !== null) {
    const certificate = new X509Certificate(tls.cert);
    checks.push(judge("certificate", certificate, host, now, "renew tls_cert and reload the server"));
  }
  if (url?.protocol === "https:" && host !== null) {
    const port = url.port === "" ? 443 : Number(url.port);
    const found = await certificateAt(host, port);
    const renew = "renew the certificate where TLS ends, the proxy or the server";
    checks.push(
      typeof found === "string"
        ? failed("public certificate", `${host}:${port}: ${found}`, "check the name, the port and the proxy")
        : found.refused === null
          ? judge("public certificate", found.certificate, host, now, renew)
          : failed("public certificate", `browsers refuse it: ${found.refused}`, renew),
    );
  }
  return checks.length > 0 ? checks : [skipped("certificate", "no tls_cert, and no public_url with https")];
}

function judge(
  name: string,
  certificate: X509Certificate,
  host: string | null,
  now: number,
  renew: string,
): Check {
  const { validFrom, validTo } = certificate;
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  const until = new Date(to).toISOString().slice(0, 10);
  if (now < from) return failed(name, `valid from ${validFrom} only`, "check the clock of this machine");
  if (now > to) return failed(name, `expired on ${until}`, renew);
  if (host !== null && !names(certificate, host))
    return failed(name, `not for ${host}`, `a certificate that names ${host}, or another public_url`);
  if (now > to - MARGIN_MS) return warning(name, `expires on ${until}`, renew);
  return ok(name, `valid until ${until}`);
}

function names(certificate: X509Certificate, host: string): boolean {
  const named = isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host);
  return named !== undefined;
}

interface Presented {
  readonly certificate: X509Certificate;
  /** Why a client of this machine would refuse it. */
  readonly refused: string | null;
}

/** The certificate that a server presents, or why it presents none. */
function certificateAt(host: string, port: number): Promise<Presented | string> {
  const { promise, resolve } = Promise.withResolvers<Presented | string>();
  const named = isIP(host) === 0 ? { servername: host } : {};
  // Judged here: a certificate that is refused is still shown.
  const socket = connect({ host, port, ...named, rejectUnauthorized: false });
  socket.setTimeout(TIMEOUT_MS, () => resolve("no answer"));
  socket.once("secureConnect", () => {
    const { raw } = socket.getPeerCertificate();
    const error: unknown = socket.authorizationError;
    const refused = socket.authorized
      ? null
      : error instanceof Error
        ? error.message
        : String(error ?? "unknown");
    if (raw === undefined) resolve("no certificate");
    else resolve({ certificate: new X509Certificate(raw), refused });
  });
  socket.once("error", (error) => resolve(error.message));
  return promise.finally(() => socket.destroy());
}
