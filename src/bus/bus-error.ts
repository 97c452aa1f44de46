/** Why no bus can be opened and trying again is no use. The message is one sentence for an operator, without a secret. */
export class BusError extends Error {
  override readonly name = "BusError";
  /** `port-taken`: something else listens where the embedded bus must. `bad-address`: `redis_url` can't be used. */
  readonly code: "port-taken" | "bad-address";

  constructor(code: BusError["code"], message: string) {
    super(message);
    this.code = code;
  }
}
