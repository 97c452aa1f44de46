import { nameCovers } from "../../auth/claims.ts";
import type { ChannelSettings } from "../../config/config.ts";

/** Where calls go: published, to one of those that wait at a queue, or by HTTP. */
export type CallTarget =
  | { readonly kind: "redis" }
  | { readonly kind: "queue"; readonly name: string }
  | { readonly kind: "http"; readonly url: string };

/** Which pushes of a channel a backend answers. */
export interface CallRules {
  readonly target: CallTarget;
  /** Time for the answer, in ms. */
  readonly timeout: number;
  covers(event: string): boolean;
}

type CallSettings = Pick<ChannelSettings, "calls" | "callTo" | "callTimeout">;

const QUEUE = "queue:";

/** The rules of a pattern; `null` where no pushes are calls. */
export function callRulesOf({ calls, callTo, callTimeout }: CallSettings): CallRules | null {
  if (calls.length === 0) return null;
  return {
    target: targetOf(callTo),
    timeout: callTimeout,
    covers(event) {
      for (const pattern of calls) if (nameCovers(pattern, event)) return true;
      return false;
    },
  };
}

function targetOf(callTo: string): CallTarget {
  if (callTo === "redis") return { kind: "redis" };
  if (callTo.startsWith(QUEUE)) return { kind: "queue", name: callTo.slice(QUEUE.length) };
  return { kind: "http", url: callTo };
}

/** The kinds of targets that any channel uses. */
export function callTargets(settings: readonly CallSettings[]): ReadonlySet<CallTarget["kind"]> {
  return new Set(settings.flatMap((each) => callRulesOf(each)?.target.kind ?? []));
}
