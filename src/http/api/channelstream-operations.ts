import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import { sign } from "../../auth/signature.ts";
import type { Config } from "../../config/config.ts";
import { CHANNELSTREAM_PATHS } from "./channelstream-paths.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

const OFF = new Rejection(404, "channelstream_off", "Channelstream is disabled (channelstream.secret).");

/** Signs Channelstream calls for the API explorer: the secret itself never leaves the server. */
export function channelstreamOperations({ config }: ApiDeps): Operation[] {
  return [
    operation({
      method: "POST",
      path: "/api/channelstream/signature",
      tag: "Tokens",
      summary: "Sign a Channelstream call",
      description: "Returns a value for the header `x-channelstream-secret`, valid for one minute.",
      needs: "admin",
      act: "sign",
      answer: z.object({ signature: z.string() }),
      exampleAnswer: { signature: "ZXhwbG9yZXIuMTg5MzQ1MjQwMA.c2lnbmF0dXJl" },
      errors: [OFF],
      run() {
        const { secret } = config.channelstream;
        if (secret === null) return OFF;
        return { signature: sign("explorer", secret, Date.now()) };
      },
    }),
  ];
}

/** The OpenAPI paths of Channelstream; empty if it is disabled. */
export function channelstreamPaths({ channelstream }: Config): Readonly<Record<string, object>> {
  return channelstream.secret === null ? {} : CHANNELSTREAM_PATHS;
}
