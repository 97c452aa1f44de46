/** The bus cannot be opened, and retrying cannot help. The message is one sentence for an operator, without secrets. */
export class BusError extends Error {
  override readonly name = "BusError";
  /**
   * `port-taken`: the port of the embedded bus is in use. `bad-address`: `redis_url` or `amqp_url` is invalid. `no-store`: the bus has no
   * place to keep messages.
   */
  readonly code: "port-taken" | "bad-address" | "no-store";

  constructor(code: BusError["code"], message: string) {
    super(message);
    this.code = code;
  }
}
