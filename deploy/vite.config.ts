/**
 * Vite's development server in front of Channel: pages and modules come from Vite, sockets and tokens from the server
 * that `CHANNEL_SERVICE` names (`CHANNEL_SERVICE=http://127.0.0.1:4000 npx vite`).
 */
const target = process.env.CHANNEL_SERVICE ?? "http://127.0.0.1:2025";

export default {
  server: {
    proxy: {
      // With a slash behind it, as AWX writes it, or without.
      "/websocket": { target, ws: true },
      "/longpoll": { target },
      "/token": { target },
      "/phoenix.js": { target },
    },
  },
};
