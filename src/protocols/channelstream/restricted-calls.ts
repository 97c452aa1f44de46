import type { ServerMessages } from "../../hub/server-messages.ts";
import type { Audience } from "./frame.ts";
import { isRecord, parseJson } from "./parse-json.ts";
import { RecentKeys } from "./recent-keys.ts";
import {
  type DeleteBody,
  type EditBody,
  type MessageBody,
  readDeletes,
  readEdits,
  readMessages,
} from "./schemas.ts";

/** Messages that are remembered, at least, as visible to some users only. */
const REMEMBERED = 10_000;

/** A call that only some users may see the result of. */
export type RestrictedCall =
  | { readonly call: "message"; readonly body: MessageBody }
  | { readonly call: "edit"; readonly body: EditBody }
  | { readonly call: "delete"; readonly body: DeleteBody };

/**
 * Passes calls about restricted messages to the other servers, which do the same with their own users. They are signed and
 * never on `to:`, where backends and clients of other protocols would receive them.
 */
export class RestrictedCalls {
  readonly #messages: ServerMessages;
  readonly #recent = new RecentKeys(REMEMBERED);

  constructor(messages: ServerMessages, apply: (call: RestrictedCall) => void) {
    this.#messages = messages;
    messages.receive((text) => {
      const call = decode(text);
      if (call === null) return;
      this.#recent.add(call.body.uuid ?? "");
      apply(call);
    });
  }

  /** Whether a message was recently restricted, on any server. */
  isRestricted(uuid: string): boolean {
    return this.#recent.has(uuid);
  }

  /** @param audience who may see the result; a message without a channel is for the `pm_users` of its body */
  send({ call, body }: RestrictedCall, audience: Audience): void {
    if (!this.#messages.hasOthers) return;
    this.#recent.add(body.uuid ?? "");
    // An empty list would mean everyone.
    if (body.channel !== null && audience.only?.size === 0) return;
    const named =
      body.channel === null
        ? {}
        : { pm_users: [...(audience.only ?? [])], exclude_users: [...(audience.except ?? [])] };
    const given = Object.entries({ ...body, ...named }).filter(([, value]) => value !== null);
    this.#messages.send(JSON.stringify({ call, body: Object.fromEntries(given) }));
  }
}

function decode(text: string): RestrictedCall | null {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch {
    return null;
  }
  if (!isRecord(value)) return null;
  const { call, body } = value;
  if (call === "message") {
    const [message] = firstOf(readMessages([body]));
    return message === undefined || message.uuid === null || message.timestamp === null
      ? null
      : { call, body: message };
  }
  if (call === "edit") {
    const [edit] = firstOf(readEdits([body]));
    return edit === undefined || edit.edited === null ? null : { call, body: edit };
  }
  const [deletion] = call === "delete" ? firstOf(readDeletes([body])) : [];
  return deletion === undefined ? null : { call: "delete", body: deletion };
}

function firstOf<T>(
  read: { readonly ok: true; readonly value: readonly T[] } | { readonly ok: false },
): readonly T[] {
  return read.ok ? read.value : [];
}
