import { call } from "./api.ts";

/** Connections that are looked at. */
const LIMIT = 200;

/** How long the question waits for the count, in ms. */
const TIMEOUT = 2000;

/** How many open connections a user has on all servers: `no open connection`, `3 connections`; empty if that is unknown. */
export async function connectionsOf(user: string): Promise<string> {
  const query = { search: user, limit: LIMIT };
  const answer = await call("GET api/connections", { query, timeout: TIMEOUT });
  if (!answer.ok || answer.value.servers.some(({ ok }) => !ok)) return "";
  const { matching, connections } = answer.value;
  // The search finds other users whose names contain this one.
  const count = connections.filter(({ users }) => users.includes(user)).length;
  if (matching > connections.length) return count === 0 ? "" : `at least ${plural(count, "connection")}`;
  return count === 0 ? "no open connection" : plural(count, "connection");
}

/** How many memberships of a channel a user has; empty if that is unknown. */
export async function membershipsOf(user: string, channel: string): Promise<string> {
  const query = { search: user, limit: LIMIT };
  const answer = await call("GET api/channels/{name}", { path: channel, query, timeout: TIMEOUT });
  if (!answer.ok || answer.value.servers.some(({ ok }) => !ok)) return "";
  const { matching, listed } = answer.value;
  const count = listed.filter((member) => member.user === user).length;
  if (matching > listed.length) return count === 0 ? "" : `at least ${plural(count, "membership")}`;
  return plural(count, "membership");
}

export function plural(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}
