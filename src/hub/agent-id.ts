/** What an agent id says: `<conn_id>:<topic>:<join_ref>`. */
export interface Agent {
  readonly connection: string;
  readonly channel: string;
  readonly joinRef: string;
}

/** Takes an agent id apart at its first and its last colon, since topics hold colons; `null` where there are not two. */
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
