/** What is in the executable: the npm packages and the runtime, without build tools. */
import { join } from "node:path";
import lock from "../../package-lock.json";

const ROOT = join(import.meta.dir, "../..");

/** `name@version` of every npm package in the executable. */
function packagesInside(): { readonly name: string; readonly version: string }[] {
  const packages: Record<string, { version?: string; dev?: boolean }> = lock.packages;
  return Object.entries(packages)
    .filter(([path, { dev }]) => path !== "" && !dev)
    .map(([path, { version }]) => ({
      name: path.replace(/^.*node_modules\//, ""),
      version: version ?? "unknown",
    }));
}

/** CycloneDX bill of materials, dated `date` (s since 1970). (`--omit=dev` would also omit packages that both the executable and its tools need.) */
export function billOfMaterials(date: number): string {
  const run = Bun.spawnSync(
    ["npm", "sbom", "--package-lock-only", "--sbom-format=cyclonedx", "--sbom-type=application"],
    { cwd: ROOT, stdout: "pipe", stderr: "pipe" },
  );
  if (run.exitCode !== 0) throw new Error(`no bill of materials: ${run.stderr.toString().trim()}`);
  const bill: Bill = JSON.parse(run.stdout.toString());
  const held = new Set(packagesInside().map(({ name, version }) => `${name}@${version}`));
  const root = bill.metadata.component["bom-ref"];
  const runtime = {
    "bom-ref": `bun@${Bun.version}`,
    type: "framework",
    name: "bun",
    version: Bun.version,
    purl: `pkg:npm/bun@${Bun.version}`,
    licenses: [{ license: { id: "MIT" } }],
  };
  const isHeld = (ref: string) => ref === root || held.has(ref);
  const components = bill.components.filter((one) => isHeld(one["bom-ref"]));
  const dependencies = bill.dependencies
    .filter(({ ref }) => isHeld(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter(isHeld) }));
  // npm uses the name of the folder.
  const component = { ...bill.metadata.component, name: "channel" };
  // The number is random.
  const { serialNumber: _, ...rest } = bill;
  const made = {
    ...rest,
    metadata: { ...bill.metadata, timestamp: new Date(date * 1000).toISOString(), component },
    components: [runtime, ...components],
    dependencies,
  };
  return `${JSON.stringify(made, null, 2)}\n`;
}

/** The part of npm's CycloneDX that is used here. */
interface Bill {
  readonly serialNumber: string;
  readonly metadata: { readonly component: { readonly "bom-ref": string } };
  readonly components: readonly { readonly "bom-ref": string }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/** Licence texts of everything in the executable; they must be distributed with it. */
export async function thirdPartyNotices(): Promise<string> {
  const texts: string[] = [];
  for (const { name, version } of [{ name: "bun", version: Bun.version }, ...packagesInside()]) {
    const folder = join(ROOT, "node_modules", name);
    const [file] = [
      ...new Bun.Glob("{LICENSE,LICENCE,License,license,COPYING}*").scanSync({ cwd: folder }),
    ].sort();
    const text =
      file === undefined
        ? `Licence according to its package: ${(await Bun.file(join(folder, "package.json")).json()).license}.`
        : (await Bun.file(join(folder, file)).text()).trim();
    texts.push(`${name} ${version}\n\n${text}\n`);
  }
  return texts.join(`\n${"-".repeat(72)}\n\n`);
}
