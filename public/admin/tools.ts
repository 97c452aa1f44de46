import { copyButton } from "../shared/copy.ts";
import { duration } from "../shared/format.ts";
import { button, container, element, setStatus, textElement } from "../shared/page.ts";
import { disconnectUser, kick, liftBan } from "./actions.ts";
import { call } from "./api.ts";

/** Forms of the administrator actions: publish, create token, kick, disconnect, ban. */
export class Tools {
  constructor() {
    for (const id of ["publish", "channel-publish"]) initPublishForm(id);
    initTokenForm();
    onSubmit("kick", async (value) => {
      await kick(value("kick-channel"), value("kick-user"));
    });
    onSubmit("disconnect", async (value) => {
      await disconnectUser(value("disconnect-user"), value("disconnect-ban").trim());
      await this.refresh();
    });
  }

  async refresh(): Promise<void> {
    const answer = await call("GET api/bans");
    if (!answer.ok) return;
    const rows = answer.value.bans.map(({ id, until }) => {
      const liftButton = button("Lift", async () => {
        await liftBan(id);
        await this.refresh();
      });
      liftButton.setAttribute("aria-label", `Lift the ban on ${id}`);
      return container(
        "li",
        "",
        textElement("code", id),
        textElement("span", `${duration(until - Date.now())} left`, "quiet"),
        liftButton,
      );
    });
    element("bans", HTMLUListElement).replaceChildren(
      ...(rows.length === 0 ? [textElement("li", "No active bans.", "quiet")] : rows),
    );
  }
}

type Submit = (value: (id: string) => string, reply: HTMLElement) => Promise<void>;

/** Calls `submit` when the form `id` is submitted; its result goes into the element `<id>-reply`. */
function onSubmit(id: string, submit: Submit): void {
  const form = element(id, HTMLFormElement);
  const reply = document.getElementById(`${id}-reply`) ?? form;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = (name: string): string => {
      const input = document.getElementById(name);
      const hasValue = input instanceof HTMLInputElement || input instanceof HTMLTextAreaElement;
      return hasValue ? input.value : "";
    };
    await submit(value, reply);
  });
}

function initPublishForm(id: string): void {
  onSubmit(id, async (value, reply) => {
    const ownChannel = id === "channel-publish";
    const channel = ownChannel
      ? (document.getElementById("channel-name")?.textContent ?? "")
      : value("publish-channel");
    let payload: unknown;
    try {
      payload = JSON.parse(value(`${id}-payload`));
    } catch (error) {
      setStatus(reply, `The payload is not JSON: ${error instanceof Error ? error.message : ""}`, "bad");
      return;
    }
    const answer = await call("POST api/publish", {
      body: { channel, event: value(`${id}-event`), payload },
    });
    if (!answer.ok) return setStatus(reply, answer.error, "bad");
    const { listeners } = answer.value;
    if (listeners > 0) setStatus(reply, `Published. Subscribers on this server: ${listeners}.`, "good");
    else setStatus(reply, `Published, but nobody on this server is subscribed to ${channel}.`, "waiting");
  });
}

function initTokenForm(): void {
  onSubmit("token", async (value, reply) => {
    const channels = value("token-channels")
      .split(/[\s,]+/)
      .filter((name) => name !== "");
    const id = value("token-user").trim();
    const answer = await call("POST api/tokens", {
      body: {
        channels,
        ...(id === "" ? {} : { id }),
        ...(value("token-period").trim() === "" ? {} : { expires_in: value("token-period").trim() }),
      },
    });
    if (!answer.ok) return setStatus(reply, answer.error, "bad");
    const { token, id: user, expires_at } = answer.value;
    setStatus(reply, "", "good");
    reply.replaceChildren(
      textElement("span", `User ${user}, expires in ${duration(expires_at - Date.now())}. `),
      copyButton(() => token, "Copy token"),
      textElement("code", token, "token"),
    );
  });
}
