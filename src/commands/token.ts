import { isUserId, MAX_USER_BYTES } from "../auth/claims.ts";
import { MAX_TOKEN_BYTES } from "../auth/hs256.ts";
import { createMint } from "../auth/mint.ts";
import { isChannelName } from "../bus/topics.ts";
import { loadConfig } from "../config/config.ts";
import { quoted } from "../config/quote.ts";
import { duration } from "../config/value-types.ts";
import { randomId } from "../hub/random-id.ts";
import type { Command } from "./command.ts";

const CENTURY_MS = 100 * 365 * 86_400_000;
const lifetime = duration(1000, CENTURY_MS);

/** `channel token`: signs a token with the configured secret; no server is asked. */
export const token: Command = async ({ values, all, switches }, { env, cwd, terminal, print, stderr }) => {
  const loaded = loadConfig({ flags: values, env, cwd });
  if (!loaded.ok) {
    stderr(loaded.message);
    return loaded.exitCode;
  }
  const { config } = loaded;
  const names = all.channel ?? [];
  const id = values.id === undefined || values.id.trim() === "" ? randomId(config.idLength) : values.id;
  const expiresIn = values["expires-in"];
  const milliseconds = expiresIn === undefined ? config.jwtExpirationSecs * 1000 : lifetime.parse(expiresIn);

  const problem = ((): string | null => {
    const [first] = names;
    if (first === undefined)
      return "token needs --channel <CHANNEL>: the channel that it opens; repeat it for several";
    const bad = names.find((name) => !isChannelName(name));
    if (bad !== undefined)
      return `--channel: ${quoted(bad)} is no name: 1 to 255 bytes, no control character`;
    if (names.includes("phoenix")) return "--channel: phoenix takes heartbeats only, and needs no token";
    if (!isUserId(id)) return `--id must be well-formed text of at most ${MAX_USER_BYTES} bytes`;
    if (milliseconds === undefined)
      return `--expires-in must be ${lifetime.expects}, not ${quoted(expiresIn ?? "")}`;
    if (names.includes("admin") && config.adminSecretGenerated)
      return 'no admin_secret is set, and a token for admin is signed with a key made of it: set one, as "channel init" does';
    if (config.jwtSecretGenerated)
      return 'no jwt_secret is set, so no server would take the token: "channel init" writes one, --jwt-secret or JWT_SECRET names one';
    return null;
  })();
  if (problem !== null || milliseconds === undefined) {
    stderr(problem ?? "");
    return 2;
  }
  const [only, ...others] = names;
  const channels = only !== undefined && others.length === 0 ? { channel: only } : { channels: names };
  const expiresInSecs = Math.round(milliseconds / 1000);
  const minted = await createMint(config)({ id, channels, expiresInSecs });
  if (minted.length > MAX_TOKEN_BYTES) {
    stderr("these are too many channels for one token: a server takes 8 KiB");
    return 2;
  }
  const expiresAt = new Date(Date.now() + expiresInSecs * 1000).toISOString().replace(/\.\d+Z$/, "Z");
  if (switches.has("json")) print(JSON.stringify({ id, ...channels, token: minted, expires_at: expiresAt }));
  else print(minted);
  // A remark for people must not get between a program and its token.
  if (terminal !== null && !switches.has("json")) {
    stderr(`opens ${names.map(quoted).join(", ")} for ${quoted(id)} until ${expiresAt}`);
  }
  return 0;
};
