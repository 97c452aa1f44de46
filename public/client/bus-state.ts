import { element, field, setText } from "../shared/page.ts";

/** Time between two requests while the page is visible, in ms. */
const INTERVAL = 2000;

/** Time for a response, in ms. */
const TIMEOUT = 5000;

const NAMES: Readonly<Record<string, string>> = { redis: "Redis", amqp: "RabbitMQ" };

const line = element("bus", HTMLParagraphElement);

/** Shows in the header when the server has lost its bus. A socket stays open then, and gets nothing. */
export function watchBus(): void {
  let name = "The message broker";
  const check = async (): Promise<void> => {
    if (document.hidden) return;
    try {
      const response = await fetch("ready", { signal: AbortSignal.timeout(TIMEOUT) });
      const answer: unknown = await response.json();
      name = NAMES[String(field(answer, "bus"))] ?? name;
      const away = response.status === 503 && field(answer, "code") === "bus_away";
      setText(line, away ? `${name} is away: messages do not arrive, pushes are refused` : "");
    } catch {
      // No response: the state of the connection says it.
      setText(line, "");
    }
  };
  const run = () => void check().finally(() => setTimeout(run, INTERVAL));
  document.addEventListener("visibilitychange", () => void check());
  run();
}
