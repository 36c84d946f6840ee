/** @file Every cause of recorded outputs in three nets: named, proved where it can be, and nothing else. */

import { afterAll, expect, test } from "vitest";
import { decodeFloat64, encodeFloat64 } from "../../src/core/dtype.ts";
import { createRng } from "../../src/core/rng.ts";
import { float32Tensor, type Tensor } from "../../src/core/tensor.ts";
import type { CauseId } from "../../src/diagnose/causes.ts";
import { goldenFindings } from "../../src/diagnose/golden-level.ts";
import { inTrainMode } from "../../src/diagnose/train-mode.ts";
import { loadNodeRuntime } from "../../src/host/ort-node.ts";
import type { Model } from "../../src/ir/graph.ts";
import { createConfusion } from "../support/confusion.ts";
import { type GraphNet, graphNet } from "../support/diagnosis-graphs.ts";
import { DIAGNOSIS_NETS } from "../support/diagnosis-nets.ts";

/** The deepest net takes as long as the others together: one seed. */
const SEEDS: Readonly<Record<string, readonly number[]>> = {
  "22 blocks, as A0": [41],
  grouped: [41, 42],
  "MobileOne blocks": [41, 42],
};
const SIZE = 32;
const SHAPE = [2, 3, SIZE, SIZE];
const PLANE = SIZE * SIZE;
const MEAN = [0.485, 0.456, 0.406];
const DEVIATION = [0.229, 0.224, 0.225];

const confusion = createConfusion("recorded outputs");
afterAll(confusion.print);

const runtime = await loadNodeRuntime();

async function run(model: Model, x: Tensor): Promise<Tensor> {
  const session = await runtime.createSession(model);
  try {
    return (await session.run(new Map([["x", x]]))).get("y")!;
  } finally {
    await session.release();
  }
}

type Change = (value: number, i: number, all: Float64Array) => number;

function mapped(x: Tensor, change: Change): Tensor {
  const values = decodeFloat64(x.bytes, x.dtype);
  return float32Tensor(
    x.shape,
    [...values].map((value, i) => change(value, i, values)),
  );
}

const channel = (i: number): number => Math.floor(i / PLANE) % 3;

/** What was given and what was recorded. */
type Make = (net: GraphNet, x: Tensor) => Promise<{ input?: Tensor; expected: Tensor }>;

function onInput(change: Change): Make {
  return async ({ training }, x) => ({ expected: await run(training, mapped(x, change)) });
}

function onOutput(change: (y: Tensor) => Tensor): Make {
  return async ({ training }, x) => ({ expected: change(await run(training, x)) });
}

const softmax: Change = (value, i, all) => {
  const row = all.subarray(i - (i % 5), i - (i % 5) + 5);
  return Math.exp(value) / row.reduce((sum, other) => sum + Math.exp(other), 0);
};

const FAULTS: readonly [CauseId, string, Make][] = [
  [
    "golden-train-mode",
    "",
    async ({ training }, x) => ({ expected: await run(inTrainMode(training)!, x) }),
  ],
  ["golden-channel-order", "", onInput((_, i, all) => all[i + (2 - 2 * channel(i)) * PLANE]!)],
  [
    "golden-normalization-missing",
    "",
    onInput((v, i) => (v - MEAN[channel(i)]!) / DEVIATION[channel(i)]!),
  ],
  [
    "golden-normalization-doubled",
    "",
    onInput((v, i) => v * DEVIATION[channel(i)]! + MEAN[channel(i)]!),
  ],
  ["golden-value-range", "to 255", onInput((v) => 255 * v)],
  ["golden-value-range", "to 1", onInput((v) => v / 255)],
  ["golden-softmax", "", onOutput((y) => mapped(y, softmax))],
  [
    "golden-softmax",
    "its logarithm",
    onOutput((y) => mapped(y, (...at) => Math.log(softmax(...at)))),
  ],
  [
    "golden-float16",
    "stored",
    onOutput((y) => ({
      dtype: "float16",
      shape: y.shape,
      bytes: encodeFloat64(decodeFloat64(y.bytes, y.dtype), "float16"),
    })),
  ],
  [
    "golden-layout",
    "",
    async ({ training }, x) => {
      const values = decodeFloat64(x.bytes, x.dtype);
      const last = [...values].map((_, i) => {
        const [image, inside] = [Math.floor(i / (3 * PLANE)), i % (3 * PLANE)];
        return values[image * 3 * PLANE + (inside % 3) * PLANE + Math.floor(inside / 3)]!;
      });
      const input = float32Tensor([2, SIZE, SIZE, 3], last);
      return { input, expected: await run(training, x) };
    },
  ],
];

test.each(
  Object.entries(SEEDS).flatMap(([name, seeds]) => seeds.map((seed) => [name, seed] as const)),
)("%s, seed %i: every reason of a recorded output is named and proved", async (name, seed) => {
  const net = await graphNet(await DIAGNOSIS_NETS[name]!(seed), seed, SIZE);
  const other = await graphNet(await DIAGNOSIS_NETS[name]!(seed + 100), seed + 100, SIZE);
  const rng = createRng(seed);
  const x = float32Tensor(
    SHAPE,
    Array.from({ length: 6 * PLANE }, () => rng.next()),
  );
  const wrong: string[] = [];
  const judge = async (
    cause: CauseId | "",
    words: string,
    golden: { readonly input: Tensor; readonly expected: Tensor },
    deploy: Model = net.deploy,
  ): Promise<void> => {
    const findings = await goldenFindings(net.training, deploy, golden, runtime, {});
    const label = cause === "golden-unexplained" ? "consistent" : "proved";
    const found = findings.map((each) => `${each.cause} ${each.confidence}`).join("; ");
    if (cause !== "")
      confusion.add(
        cause,
        findings.map((each) => each.cause),
      );
    if (found !== (cause === "" ? "" : `${cause} ${label}`))
      wrong.push(`${cause} ${words}: ${found}`);
  };
  await judge("", "same net", { input: x, expected: await run(net.training, x) });
  await judge("", "fused", { input: x, expected: await run(net.deploy, x) });
  for (const [cause, words, make] of FAULTS) {
    const { input = x, expected } = await make(net, x);
    await judge(cause, words, { input, expected });
  }
  const foreign = { input: x, expected: await run(other.deploy, x) };
  await judge("golden-deploy-only", "", foreign, other.deploy);
  await judge("golden-unexplained", "", foreign);
  expect(wrong).toEqual([]);
});
