/** @file With a runtime: recorded outputs and why they differ, a fault's effect alone, and the numbers about numbers. */

import { beforeAll, describe, expect, test } from "vitest";
import { decodeFloat64, encodeFloat64 } from "../../src/core/dtype.ts";
import { createRng } from "../../src/core/rng.ts";
import { float32Tensor, lazyTensor, type Tensor, tensor } from "../../src/core/tensor.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import { inTrainMode } from "../../src/diagnose/train-mode.ts";
import { loadNodeRuntime } from "../../src/host/ort-node.ts";
import type { Model } from "../../src/ir/graph.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { buildRepVgg } from "../../src/zoo/nets/index.ts";
import {
  checkpointFile,
  type DiagnosisNet,
  deployState,
  repVggNet,
} from "../support/diagnosis-nets.ts";
import { INJECTIONS } from "../support/inject.ts";
import { plainFuse } from "../support/plain-fuse.ts";

let net: DiagnosisNet;
let runtime: Runtime;
let model: Model;
const input = randomInput([2, 3, 32, 32]);

beforeAll(async () => {
  net = await repVggNet("grouped", 51);
  runtime = await loadNodeRuntime();
  model = buildRepVgg(net.arch!, "training", net.state);
});

function randomInput(shape: readonly number[]): Tensor {
  const rng = createRng(9);
  const count = shape.reduce((a, b) => a * b, 1);
  return float32Tensor(
    shape,
    Array.from({ length: count }, () => rng.next()),
  );
}

async function run(graph: Model, x: Tensor): Promise<Tensor> {
  const session = await runtime.createSession(graph);
  try {
    return (await session.run(new Map([["x", x]]))).get("y")!;
  } finally {
    await session.release();
  }
}

function mapped(
  x: Tensor,
  change: (value: number, i: number, all: Float64Array) => number,
): Tensor {
  const values = decodeFloat64(x.bytes, x.dtype);
  return tensor(
    x.dtype,
    x.shape,
    Float32Array.from(values, (value, i) => change(value, i, values)),
  );
}

const PLANE = 32 * 32;
const channel = (i: number): number => Math.floor(i / PLANE) % 3;
const MEAN = [0.485, 0.456, 0.406];
const DEVIATION = [0.229, 0.224, 0.225];

async function goldenCauses(x: Tensor, expected: Tensor): Promise<string[]> {
  const { findings } = await diagnose(
    checkpointFile("train.pth", net.state),
    checkpointFile("deploy.pth", deployState(net)),
    { runtime: async () => runtime, golden: { input: x, expected }, replicas: 2, numerics: false },
  );
  // What explains a recorded output is proved, unless a test says otherwise.
  return findings.map(
    ({ cause, detail, confidence }) =>
      `${cause}: ${detail}${confidence === "proved" ? "" : ` (${confidence})`}`,
  );
}

