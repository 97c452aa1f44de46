import { expect, test } from "bun:test";
import { fuzz } from "../../fuzz/fuzz.ts";

/** The long form is `npx bun test/fuzz/run.ts --inputs 10000000 --seed 7`. */
const INPUTS = process.env.CHANNEL_LONG === "1" ? 200_000 : 50_000;

test("no input makes a handler throw, and clients and hub match the model", async () => {
  const seed = Math.floor(Number(process.env.CHANNEL_FUZZ_SEED ?? 20_261_121)) || 1;
  const { findings, inputs } = await fuzz({ inputs: INPUTS, seed });
  expect(findings).toEqual([]);
  const total = Object.values(inputs).reduce((sum, each) => sum + each, 0);
  expect(total).toBeGreaterThanOrEqual(INPUTS);
}, 120_000);
