import { afterEach, expect, setSystemTime, test } from "bun:test";
import { CERTIFICATE, KEY } from "./certificate.ts";
import { folderWith, load } from "./workspace.ts";

afterEach(() => {
  setSystemTime();
});

function warnings(at: string | null): readonly string[] {
  if (at !== null) setSystemTime(new Date(at));
  const cwd = folderWith({ "c.pem": CERTIFICATE, "k.pem": KEY });
  const env = { TLS_CERT: "c.pem", TLS_KEY: "k.pem", JWT_SECRET: "a-long-secret-that-nobody-could-guess" };
  const loaded = load({ cwd, env });
  if (!loaded.ok) throw new Error(loaded.message);
  return loaded.warnings;
}

test("a certificate that is good is not talked about", () => {
  expect(warnings(null)).toEqual([]);
});

test("an expired one, and a clock that is years behind, are logged with a remedy", () => {
  expect(warnings("2199-01-01")).toEqual([
    expect.stringMatching(/^TLS_CERT: the certificate expired on \S+: renew it and restart the server/),
  ]);
  expect(warnings("1970-01-02")).toEqual([
    expect.stringMatching(/^the system clock says 1970-01-02, which is before this program was built/),
    expect.stringMatching(
      /^TLS_CERT: the certificate is valid from \S+, but the system clock says 1970-01-02/,
    ),
  ]);
});
