/** Why there is no configuration: one line for the operator, and the exit code. Never leaves `loadConfig`. */
export class Refusal extends Error {
  readonly exitCode: 1 | 2;

  constructor(exitCode: 1 | 2, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}
