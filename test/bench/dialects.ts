import type { Driver } from "../../src/bench/driver.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { centrifugo } from "./dialects/centrifugo.ts";
import { nchan } from "./dialects/nchan.ts";
import { socketIo } from "./dialects/socket-io.ts";
import { tangram } from "./dialects/tangram.ts";

/** All that the generator speaks. To add one is to add a file and a name here. */
export const dialects: readonly Driver[] = [phoenix, tangram, socketIo, centrifugo, nchan];
