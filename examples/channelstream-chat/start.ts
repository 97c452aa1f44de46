/** A chat: several channels, edits, deletions, who is there, and what they let others see of themselves. */
import { type Fields, fieldsOf, run, textOf } from "../channelstream-client/web-application.ts";

const CHANNELS = ["general", "music", "garden"];

/** How each of them behaves. */
const CONFIG = {
  notify_presence: true,
  broadcast_presence_with_user_lists: true,
  notify_state: true,
  store_history: true,
  history_size: 50,
};

const COLORS = ["teal", "crimson", "royalblue", "darkorange", "purple"];

await run({
  folder: import.meta.dir,
  title: "Chat",
  port: 8081,
  actions: (server) => {
    /** Whose connections these are: a page proves by its conn_id who it is. A real application has its sessions for this. */
    const users = new Map<string, string>();
    /** Who wrote which message: nobody edits those of others. */
    const authors = new Map<string, string>();

    const userOf = (asked: Fields): string => {
      const user = users.get(textOf(asked, "conn_id"));
      if (user === undefined) throw new Error("connect first");
      return user;
    };
    const channelOf = (asked: Fields): string => {
      const channel = textOf(asked, "channel");
      if (!CHANNELS.includes(channel)) throw new Error("there is no such channel");
      return channel;
    };
    const ownOf = (asked: Fields): { readonly uuid: string; readonly channel: string } => {
      const uuid = textOf(asked, "uuid");
      if (authors.get(uuid) !== userOf(asked)) throw new Error("that message is not yours");
      return { uuid, channel: channelOf(asked) };
    };

    return {
      /** A connection of this user in the first channel, with what was said there, and who is there. */
      async connect(asked) {
        const username = textOf(asked, "user");
        const answer = await server.call("POST", "/connect", {
          username,
          channels: [CHANNELS[0]],
          channel_configs: Object.fromEntries(CHANNELS.map((name) => [name, CONFIG])),
          fresh_user_state: { color: COLORS[username.length % COLORS.length], away: false, seen: Date.now() },
          state_public_keys: ["color", "away"],
          info: { return_public_state: true },
        });
        users.set(String(answer.conn_id), username);
        return {
          conn_id: answer.conn_id,
          state: answer.public_state,
          channels: CHANNELS,
          info: answer.channels_info,
        };
      },

      async join(asked) {
        userOf(asked);
        const { channels_info } = await server.call("POST", "/subscribe", {
          conn_id: asked.conn_id,
          channels: [channelOf(asked)],
          channel_configs: { [channelOf(asked)]: CONFIG },
          info: { return_public_state: true },
        });
        return { info: channels_info };
      },

      async leave(asked) {
        userOf(asked);
        await server.call("POST", "/unsubscribe", { conn_id: asked.conn_id, channels: [channelOf(asked)] });
      },

      async say(asked) {
        const user = userOf(asked);
        const message = { text: textOf(asked, "text") };
        const { list } = await server.call("POST", "/message", [
          { user, channel: channelOf(asked), message },
        ]);
        const uuid = Array.isArray(list) ? fieldsOf(list[0]).uuid : undefined;
        if (typeof uuid === "string") authors.set(uuid, user);
      },

      async edit(asked) {
        await server.call("PATCH", "/message", [
          { ...ownOf(asked), message: { text: textOf(asked, "text") } },
        ]);
      },

      async remove(asked) {
        await server.call("DELETE", "/message", [ownOf(asked)]);
      },

      /** What others see of this user. */
      async state(asked) {
        const { color, away } = asked;
        if (typeof color !== "string" || typeof away !== "boolean")
          throw new Error("a colour, and whether away");
        await server.call("POST", "/user_state", { user: userOf(asked), user_state: { color, away } });
      },
    };
  },
});
