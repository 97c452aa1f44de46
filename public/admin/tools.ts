import { copyButton } from "../shared/copy.ts";
import { duration } from "../shared/format.ts";
import { box, button, element, line, say } from "../shared/page.ts";
import { disconnectUser, kick, lift } from "./actions.ts";
import { call } from "./api.ts";

/** Forms of what an administrator does: publish, mint, kick, disconnect, ban. */
export class Tools {
  constructor() {
    for (const id of ["publish", "publish-here"]) startPublish(id);
    startToken();
    on("kick", async (value) => {
      await kick(value("kick-channel"), { id: value("kick-user") });
    });
    on("disconnect", async (value) => {
      await disconnectUser(value("disconnect-user"), value("disconnect-ban").trim());
      await this.refresh();
    });
  }

  async refresh(): Promise<void> {
    const answer = await call("GET api/bans");
    if (!answer.ok) return;
    const rows = answer.value.bans.map(({ id, until }) => {
      const up = button("Lift", async () => {
        await lift(id);
        await this.refresh();
      });
      up.setAttribute("aria-label", `Lift the ban of ${id}`);
      return box(
        "li",
        "",
        line("code", id),
        line("span", `for ${duration(until - Date.now())} more`, "quiet"),
        up,
      );
    });
    element("bans", HTMLUListElement).replaceChildren(
      ...(rows.length === 0 ? [line("li", "Nobody is banned.", "quiet")] : rows),
    );
  }
}

type Submit = (value: (id: string) => string, reply: HTMLElement) => Promise<void>;

/** Runs when a form is sent; its answer goes into the element that is named like it with `-reply`. */
function on(id: string, submit: Submit): void {
  const form = element(id, HTMLFormElement);
  const reply = document.getElementById(`${id}-reply`) ?? form;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = (name: string): string => {
      const input = document.getElementById(name);
      const known = input instanceof HTMLInputElement || input instanceof HTMLTextAreaElement;
      return known ? input.value : "";
    };
    await submit(value, reply);
  });
}

function startPublish(id: string): void {
  on(id, async (value, reply) => {
    const here = id === "publish-here";
    const channel = here
      ? (document.getElementById("channel-name")?.textContent ?? "")
      : value("publish-channel");
    let payload: unknown;
    try {
      payload = JSON.parse(value(`${id}-payload`));
    } catch (error) {
      say(reply, `The payload is not JSON: ${error instanceof Error ? error.message : ""}`, "bad");
      return;
    }
    const answer = await call("POST api/publish", {
      body: { channel, event: value(`${id}-event`), payload },
    });
    if (!answer.ok) return say(reply, answer.why, "bad");
    const { listeners } = answer.value;
    const who = listeners === 0 ? "nobody listens on this server" : `${listeners} listen on this server`;
    say(reply, `Published: ${who}.`, "good");
  });
}

function startToken(): void {
  on("mint", async (value, reply) => {
    const channels = value("mint-channels")
      .split(/[\s,]+/)
      .filter((name) => name !== "");
    const id = value("mint-user").trim();
    const answer = await call("POST api/tokens", {
      body: {
        channels,
        ...(id === "" ? {} : { id }),
        ...(value("mint-period").trim() === "" ? {} : { expires_in: value("mint-period").trim() }),
      },
    });
    if (!answer.ok) return say(reply, answer.why, "bad");
    const { token, id: user, expires_at } = answer.value;
    say(reply, "", "good");
    reply.replaceChildren(
      line("span", `For ${user}, good for ${duration(expires_at - Date.now())}. `),
      copyButton(() => token, "Copy token"),
      line("code", token, "token"),
    );
  });
}
