import { isObject, ownValue } from "../auth/json-object.ts";
import { loadConfig } from "../config/config.ts";
import type { Command } from "./command.ts";
import { ownAddress } from "./own-server.ts";

/** Longer than a server waits for its successor. */
const TIMEOUT_MS = 50_000;

/** `channel reload`: lets the running server of this configuration replace itself, and waits until the new process serves. */
export const reload: Command = async ({ values }, { env, cwd, terminal, print, stderr }) => {
  const loaded = loadConfig({ flags: values, env, cwd });
  if (!loaded.ok) {
    stderr(loaded.message);
    return loaded.exitCode;
  }
  const { config } = loaded;
  if (config.adminSecretGenerated) {
    stderr(
      "admin_secret is not set, so the server does not accept the command: send SIGHUP to its process instead",
    );
    return 2;
  }
  if (config.port === 0) {
    stderr("the system chose the port of the server: name it with --port");
    return 2;
  }
  const url = ownAddress(config);
  // The secret is for this machine only.
  process.env.NO_PROXY = "*";
  let response: Response;
  try {
    response = await fetch(`${url}/api/reload`, {
      method: "POST",
      headers: { authorization: `Bearer ${config.adminSecret}` },
      // The name in a certificate is the public one, and this address is our own.
      tls: { rejectUnauthorized: false },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    stderr(
      `no server answers at ${url}: ${reasonOf(error)}. After a change of host or port, restart the server instead`,
    );
    return 1;
  }
  const body: unknown = await response.json().catch(() => null);
  const fields = isObject(body) ? body : {};
  if (!response.ok) {
    const reason = String(ownValue(fields, "error") ?? `status ${response.status}`);
    stderr(`the server was not reloaded: ${reason}`);
    return 1;
  }
  if (terminal !== null) print(`process ${String(ownValue(fields, "pid"))} serves ${url}`);
  return 0;
};

function reasonOf(error: unknown): string {
  if (error instanceof Error && "code" in error && error.code === "ECONNREFUSED") return "connection refused";
  return error instanceof Error ? error.message : String(error);
}
