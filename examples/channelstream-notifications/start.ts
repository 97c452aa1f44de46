/** Notifications: a web application that sends them by signed calls, and as many windows as you like that show them. */
import { fieldsOf, run, textOf } from "../channelstream-client/web-application.ts";

/** Everybody listens here. */
const CHANNEL = "notifications";

const LEVELS = ["info", "success", "warning", "danger"];

await run({
  folder: import.meta.dir,
  title: "Notifications",
  port: 8080,
  actions: (server) => ({
    /** A connection of this user, and what was sent to everybody before. */
    async connect(asked) {
      const answer = await server.call("POST", "/connect", {
        username: textOf(asked, "user"),
        channels: [CHANNEL],
        channel_configs: { [CHANNEL]: { store_history: true, history_size: 20 } },
      });
      const channel = fieldsOf(fieldsOf(fieldsOf(answer.channels_info).channels)[CHANNEL]);
      return { conn_id: answer.conn_id, history: channel.history };
    },

    /** To one user where `to` names one, else to everybody. */
    async notify(asked) {
      const level = textOf(asked, "level");
      if (!LEVELS.includes(level)) throw new Error("there is no such level");
      const to = typeof asked.to === "string" ? asked.to.trim() : "";
      const message = { level, text: textOf(asked, "text") };
      const whereto = to === "" ? { channel: CHANNEL } : { pm_users: [to] };
      await server.call("POST", "/message", [{ user: textOf(asked, "user"), message, ...whereto }]);
    },
  }),
});
