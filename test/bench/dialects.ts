import type { Dialect } from "../../src/bench/dialect.ts";
import { phoenix } from "../../src/bench/phoenix.ts";
import { centrifugo } from "./dialects/centrifugo.ts";
import { socketIo } from "./dialects/socket-io.ts";
import { tangram } from "./dialects/tangram.ts";

/** All that the generator speaks. To add one is to add a file and a name here. */
export const dialects: readonly Dialect[] = [phoenix, tangram, socketIo, centrifugo];
