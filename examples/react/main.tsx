import { Socket } from "phoenix";
import { type FormEvent, useState } from "react";
import { createRoot } from "react-dom/client";
import * as z from "zod";
import { useChannel } from "./use-channel.ts";

const Text = z.object({ text: z.string().max(500) });
/** With `client_events_sender`: the user of the token, and what the page sent. */
const Stamped = z.object({ user: z.string(), payload: Text });
const ROOM = {
  receives: { line: Stamped, draft: Stamped },
  sends: { line: Text, draft: Text },
  answers: { line: z.object({}), draft: z.object({}) },
};

function Room({ user, socket }: { user: string; socket: Socket }) {
  const [lines, setLines] = useState<readonly { readonly at: number; readonly text: string }[]>([]);
  const add = (text: string) => setLines((all) => [...all, { at: all.length, text }]);
  const [drafts, setDrafts] = useState<Readonly<Record<string, string>>>({});
  const [text, setText] = useState("");
  const { status, members, push } = useChannel(socket, "room:react", ROOM, {
    line: (line) => add(`${line.user}: ${line.payload.text}`),
    draft: (draft) => setDrafts((all) => ({ ...all, [draft.user]: draft.payload.text })),
  });

  function edit(changed: string): void {
    setText(changed);
    push("draft", { text: changed }).catch(console.error);
  }
  function say(event: FormEvent): void {
    event.preventDefault();
    push("line", { text }).then(() => add(`${user}: ${text}`), console.error);
    edit("");
  }

  const items = lines.map(({ at, text }) => (
    <li key={at} data-initial={text[0]}>
      {text}
    </li>
  ));
  return (
    <main>
      <section>
        <p role="status">{`${user}: ${status}`}</p>
        <ol id="lines">{items}</ol>
        <form onSubmit={say}>
          <label htmlFor="line">Message</label>
          <input id="line" required value={text} onChange={(event) => edit(event.target.value)} />
          <button type="submit">Send</button>
        </form>
      </section>
      <aside>
        <h2>Online</h2>
        <ul id="members">
          {members.map((member) => (
            <li key={member} data-initial={member[0]}>
              {member} <em>{drafts[member]}</em>
            </li>
          ))}
        </ul>
      </aside>
    </main>
  );
}

const user = new URLSearchParams(location.search).get("name") ?? "guest";
const body = JSON.stringify({ channel: "room:react", id: user });
const { token } = await (await fetch("/token", { method: "POST", body })).json();
const socket = new Socket("/websocket", { params: { userToken: token } });
socket.connect();
createRoot(document.body).render(<Room user={user} socket={socket} />);
