/** Notifications: a web application that sends them by signed calls, and pages that show them. */
import { fieldsOf, run, textOf } from "../channelstream-client/web-application.ts";

/** The channel of all users. */
const CHANNEL = "notifications";

const LEVELS = ["info", "success", "warning", "danger"];

await run({
  folder: import.meta.dir,
  title: "Notifications",
  port: 8080,
  actions: (server) => ({
    /** Creates a connection of the user; returns the history of the channel. */
    async connect(parameters) {
      const answer = await server.call("POST", "/connect", {
        username: textOf(parameters, "user"),
        channels: [CHANNEL],
        channel_configs: { [CHANNEL]: { store_history: true, history_size: 20 } },
      });
      const channel = fieldsOf(fieldsOf(fieldsOf(answer.channels_info).channels)[CHANNEL]);
      return { conn_id: answer.conn_id, history: channel.history };
    },

    /** Sends to the user `to`, or to all users if `to` is empty. */
    async notify(parameters) {
      const level = textOf(parameters, "level");
      if (!LEVELS.includes(level)) throw new Error(`level must be one of ${LEVELS.join(", ")}`);
      const to = typeof parameters.to === "string" ? parameters.to.trim() : "";
      const message = { level, text: textOf(parameters, "text") };
      const recipient = to === "" ? { channel: CHANNEL } : { pm_users: [to] };
      await server.call("POST", "/message", [{ user: textOf(parameters, "user"), message, ...recipient }]);
    },
  }),
});
