import * as z from "zod";
import { ABILITIES } from "../../auth/claims.ts";
import { MAX_TOKEN_BYTES } from "../../auth/hs256.ts";
import { namesOf } from "../../auth/mint.ts";
import { Rejection } from "../../auth/rejection.ts";
import { randomId } from "../../hub/random-id.ts";
import { ChannelName, period, UnixMs, UserId } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

const SECOND = 1000;

/** Length of a generated `jti`, in characters. */
const TOKEN_ID_LENGTH = 16;

const CENTURY = 100 * 365 * 24 * 3600 * SECOND;

const Can = z.array(z.enum(ABILITIES)).meta({ description: "What the token allows." });

const NONE_FOR_PHOENIX = new Rejection(
  422,
  "token_for_phoenix",
  "The topic phoenix needs no token: it accepts heartbeats only.",
);
const TOO_LONG = new Rejection(422, "token_too_long", "channels: too many for one token.");

export function tokenOperations({ config, mint }: ApiDeps): Operation[] {
  return [
    operation({
      method: "POST",
      path: "/api/tokens",
      tag: "Tokens",
      summary: "Create a token",
      description:
        "For any channels and user, regardless of `token_endpoint` and `token_channels`. A name that ends in `*` is a pattern. An object under `channels` sets the abilities of each channel; `can` sets them for a list. Without `id` the user id is random.",
      needs: "admin",
      act: "mint",
      body: z.object({
        channels: z.union([
          z.array(ChannelName).min(1, "must contain at least one name"),
          z.record(ChannelName, Can).refine((names) => Object.keys(names).length > 0, {
            message: "must contain at least one name",
          }),
        ]),
        id: UserId.optional(),
        expires_in: period(SECOND, CENTURY).optional(),
        can: Can.optional(),
      }),
      example: { channels: ["system"], id: "alice", expires_in: "1h" },
      answer: z.object({
        id: z.string(),
        channels: z.union([z.array(z.string()), z.record(z.string(), Can)]),
        expires_at: UnixMs,
        jti: z.string().meta({ description: "The id for revoking this token." }),
        token: z.string(),
      }),
      exampleAnswer: {
        id: "alice",
        channels: ["system"],
        expires_at: 1_893_452_400_000,
        jti: "kRvGm8Ujt1nY2oxQ",
        token: "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6ImFsaWNlIn0.c2lnbmF0dXJl",
      },
      errors: [NONE_FOR_PHOENIX, TOO_LONG],
      what: ({ body: { channels, id } }) => ({
        ...(id === undefined ? {} : { id }),
        channels: namesOf({ channels }).join(" "),
      }),
      async run({ body: { channels, id, expires_in, can } }) {
        if (namesOf({ channels }).includes("phoenix")) return NONE_FOR_PHOENIX;
        const user = id === undefined || id.trim() === "" ? randomId(config.idLength) : id;
        const expiresInSecs =
          expires_in === undefined ? config.jwtExpirationSecs : Math.ceil(expires_in / SECOND);
        const expiresAt = (Math.floor(Date.now() / SECOND) + expiresInSecs) * SECOND;
        const [first, ...others] = Array.isArray(channels) ? channels : [];
        const named = first !== undefined && others.length === 0 ? { channel: first } : { channels };
        const jti = randomId(TOKEN_ID_LENGTH);
        const token = await mint({
          id: user,
          jti,
          channels: named,
          expiresInSecs,
          ...(can === undefined ? {} : { can }),
        });
        if (token.length > MAX_TOKEN_BYTES) return TOO_LONG;
        return { id: user, channels, expires_at: expiresAt, jti, token };
      },
    }),
  ];
}
