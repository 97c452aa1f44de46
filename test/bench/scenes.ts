import type { Scene } from "./scene.ts";
import { clientEvents } from "./scenes/client-events.ts";
import { conflate } from "./scenes/conflate.ts";
import { fanOut } from "./scenes/fan-out.ts";
import { groupsFanOut, groupsOwn } from "./scenes/groups.ts";
import { regroup, regroupMany } from "./scenes/groups-replace.ts";
import { joined, presence } from "./scenes/joined.ts";
import { ownChannels } from "./scenes/own-channels.ts";
import { paced } from "./scenes/paced.ts";
import { pages } from "./scenes/pages.ts";
import { pushes } from "./scenes/pushes.ts";

/** All that is measured, in the order of the table. To add a scene is to add a file and a name here. */
export const scenes: readonly Scene[] = [
  fanOut,
  groupsFanOut,
  paced,
  ownChannels,
  groupsOwn,
  pages,
  conflate,
  joined,
  presence,
  pushes,
  clientEvents,
  regroup,
  regroupMany,
];
