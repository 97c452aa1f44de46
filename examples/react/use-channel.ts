import { type Channel, Presence, type Socket } from "phoenix";
import { useEffect, useRef, useState } from "react";
import * as z from "zod";

/** What a page receives on a channel, sends to it, and gets as answers, by event. Types come from the schemas. */
export interface Contract<Received, Sent, Answers> {
  readonly receives: { readonly [E in keyof Received]: z.ZodType<Received[E]> };
  readonly sends: { readonly [E in keyof Sent]: z.ZodType<Sent[E]> };
  readonly answers: { readonly [E in keyof Answers]: z.ZodType<Answers[E]> };
}

/** Joins a channel while mounted. The contract must not change. `on` gets the messages that match their schema. */
export function useChannel<Received, Sent, Answers extends Record<keyof Sent, unknown>>(
  socket: Socket,
  topic: string,
  { receives, answers }: Contract<Received, Sent, Answers>,
  on: { readonly [E in keyof Received]: (payload: Received[E]) => void },
) {
  const [status, setStatus] = useState("joining");
  const [members, setMembers] = useState<readonly string[]>([]);
  const channel = useRef<Channel | null>(null);
  const handlers = useRef(on);
  useEffect(() => {
    handlers.current = on;
  });

  useEffect(() => {
    const joining = socket.channel(topic);
    channel.current = joining;
    const presence = new Presence(joining);
    presence.onSync(() => setMembers(presence.list((user) => user).sort()));
    const listen = <E extends keyof Received & string>(event: E) =>
      joining.on(event, (payload) => {
        const schema: z.ZodType<Received[E]> = receives[event];
        const parsed = schema.safeParse(payload);
        if (parsed.success) handlers.current[event](parsed.data);
      });
    for (const event in receives) listen(event);
    joining.onError(() => setStatus("disconnected"));
    joining
      .join()
      .receive("ok", () => setStatus("joined"))
      .receive("error", (reply) => setStatus(reasonIn(reply)));
    return () => void joining.leave();
  }, [socket, topic, receives]);

  /** Resolves to the reply; rejects with the reason of a refusal, or `timeout`. */
  function push<E extends keyof Sent & string>(event: E, payload: Sent[E]): Promise<Answers[E]> {
    return new Promise((resolve, reject) => {
      channel.current
        ?.push(event, payload)
        .receive("ok", (reply) => {
          const schema: z.ZodType<Answers[E]> = answers[event];
          const parsed = schema.safeParse(reply);
          if (parsed.success) resolve(parsed.data);
          else reject(parsed.error);
        })
        .receive("error", (reply) => reject(new Error(reasonIn(reply))))
        .receive("timeout", () => reject(new Error("timeout")));
    });
  }
  return { status, members, push };
}

function reasonIn(reply: unknown): string {
  return z.safeParse(z.object({ reason: z.string() }), reply).data?.reason ?? "refused";
}
