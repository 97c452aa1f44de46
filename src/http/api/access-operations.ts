import * as z from "zod";
import { MAX_TOKEN_ID } from "../../auth/claims.ts";
import { Rejection } from "../../auth/rejection.ts";
import { ChannelName, period, UnixMs, UserId } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { ALL_CHANNELS_NEEDED, CHANNEL_NOT_ALLOWED, reaches, reachesAll } from "./scope-rejections.ts";

const SECOND = 1000;
const YEAR = 365 * 24 * 3600 * SECOND;
const CENTURY = 100 * YEAR;

const TokenId = z.string().min(1).max(MAX_TOKEN_ID);
const Revocation = z.object({ jti: z.string(), until: UnixMs }).meta({ id: "Revocation" });

/** What each server did. `ok` is false for one that did not answer within a second. */
const Disconnected = z.array(z.object({ name: z.string(), ok: z.boolean(), disconnected: z.number() }));
const Kicked = z.array(z.object({ name: z.string(), ok: z.boolean(), kicked: z.number() }));

const Ban = z.object({ id: z.string(), until: UnixMs }).meta({ id: "Ban" });

const TOO_MANY_BANS = new Rejection(409, "too_many_bans", "Ban limit reached: lift some bans first.");
const TOO_MANY_REVOCATIONS = new Rejection(
  409,
  "too_many_revocations",
  "Revocation limit reached: ban users instead, or replace jwt_secret.",
);
const USER_NOT_BANNED = new Rejection(404, "user_not_banned", "This user is not banned.");
const USER_NOT_IN_CHANNEL = new Rejection(404, "user_not_in_channel", "No such member in this channel.");

