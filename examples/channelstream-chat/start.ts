/** A chat: several channels, edits, deletions, presence, and public user state. */
import { type Fields, fieldsOf, run, textOf } from "../channelstream-client/web-application.ts";

const CHANNELS = ["general", "music", "garden"];

/** Configuration of each channel. */
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
    /** User by conn_id, which identifies a page here. A real application uses its sessions. */
    const users = new Map<string, string>();
    /** Author by message uuid: only authors may edit and delete. */
    const authors = new Map<string, string>();

    const userOf = (parameters: Fields): string => {
      const user = users.get(textOf(parameters, "conn_id"));
      if (user === undefined) throw new Error("not connected");
      return user;
    };
    const channelOf = (parameters: Fields): string => {
      const channel = textOf(parameters, "channel");
      if (!CHANNELS.includes(channel)) throw new Error("unknown channel");
      return channel;
    };
    const ownOf = (parameters: Fields): { readonly uuid: string; readonly channel: string } => {
      const uuid = textOf(parameters, "uuid");
      if (authors.get(uuid) !== userOf(parameters)) throw new Error("only the author can change a message");
      return { uuid, channel: channelOf(parameters) };
    };

    return {
      /** Creates a connection that joins the first channel; returns its history and users. */
      async connect(parameters) {
        const username = textOf(parameters, "user");
        const answer = await server.call("POST", "/connect", {
          username,
          channels: [CHANNELS[0]],
          channel_configs: Object.fromEntries(CHANNELS.map((name) => [name, CONFIG])),
          fresh_user_state: { color: COLORS[users.size % COLORS.length], away: false, seen: Date.now() },
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

      async join(parameters) {
        userOf(parameters);
        const { channels_info } = await server.call("POST", "/subscribe", {
          conn_id: parameters.conn_id,
          channels: [channelOf(parameters)],
          channel_configs: { [channelOf(parameters)]: CONFIG },
          info: { return_public_state: true },
        });
        return { info: channels_info };
      },

      async leave(parameters) {
        userOf(parameters);
        await server.call("POST", "/unsubscribe", {
          conn_id: parameters.conn_id,
          channels: [channelOf(parameters)],
        });
      },

      async send(parameters) {
        const user = userOf(parameters);
        const message = { text: textOf(parameters, "text") };
        const { list } = await server.call("POST", "/message", [
          { user, channel: channelOf(parameters), message },
        ]);
        const uuid = Array.isArray(list) ? fieldsOf(list[0]).uuid : undefined;
        if (typeof uuid === "string") authors.set(uuid, user);
      },

      async edit(parameters) {
        await server.call("PATCH", "/message", [
          { ...ownOf(parameters), message: { text: textOf(parameters, "text") } },
        ]);
      },

      async remove(parameters) {
        await server.call("DELETE", "/message", [ownOf(parameters)]);
      },

      /** Sets the public state of the user. */
      async state(parameters) {
        const { color, away } = parameters;
        if (typeof color !== "string" || typeof away !== "boolean")
          throw new Error("color must be a string and away a boolean");
        await server.call("POST", "/user_state", { user: userOf(parameters), user_state: { color, away } });
      },
    };
  },
});
