import { NPM_NAME, PYTHON_NAME } from "./platforms.ts";

/** A file of a release. */
export interface Made {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export const DESCRIPTION =
  "Real-time hub between browsers and Redis: Phoenix channels, event groups and Channelstream";

/** The page of the package at npm and PyPI. */
export function packagePage(): string {
  return `# Channel

Real-time hub between browsers and Redis. Browsers join channels over WebSocket, long polling or server-sent events; backends send with
a plain Redis \`PUBLISH\` and receive with \`SUBSCRIBE\`.

This package brings the executable of your platform: Linux (x64 and arm64, glibc 2.17 or newer; or musl 1.2.5 or newer with
\`libstdc++\`), macOS 13 or newer, Windows. Nothing is downloaded or compiled when it is installed.

\`\`\`sh
npx ${NPM_NAME} serve
pipx run ${PYTHON_NAME} serve
\`\`\`

Either starts a server on <http://127.0.0.1:2025>, with an embedded bus if no Redis answers. Or install the command \`channel\`:

\`\`\`sh
npm install --global ${NPM_NAME}
pip install ${PYTHON_NAME}
channel serve
channel publish to:system:update '{"hello":"everybody"}'
\`\`\`

\`channel help\` lists the commands; \`channel init\` writes a configuration with new secrets. In a Tangram installation:
\`channel init --tangram\`, in the folder of \`tangram.toml\`.
`;
}
