/** @file The blocked forms of the input gradient against ConvTranspose: the same graph, both run by onnxruntime. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { randomFloats } from "../../../test/support/gradient-check.ts";
import { float32View } from "../../core/dtype.ts";
import { createRng } from "../../core/rng.ts";
import { type Shape, type Tensor, tensor } from "../../core/tensor.ts";
import { loadNodeRuntime } from "../../host/ort-node.ts";
import { BLOCKED_DOMAIN, findChannelBlock } from "../convolution.ts";
import { createEmitter, type Emitter } from "../emitter.ts";
import { convInputGradient } from "./conv-input.ts";
import { addGradients } from "./phase-convolution.ts";

const domains = new Map([[BLOCKED_DOMAIN, 1]]);

interface Built {
  readonly operators: readonly string[];
  readonly data: Float32Array;
}

async function run(
  channelBlock: number | undefined,
  inputs: ReadonlyMap<string, Tensor>,
  build: (e: Emitter) => string,
): Promise<Built> {
  const e = createEmitter({ dtype: "float32", name: "check", channelBlock, domains });
  for (const [name, value] of inputs) e.input(name, "float32", value.shape);
  const y = build(e);
  e.output(y, "float32");
  const model = e.builder.build();
  const session = await (await loadNodeRuntime()).createSession(model, { threads: 1 });
  const outputs = await session.run(inputs);
  await session.release();
  return {
    operators: model.graph.nodes.map((node) => node.opType),
    data: float32View(outputs.get(y)!.bytes),
  };
}

const random = (seed: number, shape: Shape): Tensor =>
  tensor("float32", shape, Float32Array.from(randomFloats(createRng(seed), shape, -1, 1)));

/** Both sum at most `terms` products below 1 in float32, in their own order. */
function expectClose(a: Float32Array, b: Float32Array, terms: number): void {
  expect(a.length).toBe(b.length);
  let worst = 0;
  for (const [i, value] of a.entries()) worst = Math.max(worst, Math.abs(value - b[i]!));
  expect(worst).toBeLessThan(terms * 2 ** -23 * Math.sqrt(terms));
}

const axis = fc.record({
  kernel: fc.integer({ min: 1, max: 5 }),
  stride: fc.integer({ min: 2, max: 3 }),
  dilation: fc.integer({ min: 1, max: 2 }),
  begin: fc.integer({ min: 0, max: 3 }),
  end: fc.integer({ min: 0, max: 3 }),
  extra: fc.integer({ min: 0, max: 6 }),
});

test("strided convolutions in phases give what ConvTranspose gives", async () => {
  const block = await findChannelBlock(await loadNodeRuntime());
  if (block === undefined) return; // this processor has no blocked convolution
  let phased = 0;
  const property = fc.asyncProperty(fc.tuple(axis, axis), fc.integer(), async (axes, seed) => {
    const sizes = axes.map(({ kernel, dilation, extra }) => dilation * (kernel - 1) + 1 + extra);
    const options = {
      strides: axes.map((a) => a.stride),
      dilations: axes.map((a) => a.dilation),
      beginPads: axes.map((a) => a.begin),
      endPads: axes.map((a) => a.end),
      group: 1,
    };
    const out = axes.map(
      (a, i) =>
        Math.floor((sizes[i]! + a.begin + a.end - a.dilation * (a.kernel - 1) - 1) / a.stride) + 1,
    );
    const inputs = new Map([
      ["dy", random(seed, [2, 32, ...out])],
      ["w", random(seed + 1, [32, 16, ...axes.map((a) => a.kernel)])],
    ]);
    const build = (e: Emitter): string =>
      convInputGradient(e, "dy", "w", [2, 16, ...sizes], options);
    const [plain, blocked] = [await run(undefined, inputs, build), await run(block, inputs, build)];
    expect(plain.operators).toEqual(["ConvTranspose"]);
    if (blocked.operators.includes("ReorderOutput")) phased++;
    expectClose(blocked.data, plain.data, 32 * 25);
  });
  await fc.assert(property, { seed: 20_261_123, numRuns: 60 });
  expect(phased).toBeGreaterThan(20);
});

test("gradients of two strided branches are added before they are interleaved", async () => {
  const block = await findChannelBlock(await loadNodeRuntime());
  if (block === undefined) return;
  const inputs = new Map([
    ["a", random(1, [1, 16, 4, 4])],
    ["b", random(2, [1, 16, 4, 4])],
    ["w3", random(3, [16, 16, 3, 3])],
    ["w1", random(4, [16, 16, 1, 1])],
  ]);
  const strided = { strides: [2, 2], dilations: [1, 1], group: 1 };
  const dense = { ...strided, beginPads: [1, 1], endPads: [1, 1] };
  const pointwise = { ...strided, beginPads: [0, 0], endPads: [0, 0] };
  const build = (e: Emitter): string =>
    addGradients(
      e,
      convInputGradient(e, "a", "w3", [1, 16, 8, 8], dense),
      convInputGradient(e, "b", "w1", [1, 16, 8, 8], pointwise),
    );
  const [plain, blocked] = [await run(undefined, inputs, build), await run(block, inputs, build)];
  expect(blocked.operators.at(-1)).toBe("ReorderOutput"); // not Add
  expectClose(blocked.data, plain.data, 16 * 10);
});
