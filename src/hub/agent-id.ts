/** The parts of an agent id: `<conn_id>:<topic>:<join_ref>`. */
export interface Agent {
  readonly connection: string;
  readonly channel: string;
  readonly joinRef: string;
}

/** Splits an agent id at its first and last colon, since topics may contain colons. `null` without two colons. */
export function splitAgent(agent: string): Agent | null {
  const first = agent.indexOf(":");
  const last = agent.lastIndexOf(":");
  if (first < 0 || first === last) return null;
  return {
    connection: agent.slice(0, first),
    channel: agent.slice(first + 1, last),
    joinRef: agent.slice(last + 1),
  };
}
