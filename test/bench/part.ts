/**
 * A scene in several processes: the scene asks its parts, each a process of its own, and they answer. A process may open 20,000
 * files, and has one thread to receive with.
 */

/** What a part answers to, by name. */
export type Answers = Readonly<Record<string, (request: never) => unknown>>;

interface Request {
  readonly number: number;
  readonly name: string;
  readonly request: unknown;
}

interface Answer {
  readonly number: number;
  readonly answer?: unknown;
  readonly error?: string;
}

/** Generators leave the processor to the server: in life they are on other machines. */
const NICE = 10;

const running = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export class Part<A extends Answers> {
  readonly pid: number;
  readonly #child: Bun.Subprocess;
  readonly #open = new Map<number, PromiseWithResolvers<unknown>>();
  #last = 0;

  /** @param file module that calls `answerAll`; @param yields whether it runs at a lower priority than servers */
  constructor(file: string, yields: boolean) {
    const command = [process.execPath, file];
    this.#child = Bun.spawn(yields ? ["nice", "-n", String(NICE), ...command] : command, {
      stdin: "ignore",
      stdout: "inherit",
      stderr: "inherit",
      ipc: ({ number, answer, error }: Answer) => {
        const waiting = this.#open.get(number);
        this.#open.delete(number);
        if (error === undefined) waiting?.resolve(answer);
        else waiting?.reject(new Error(error));
      },
    });
    this.pid = this.#child.pid;
    running.add(this.#child);
    void this.#child.exited.then((code) => {
      running.delete(this.#child);
      for (const waiting of this.#open.values()) waiting.reject(new Error(`${file} ended with ${code}`));
      this.#open.clear();
    });
  }

  ask<K extends keyof A & string>(name: K, request: Parameters<A[K]>[0]): Promise<Awaited<ReturnType<A[K]>>> {
    const number = ++this.#last;
    const waiting = Promise.withResolvers<Awaited<ReturnType<A[K]>>>();
    this.#open.set(number, waiting as PromiseWithResolvers<unknown>);
    this.#child.send({ number, name, request } satisfies Request);
    return waiting.promise;
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}

/** In a part: answers what the scene asks, and ends with it. */
export function answerAll(answers: Answers): void {
  process.on("disconnect", () => process.exit(0));
  process.on("message", async ({ number, name, request }: Request) => {
    const reply = (answer: Answer): void => void process.send?.(answer);
    try {
      const answer = await answers[name]?.(request as never);
      reply({ number, answer });
    } catch (error) {
      reply({ number, error: error instanceof Error ? error.message : String(error) });
    }
  });
}