describe("a recorded output", () => {
  test("of the same net and input gives no finding", async () => {
    expect(await goldenCauses(input, await run(model, input))).toEqual([]);
  });

  test("made in train() mode", async () => {
    expect(await goldenCauses(input, await run(inTrainMode(model)!, input))).toEqual([
      "golden-train-mode: batch statistics reproduce it",
    ]);
  });

  test.each<[string, (value: number, i: number, all: Float64Array) => number, string]>([
    [
      "with BGR for RGB",
      (_, i, all) => all[i + (2 - 2 * channel(i)) * PLANE]!,
      "golden-channel-order: with the input's channels reversed it matches",
    ],
    [
      "with a normalized input",
      (v, i) => (v - MEAN[channel(i)]!) / DEVIATION[channel(i)]!,
      "golden-normalization-missing: with the input normalized by ImageNet's mean and deviation it matches",
    ],
    [
      "without the normalization",
      (v, i) => v * DEVIATION[channel(i)]! + MEAN[channel(i)]!,
      "golden-normalization-doubled: with ImageNet's normalization undone it matches",
    ],
    [
      "with values to 255",
      (v) => v * 255,
      "golden-value-range: with the input times 255 it matches",
    ],
  ])("made %s", async (_, change, expected) => {
    expect(await goldenCauses(input, await run(model, mapped(input, change)))).toEqual([expected]);
  });

  test("with the channels of the input last", async () => {
    const values = decodeFloat64(input.bytes, "float32");
    const last = Float32Array.from(values, (_, i) => {
      const image = Math.floor(i / (3 * PLANE));
      const inside = i % (3 * PLANE);
      return values[image * 3 * PLANE + (inside % 3) * PLANE + Math.floor(inside / 3)]!;
    });
    const given = tensor("float32", [2, 32, 32, 3], last);
    expect(await goldenCauses(given, await run(model, input))).toEqual([
      "golden-layout: input [2, 32, 32, 3]",
    ]);
  });

  test("with a softmax", async () => {
    const y = await run(model, input);
    const values = decodeFloat64(y.bytes, "float32");
    const rows = [0, 1].map((r) => values.slice(r * 5, r * 5 + 5).map(Math.exp));
    const soft = rows.flatMap((row) => [...row].map((e) => e / row.reduce((a, b) => a + b)));
    expect(await goldenCauses(input, float32Tensor(y.shape, soft))).toEqual([
      "golden-softmax: it is the softmax of the model's output",
    ]);
  });

  const half = (y: Tensor): Tensor => ({
    dtype: "float16",
    shape: y.shape,
    bytes: encodeFloat64(decodeFloat64(y.bytes, y.dtype), "float16"),
  });

  test("stored in half precision, alone and beside another reason", async () => {
    const stored =
      "golden-float16: every number is a float16, and rounding to it explains the distance";
    expect(await goldenCauses(input, half(await run(model, input)))).toEqual([stored]);
    const reversed = mapped(input, (_, i, all) => all[i + (2 - 2 * channel(i)) * PLANE]!);
    expect((await goldenCauses(input, half(await run(model, reversed)))).sort()).toEqual([
      "golden-channel-order: with the input's channels reversed it matches",
      stored,
    ]);
  });

  test("computed in half precision: consistent only", async () => {
    // Eight half roundings per weight stand for those of every sum: more than storing the output makes.
    const rng = createRng(4);
    const initializers = new Map(model.graph.initializers);
    for (const [name, value] of initializers) {
      const moved = decodeFloat64(await value.read(), "float32").map(
        (v) => v * (1 + (rng.next() < 0.5 ? -8 : 8) * 2 ** -11),
      );
      initializers.set(name, lazyTensor(float32Tensor(value.shape, moved)));
    }
    const y = await run({ ...model, graph: { ...model.graph, initializers } }, input);
    expect(await goldenCauses(input, half(y))).toEqual([
      "golden-float16: every number is a float16 (consistent)",
    ]);
  });

  test("summed in another order gives no finding; a ten-thousandth more is no rounding", async () => {
    const fused = buildRepVgg(net.arch!, "deploy", deployState(net));
    const y = await run(fused, input);
    expect(decodeFloat64(y.bytes, "float32")).not.toEqual(
      decodeFloat64((await run(model, input)).bytes, "float32"),
    );
    expect(await goldenCauses(input, y)).toEqual([]);
    const off = mapped(y, (v, i) => v * (1 + (i % 2 ? 1e-4 : -1e-4)));
    expect(await goldenCauses(input, off)).toEqual([
      "golden-unexplained: none of the usual reasons brings it near (consistent)",
    ]);
  });

  test("that two reasons explain is proved for neither", async () => {
    const grey = mapped(
      input,
      (_, i, all) => all[(i % PLANE) + Math.floor(i / PLANE / 3) * 3 * PLANE]!,
    );
    const normalized = mapped(grey, (v, i) => (v - MEAN[channel(i)]!) / DEVIATION[channel(i)]!);
    expect(await goldenCauses(grey, await run(model, normalized))).toEqual([
      "golden-normalization-missing: with the input normalized by ImageNet's mean and deviation it matches (consistent)",
    ]);
  });

  test("of another net is not explained", async () => {
    const other = await repVggNet("grouped", 52);
    const y = await run(buildRepVgg(other.arch!, "training", other.state), input);
    expect((await goldenCauses(input, y))[0]).toMatch(/^golden-unexplained/);
  });
});

