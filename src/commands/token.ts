import { ABILITIES, isPattern, isUserId, MAX_USER_BYTES, userChannel } from "../auth/claims.ts";
import { MAX_TOKEN_BYTES } from "../auth/hs256.ts";
import { type Ability, createMint } from "../auth/mint.ts";
import { isChannelName } from "../bus/topics.ts";
import { loadConfig } from "../config/config.ts";
import { quoted } from "../config/quote.ts";
import { duration } from "../config/value-types.ts";
import { randomId } from "../hub/random-id.ts";
import type { Command } from "./command.ts";

const CENTURY_MS = 100 * 365 * 86_400_000;
const lifetime = duration(1000, CENTURY_MS);

/** `channel token`: signs a token with the configured secret, without a server. */
export const token: Command = async (
  { values, all, switches },
  { env, cwd, terminal, print, stderr, note },
) => {
  const loaded = loadConfig({ flags: values, env, cwd });
  if (!loaded.ok) {
    stderr(loaded.message);
    return loaded.exitCode;
  }
  const { config } = loaded;
  const user = values.for ?? values.id ?? "";
  const id = user.trim() === "" ? randomId(config.idLength) : user;
  const own = values.for === undefined || all.channel !== undefined ? null : userChannel(id);
  const names = own === null ? (all.channel ?? []) : [own];
  const can = values.can === undefined ? undefined : abilitiesOf(values.can);
  const expiresIn = values["expires-in"];
  const milliseconds = expiresIn === undefined ? config.jwtExpirationSecs * 1000 : lifetime.parse(expiresIn);

  const flag = values.for === undefined ? "--id" : "--for";
  const problem = ((): string | null => {
    const [first] = names;
    if (values.for !== undefined && values.id !== undefined)
      return "--for and --id both name the user: use one of them";
    if (values.for !== undefined && values.for.trim() === "") return "--for must name a user";
    if (first === undefined)
      return "token requires --channel <CHANNEL>: the channel that it allows; can be repeated. --for <USER> alone allows the user's own channel";
    if (!isUserId(id)) return `${flag} must be well-formed text of at most ${MAX_USER_BYTES} bytes`;
    if (own !== null && (isPattern(own) || !isChannelName(own)))
      return `--for: ${quoted(id)} has no channel of its own that a token can name: use --channel`;
    if (can === null)
      return `--can must list ${ABILITIES.join(", ")}, separated by commas, not ${quoted(values.can ?? "")}`;
    const bad = names.find((name) => !isChannelName(name));
    if (bad !== undefined)
      return `--channel: ${quoted(bad)} is not a valid name: 1 to 255 bytes, no control characters`;
    if (names.includes("phoenix")) return "--channel: phoenix is for heartbeats only and needs no token";
    if (milliseconds === undefined)
      return `--expires-in must be ${lifetime.expects}, not ${quoted(expiresIn ?? "")}`;
    if (names.includes("admin") && config.adminSecretGenerated)
      return 'admin_secret is not set, and tokens for admin are signed with a key derived from it: set it; "channel init" writes one';
    if (config.jwtSecretGenerated)
      return 'jwt_secret is not set, so no server would accept the token: set it with --jwt-secret or JWT_SECRET; "channel init" writes one';
    return null;
  })();
  if (problem !== null || milliseconds === undefined || can === null) {
    stderr(problem ?? "");
    return 2;
  }
  const [only, ...others] = names;
  const channels = only !== undefined && others.length === 0 ? { channel: only } : { channels: names };
  const expiresInSecs = Math.round(milliseconds / 1000);
  const minted = await createMint(config)({
    id,
    channels,
    expiresInSecs,
    ...(can === undefined ? {} : { can }),
  });
  if (minted.length > MAX_TOKEN_BYTES) {
    stderr("too many channels for one token: servers accept tokens up to 8 KiB");
    return 2;
  }
  const expiresAt = new Date(Date.now() + expiresInSecs * 1000).toISOString().replace(/\.\d+Z$/, "Z");
  if (switches.has("json"))
    print(JSON.stringify({ id, ...channels, can, token: minted, expires_at: expiresAt }));
  else print(minted);
  // Programs get the token alone.
  if (terminal !== null && !switches.has("json")) {
    const only = can === undefined ? "" : ` (${can.join(", ")} only)`;
    note(`allows ${names.map(quoted).join(", ")} for ${quoted(id)} until ${expiresAt}${only}`);
  }
  return 0;
};

/** `join,push`; `null` unless it lists abilities. */
function abilitiesOf(text: string): Ability[] | null {
  const words = new Set(text.split(",").map((word) => word.trim()));
  const found = ABILITIES.filter((ability) => words.has(ability));
  return found.length === words.size ? found : null;
}
