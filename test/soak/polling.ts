import { Phoenix, type Stage } from "./clients.ts";

interface Answer {
  readonly status: number;
  readonly token: string | null;
  readonly messages: readonly string[];
}

/** A Phoenix client that polls. Resolves when its session has begun and it has sent its joins. */
export async function phoenixPoll(stage: Stage, name: string, rooms: readonly string[]): Promise<Phoenix> {
  const address = `${stage.url}/longpoll?vsn=2.0.0`;
  const begun = await ask(address);
  if (begun.token === null) throw new Error(`no session: ${begun.status}`);
  const headers = { "x-phoenix-longpoll-token": begun.token };
  const gone = new AbortController();
  const { ledger } = stage;
  ledger.clients.opened++;

  // POSTs in turn, as phoenix.js does: frames sent meanwhile go with the next one.
  const waiting: string[] = [];
  let posting = false;
  const post = async (): Promise<void> => {
    posting = true;
    while (waiting.length > 0) {
      const body = waiting.splice(0, 100).join("\n");
      const sent = { method: "POST", headers: { ...headers, "content-type": "application/x-ndjson" }, body };
      const { status } = await ask(address, sent);
      if (status !== 200) ledger.fault(`${name}: a POST was answered ${status}`);
    }
    posting = false;
  };
  const client = new Phoenix(
    stage,
    name,
    2,
    rooms,
    (frame) => {
      waiting.push(frame);
      if (!posting) void post();
    },
    (how) => {
      // A session cannot be closed: it ends 15 s after the last poll.
      ledger.clients[how === "leave" ? "left" : "cut"]++;
      gone.abort();
    },
  );
  const poll = async (): Promise<void> => {
    while (!gone.signal.aborted) {
      const answer = await ask(address, { headers, signal: gone.signal }).catch(() => null);
      if (answer === null || gone.signal.aborted) return;
      if (answer.status !== 200 && answer.status !== 204) {
        ledger.clients.lost++;
        return ledger.fault(`${name}: a poll was answered ${answer.status}`);
      }
      for (const message of answer.messages) client.receive(message);
    }
  };
  client.join();
  void poll();
  return client;
}

async function ask(address: string, init: RequestInit = {}): Promise<Answer> {
  const body: unknown = await (await fetch(address, init)).json();
  if (typeof body !== "object" || body === null || !("status" in body))
    throw new Error("no long-poll answer");
  const messages = "messages" in body && Array.isArray(body.messages) ? body.messages.map(String) : [];
  const token = "token" in body && typeof body.token === "string" ? body.token : null;
  return { status: Number(body.status), token, messages };
}
