import type { Scene } from "../scene.ts";
import { pages } from "./pages.ts";

/** The traffic of `pages`: for clients that keep up, `slow = "latest"` (`ours-latest`) is not to cost more than `ours`. */
export const conflate: Scene = {
  ...pages,
  name: "conflate",
  // 1.1 to 1.4: what it keeps for each client is small beside a page, and so are the figures that are compared.
  worstRatio: 1.8,
  // A client that does not answer for 0.8 s, since the whole machine paused, gets the newest messages only, for a moment.
  mayMiss: 0.02,
  title: '100 pages that keep up, 200 KB a second each, with slow = "latest" and without',
};
