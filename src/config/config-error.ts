/** An invalid configuration: one line for the operator and the exit code. `loadConfig` catches it. */
export class ConfigError extends Error {
  readonly exitCode: 1 | 2;

  constructor(exitCode: 1 | 2, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}
