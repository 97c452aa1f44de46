import * as z from "zod";
import type { Connection } from "../../hub/connection.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation, Refused } from "./operation.ts";
import { ChannelName, period, UnixMs, UserId } from "./schemas.ts";

const SECOND = 1000;
const YEAR = 365 * 24 * 3600 * SECOND;

const Ban = z.object({ id: z.string(), until: UnixMs }).meta({ id: "Ban" });

/** Who may be here, and for how long not. */
export function accessOperations({ hub, bans }: ApiDeps): Operation[] {
  return [
    operation({
      method: "POST",
      path: "/api/disconnect",
      tag: "Acting",
      summary: "End every connection of a user",
      description:
        "As for one connection. Most clients are back at once: `ban` refuses the user's tokens for a time, on this server and until it stops.",
      needs: "admin",
      body: z.object({ id: UserId, ban: period(SECOND, YEAR).optional() }),
      example: { id: "alice", ban: "10m" },
      answer: z.object({ disconnected: z.number(), banned_until: UnixMs.nullable() }),
      refusals: { 409: "Too many users are banned" },
      run({ body: { id, ban } }) {
        const until = ban === undefined ? null : Date.now() + ban;
        if (until !== null && !bans.add({ user: id, until })) {
          return new Refused(409, "Too many users are banned already: lift some bans first.");
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
      needs: "admin",
      answer: z.object({ bans: z.array(Ban) }),
      run: () => ({ bans: bans.all().map(({ user, until }) => ({ id: user, until })) }),
    }),
    operation({
      method: "DELETE",
      path: "/api/bans/{id}",
      tag: "Acting",
      summary: "Lift a ban",
      needs: "admin",
      params: z.object({ id: UserId }),
      answer: z.object({ lifted: z.literal(true) }),
      refusals: { 404: "That user is not banned" },
      run({ path: { id } }) {
        return bans.lift(id) ? { lifted: true as const } : new Refused(404, "That user is not banned.");
      },
    }),
    operation({
      method: "POST",
      path: "/api/kick",
      tag: "Acting",
      summary: "End a user's memberships of a channel",
      description:
        "With `phx_close`, after which phoenix.js does not rejoin by itself. `agent` in place of `id` is one membership alone.",
      needs: "admin",
      body: z
        .object({ channel: ChannelName, id: UserId.optional(), agent: z.string().optional() })
        .refine((body) => (body.id === undefined) !== (body.agent === undefined), {
          message: "must hold id or agent, and not both",
        }),
      example: { channel: "system", id: "alice" },
      answer: z.object({ kicked: z.number() }),
      refusals: { 404: "Nobody of that name is in that channel" },
      run({ body: { channel, id, agent } }) {
        const members = [...(hub.channels.get(channel)?.members ?? [])].filter((member) =>
          id === undefined ? member.agent === agent : member.user === id,
        );
        for (const member of members) member.kick();
        if (members.length === 0) return new Refused(404, "Nobody of that name is in that channel.");
        return { kicked: members.length };
      },
    }),
  ];
}