test("two faults: each one's effect is measured alone", async () => {
  const [strong, weak] = [
    INJECTIONS.find(({ cause }) => cause === "identity-missing")!,
    INJECTIONS.find(({ cause, name }) => cause === "bn-epsilon" && name.includes("odd"))!,
  ];
  const rng = createRng(1);
  const first = net.blocks.find((block) => strong.fits(block, net))!;
  const last = net.blocks.at(-1)!;
  const state = (which: "both" | "strong") =>
    deployState(net, (block) =>
      block === first
        ? strong.apply(block, rng, net)
        : block === last && which === "both"
          ? weak.apply(block, rng, net)
          : plainFuse(block),
    );
  const options = { runtime: async () => runtime, replicas: 2 };
  const { findings } = await diagnose(
    checkpointFile("t", net.state),
    checkpointFile("d", state("both")),
    options,
  );
  const alone = await diagnose(
    checkpointFile("t", net.state),
    checkpointFile("d", state("strong")),
    options,
  );
  expect(findings.map(({ cause }) => cause)).toEqual(["identity-missing", "bn-epsilon"]);
  const [effect, small] = findings.map((finding) => finding.effect!);
  expect(effect!.relativeL2).toBeGreaterThan(10 * small!.relativeL2);
  expect(small!.relativeL2).toBeGreaterThan(0);
  // The same fault by itself moves the output as much, up to the rounding of the weights (2⁻²⁴ each, a few hundred summed).
  expect(effect!.relativeL2).toBeCloseTo(alone.findings[0]!.effect!.relativeL2, 4);
});

test("numbers about numbers: cancellation, dead filters, half precision, growth, and whether it matters", async () => {
  const tensors = new Map(net.state.tensors);
  const set = async (key: string, at: number, value: number): Promise<void> => {
    const old = tensors.get(key)!;
    const values = decodeFloat64(await old.read(), "float32");
    values[at] = value;
    tensors.set(key, lazyTensor(float32Tensor(old.shape, values)));
  };
  // A filter whose batch norms are all but off, and one with a gamma that float16 cannot hold.
  for (const branch of ["rbr_dense.bn", "rbr_1x1.bn", "rbr_identity"])
    await set(`stage1.1.${branch}.weight`, 3, 1e-12);
  await set("stage4.0.rbr_dense.bn.weight", 2, 1e7);
  const state = { tensors, modules: new Map() };
  const { numerics, findings } = await diagnose(
    checkpointFile("t", state),
    checkpointFile("d", (await converted(state)).state),
    {
      runtime: async () => runtime,
      replicas: 2,
    },
  );
  expect(findings).toEqual([]);
  expect(numerics!.nearlyDead).toMatchObject([{ block: "stage1.1", channel: 3 }]);
  expect(numerics!.halfOverflow).toMatchObject([{ block: "stage4.0", channel: 2 }]);
  expect(numerics!.cancellation[0]!.value).toBeGreaterThanOrEqual(1);
  expect(numerics!.growth.map(({ value }) => value)).toHaveLength(net.blocks.length);
  expect(numerics!.growth.at(-1)!.relativeL2).toBeGreaterThan(0);
  expect(numerics!.matters).toMatch(/label can flip/);
});

/** The exact deploy form by the project's own converter. */
async function converted(state: DiagnosisNet["state"]) {
  const { planCheckpoint } = await import("../../src/convert/plan-checkpoint.ts");
  const plan = await planCheckpoint(checkpointFile("t", state));
  return {
    state: {
      tensors: new Map(plan.tensors.map(({ name, tensor: t }) => [name, t])),
      modules: new Map(),
    },
  };
}