/** Disconnects, bans, revocations and kicks. Operations on a user in all channels need a key for all channels. */
export function accessOperations({ bans, control, revocations }: ApiDeps): Operation[] {
  return [
    operation({
      method: "POST",
      path: "/api/disconnect",
      tag: "Actions",
      summary: "Disconnect a user",
      description:
        "Closes all connections of a user, like `DELETE /api/connections/{id}`. Most clients reconnect at once: `ban` rejects the user's tokens for a time, on all servers. Answers after at most a second; a server that did not answer is not `ok`.",
      needs: "moderate",
      act: "disconnect",
      body: z.object({ id: UserId, ban: period(SECOND, YEAR).optional() }),
      example: { id: "alice", ban: "10m" },
      answer: z.object({
        disconnected: z.number(),
        servers: Disconnected,
        banned_until: UnixMs.nullable(),
      }),
      exampleAnswer: {
        disconnected: 2,
        servers: [{ name: "hub-1", ok: true, disconnected: 2 }],
        banned_until: 1_893_452_400_000,
      },
      errors: [ALL_CHANNELS_NEEDED, TOO_MANY_BANS],
      what: ({ body: { id, ban } }) => ({ id, ...(ban === undefined ? {} : { ban_secs: ban / SECOND }) }),
      async run({ body: { id, ban }, principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        // The ban first: a client that reconnects at once is rejected.
        const banned = ban === undefined ? null : await control.ban(id, ban);
        if (ban !== undefined && banned === null) return TOO_MANY_BANS;
        const { count, servers } = await control.disconnect(id);
        return {
          disconnected: count,
          servers: servers.map(({ name, ok, count }) => ({ name, ok, disconnected: count })),
          banned_until: banned?.until ?? null,
        };
      },
    }),
    operation({
      method: "GET",
      path: "/api/bans",
      tag: "Monitoring",
      summary: "List bans",
      needs: "moderate",
      answer: z.object({ bans: z.array(Ban) }),
      exampleAnswer: { bans: [{ id: "alice", until: 1_893_452_400_000 }] },
      errors: [ALL_CHANNELS_NEEDED],
      run({ principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        return { bans: bans.all().map(({ user, until }) => ({ id: user, until })) };
      },
    }),
    operation({
      method: "DELETE",
      path: "/api/bans/{id}",
      tag: "Actions",
      summary: "Lift a ban",
      needs: "moderate",
      act: "lift_ban",
      params: z.object({ id: UserId }),
      answer: z.object({
        lifted: z.literal(true),
        servers: z.array(z.object({ name: z.string(), ok: z.boolean() })),
      }),
      exampleAnswer: { lifted: true, servers: [{ name: "hub-1", ok: true }] },
      errors: [ALL_CHANNELS_NEEDED, USER_NOT_BANNED],
      what: ({ path: { id } }) => ({ id }),
      async run({ path: { id }, principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        const done = await control.ban(id, 0);
        if (done === null) return USER_NOT_BANNED;
        return { lifted: true as const, servers: done.servers.map(({ name, ok }) => ({ name, ok })) };
      },
    }),
    operation({
      method: "POST",
      path: "/api/revocations",
      tag: "Actions",
      summary: "Revoke a token",
      description:
        "Rejects tokens with this claim `jti` for `expires_in`, which should be the remaining lifetime, on every server of this Redis. Closes connections and memberships opened with it. To reject all tokens of a user, disconnect the user with a ban.",
      needs: "moderate",
      act: "revoke",
      body: z.object({ jti: TokenId, expires_in: period(SECOND, CENTURY) }),
      example: { jti: "kRvGm8Ujt1nY2oxQ", expires_in: "3d" },
      answer: Revocation,
      exampleAnswer: { jti: "kRvGm8Ujt1nY2oxQ", until: 1_893_452_400_000 },
      errors: [ALL_CHANNELS_NEEDED, TOO_MANY_REVOCATIONS],
      what: ({ body: { jti } }) => ({ jti }),
      run({ body: { jti, expires_in }, principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        const until = Date.now() + expires_in;
        return revocations.add({ kind: "token", id: jti, until }) ? { jti, until } : TOO_MANY_REVOCATIONS;
      },
    }),
    operation({
      method: "GET",
      path: "/api/revocations",
      tag: "Monitoring",
      summary: "List revoked tokens",
      needs: "moderate",
      answer: z.object({ revocations: z.array(Revocation) }),
      exampleAnswer: { revocations: [{ jti: "kRvGm8Ujt1nY2oxQ", until: 1_893_452_400_000 }] },
      errors: [ALL_CHANNELS_NEEDED],
      run({ principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        return { revocations: revocations.all("token").map(({ id, until }) => ({ jti: id, until })) };
      },
    }),
    operation({
      method: "POST",
      path: "/api/kick",
      tag: "Actions",
      summary: "Remove a user from a channel",
      description:
        "Sends `phx_close` on all servers, after which phoenix.js does not rejoin by itself; listeners by SSE get `closed`. `agent` instead of `id` ends a single membership.",
      needs: "moderate",
      act: "kick",
      body: z
        .object({ channel: ChannelName, id: UserId.optional(), agent: z.string().optional() })
        .refine((body) => (body.id === undefined) !== (body.agent === undefined), {
          message: "must contain either id or agent",
        }),
      example: { channel: "system", id: "alice" },
      answer: z.object({ kicked: z.number(), servers: Kicked }),
      exampleAnswer: { kicked: 1, servers: [{ name: "hub-1", ok: true, kicked: 1 }] },
      errors: [CHANNEL_NOT_ALLOWED, USER_NOT_IN_CHANNEL],
      what: ({ body: { channel, id, agent } }) => ({
        channel,
        ...(id === undefined ? {} : { id }),
        ...(agent === undefined ? {} : { agent }),
      }),
      async run({ body: { channel, id, agent }, principal }) {
        if (!reaches(principal, channel)) return CHANNEL_NOT_ALLOWED;
        const { count, servers } = await control.kick({
          channel,
          ...(id === undefined ? {} : { user: id }),
          ...(agent === undefined ? {} : { agent }),
        });
        if (count === 0 && servers.every(({ ok }) => ok)) return USER_NOT_IN_CHANNEL;
        return {
          kicked: count,
          servers: servers.map(({ name, ok, count }) => ({ name, ok, kicked: count })),
        };
      },
    }),
  ];
}
