import * as z from "zod";
import { MAX_TOKEN_ID } from "../../auth/claims.ts";
import { Rejection } from "../../auth/rejection.ts";
import type { Connection } from "../../hub/connection.ts";
import { ChannelName, period, UnixMs, UserId } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { notForAll, outOfReach, reaches, reachesAll } from "./scope-rejections.ts";

const SECOND = 1000;
const YEAR = 365 * 24 * 3600 * SECOND;
const CENTURY = 100 * YEAR;

const TokenId = z.string().min(1).max(MAX_TOKEN_ID);
const Revocation = z.object({ jti: z.string(), until: UnixMs }).meta({ id: "Revocation" });

const Ban = z.object({ id: z.string(), until: UnixMs }).meta({ id: "Ban" });

/** Who may be here, and for how long not. What is done to a user, whatever its channels, takes a key for all of them. */
export function accessOperations({ hub, bans, revocations }: ApiDeps): Operation[] {
  return [
    operation({
      method: "POST",
      path: "/api/disconnect",
      tag: "Acting",
      summary: "End every connection of a user",
      description:
        "As for one connection. Most clients are back at once: `ban` refuses the user's tokens for a time, on this server and until it stops.",
      needs: "moderate",
      act: "disconnect",
      body: z.object({ id: UserId, ban: period(SECOND, YEAR).optional() }),
      example: { id: "alice", ban: "10m" },
      answer: z.object({ disconnected: z.number(), banned_until: UnixMs.nullable() }),
      refusals: { 409: "Too many users are banned" },
      what: ({ body: { id, ban } }) => ({ id, ...(ban === undefined ? {} : { ban_secs: ban / SECOND }) }),
      run({ body: { id, ban }, principal }) {
        if (!reachesAll(principal)) return notForAll();
        const until = ban === undefined ? null : Date.now() + ban;
        if (until !== null && !bans.add({ user: id, until })) {
          return new Rejection(409, "too_many_bans", "Ban limit reached: lift some bans first.");
        }
        const theirs: Connection[] = [];
        for (const connection of hub.connections.all()) {
          if (connection.users.includes(id)) theirs.push(connection);
        }
        for (const connection of theirs) connection.dismiss(1001, "ended by an administrator");
        return { disconnected: theirs.length, banned_until: until };
      },
    }),
    operation({
      method: "GET",
      path: "/api/bans",
      tag: "Watching",
      summary: "The users whose tokens are refused",
      needs: "moderate",
      answer: z.object({ bans: z.array(Ban) }),
      run({ principal }) {
        if (!reachesAll(principal)) return notForAll();
        return { bans: bans.all().map(({ user, until }) => ({ id: user, until })) };
      },
    }),
    operation({
      method: "DELETE",
      path: "/api/bans/{id}",
      tag: "Acting",
      summary: "Lift a ban",
      needs: "moderate",
      act: "lift_ban",
      params: z.object({ id: UserId }),
      answer: z.object({ lifted: z.literal(true) }),
      refusals: { 404: "That user is not banned" },
      what: ({ path: { id } }) => ({ id }),
      run({ path: { id }, principal }) {
        if (!reachesAll(principal)) return notForAll();
        return bans.lift(id)
          ? { lifted: true as const }
          : new Rejection(404, "user_not_banned", "This user is not banned.");
      },
    }),
    operation({
      method: "POST",
      path: "/api/revocations",
      tag: "Acting",
      summary: "Revoke one token",
      description:
        "A token with this claim `jti` is refused for `expires_in`, which should be what it has left, on every server of this Redis; what it opened ends. To refuse all tokens of a user, disconnect it with a ban.",
      needs: "moderate",
      act: "revoke",
      body: z.object({ jti: TokenId, expires_in: period(SECOND, CENTURY) }),
      example: { jti: "kRvGm8Ujt1nY2oxQ", expires_in: "3d" },
      answer: Revocation,
      refusals: { 409: "Too many tokens are revoked" },
      what: ({ body: { jti } }) => ({ jti }),
      run({ body: { jti, expires_in }, principal }) {
        if (!reachesAll(principal)) return notForAll();
        const until = Date.now() + expires_in;
        if (!revocations.add({ kind: "token", id: jti, until })) {
          return new Rejection(
            409,
            "too_many_revocations",
            "Revocation limit reached: ban users instead, or replace jwt_secret.",
          );
        }
        return { jti, until };
      },
    }),
    operation({
      method: "GET",
      path: "/api/revocations",
      tag: "Watching",
      summary: "The tokens that are revoked",
      needs: "moderate",
      answer: z.object({ revocations: z.array(Revocation) }),
      run({ principal }) {
        if (!reachesAll(principal)) return notForAll();
        return { revocations: revocations.all("token").map(({ id, until }) => ({ jti: id, until })) };
      },
    }),
    operation({
      method: "POST",
      path: "/api/kick",
      tag: "Acting",
      summary: "End a user's memberships of a channel",
      description:
        "With `phx_close`, after which phoenix.js does not rejoin by itself. `agent` in place of `id` is one membership alone.",
      needs: "moderate",
      act: "kick",
      body: z
        .object({ channel: ChannelName, id: UserId.optional(), agent: z.string().optional() })
        .refine((body) => (body.id === undefined) !== (body.agent === undefined), {
          message: "must contain either id or agent",
        }),
      example: { channel: "system", id: "alice" },
      answer: z.object({ kicked: z.number() }),
      refusals: { 404: "Nobody of that name is in that channel" },
      what: ({ body: { channel, id, agent } }) => ({
        channel,
        ...(id === undefined ? {} : { id }),
        ...(agent === undefined ? {} : { agent }),
      }),
      run({ body: { channel, id, agent }, principal }) {
        if (!reaches(principal, channel)) return outOfReach();
        const members = [...(hub.channels.get(channel)?.members ?? [])].filter((member) =>
          id === undefined ? member.agent === agent : member.user === id,
        );
        for (const member of members) member.kick();
        if (members.length === 0)
          return new Rejection(404, "user_not_in_channel", "No such member in this channel.");
        return { kicked: members.length };
      },
    }),
  ];
}
