import { answerWith, type CallAnswer } from "../hub/calls/call-answer.ts";
import type { CallBackend, OutgoingCall } from "../hub/calls/call-backend.ts";
import { isJsonText } from "../hub/json/is-json.ts";
import type { HookAnswer, HookClient } from "./hook-client.ts";

/** Bytes of calls that wait for their answers. One call is always possible. */
const MAX_WAITING = 64 * 1024 * 1024;

/** Calls as requests to the application. */
export class CalledHooks implements CallBackend<{ readonly kind: "http"; readonly url: string }> {
  readonly #client: HookClient;
  readonly #maxPayload: number;
  #waiting = 0;

  /** @param maxPayload maximum size of an answer, in bytes */
  constructor(client: HookClient, maxPayload: number) {
    this.#client = client;
    this.#maxPayload = maxPayload;
  }

  send(call: OutgoingCall, envelope: string, { url }: { readonly url: string }): void {
    const bytes = Buffer.byteLength(envelope);
    if (this.#waiting > 0 && this.#waiting + bytes > MAX_WAITING) return call.fail("backend busy");
    this.#waiting += bytes;
    void this.#post(call, envelope, url).then(() => {
      this.#waiting -= bytes;
    });
  }

  async #post(call: OutgoingCall, body: string, url: string): Promise<void> {
    const { due } = call;
    const answer = await this.#client.post({
      ...{ url, body, startBy: due, endBy: due },
      timeout: due - performance.now(),
    });
    if (answer === "busy") return call.fail("backend busy");
    // The time-out is that of the call: it is counted there.
    if (answer === "timeout") return;
    const reply = typeof answer === "string" ? null : this.#replyOf(answer);
    if (reply === null) call.fail("backend failed");
    else call.answer(reply);
  }

  /** The reply to the push; `null` if the answer is none. */
  #replyOf({ status, body }: HookAnswer): CallAnswer | null {
    if (Buffer.byteLength(body) > this.#maxPayload) return null;
    const isSuccess = status >= 200 && status < 300;
    if (!isSuccess && (status < 400 || status > 499)) return null;
    if (isSuccess && body === "") return answerWith("ok", "{}");
    return isJsonText(body) ? answerWith(isSuccess ? "ok" : "error", body) : null;
  }
}
