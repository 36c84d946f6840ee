/** @file The RepVGG graphs run in onnxruntime: seeded nets behave, SE pools globally. */

import { afterAll, describe, expect, test } from "vitest";
import { decodeFloat64 } from "../src/core/dtype.ts";
import { createRng } from "../src/core/rng.ts";
import {
  float32Tensor,
  type LazyTensor,
  lazyTensor,
  readFloat64,
  type StateDict,
  type Tensor,
} from "../src/core/tensor.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import type { Model } from "../src/ir/graph.ts";
import type { Session } from "../src/runtime/session.ts";
import { buildRepVgg } from "../src/zoo/nets/build-repvgg.ts";
import { createRepVgg } from "../src/zoo/nets/create-repvgg.ts";
import type { RepVggArch } from "../src/zoo/nets/repvgg-arch.ts";

const sessions: Session[] = [];
afterAll(async () => {
  for (const session of sessions) await session.release();
});

async function run(model: Model, x: Tensor): Promise<Float64Array> {
  const session = await (await loadNodeRuntime()).createSession(model, { threads: 1 });
  sessions.push(session);
  const y = (await session.run(new Map([["x", x]]))).get("y")!;
  return decodeFloat64(y.bytes, y.dtype);
}

function randomInput(shape: readonly number[], seed: number): Tensor {
  const rng = createRng(seed);
  const count = shape.reduce((product, n) => product * n, 1);
  return float32Tensor(
    shape,
    Array.from({ length: count }, () => rng.normal()),
  );
}

function relativeL2(found: Float64Array, truth: Float64Array): number {
  let error = 0;
  let norm = 0;
  for (let i = 0; i < truth.length; i++) {
    error += (found[i]! - truth[i]!) ** 2;
    norm += truth[i]! ** 2;
  }
  return Math.sqrt(error / norm);
}

/** D2's depth at a hundredth of its width. */
const DEEP: RepVggArch = {
  layout: "repvgg",
  inputChannels: 3,
  stem: 16,
  stageBlocks: [8, 14, 24, 1],
  stageWidths: [16, 24, 32, 64],
  groups: Array.from({ length: 48 }, (_, block) => (block > 0 && block % 2 === 0 ? 2 : 1)),
  classes: 20,
  se: "none",
  auxHeads: false,
};

describe("seeded weights", () => {
  test.each(["training", "deploy"] as const)(
    "48 blocks in %s form neither overflow nor vanish",
    async (form) => {
      const model = buildRepVgg(DEEP, form, createRepVgg(DEEP, form, { seed: 7 }));
      const y = await run(model, randomInput([2, 3, 64, 64], 1));
      const mean = y.reduce((sum, v) => sum + v, 0) / y.length;
      const deviation = Math.sqrt(y.reduce((sum, v) => sum + (v - mean) ** 2, 0) / y.length);
      // Four decades around 1: a growth of 10 % per block would be 1.1^48 = 97, of 21 % 9400.
      expect(deviation).toBeGreaterThan(1e-2);
      expect(deviation).toBeLessThan(1e2);
      // The two images give different answers: the signal reaches the head.
      expect(relativeL2(y.slice(0, 20), y.slice(20))).toBeGreaterThan(1e-4);
    },
  );
});

/** The last two axes swapped. */
async function transposed(source: LazyTensor): Promise<LazyTensor> {
  const values = await readFloat64(source);
  const [h, w] = source.shape.slice(-2) as [number, number];
  const swapped = values.map((_, i) => {
    const plane = Math.floor(i / (h * w)) * h * w;
    const [r, c] = [Math.floor((i - plane) / h), (i - plane) % h];
    return values[plane + c * w + r]!;
  });
  return lazyTensor(float32Tensor([...source.shape.slice(0, -2), w, h], swapped));
}

describe("SE on maps that are not square", () => {
  test.each(["before-relu", "after-relu"] as const)(
    "%s: transposing the image and every kernel changes nothing",
    async (se) => {
      // A window of the map's width, as the origin has it, would average other pixels of the transposed map.
      const arch: RepVggArch = {
        ...DEEP,
        stageBlocks: [1, 2, 1, 1],
        groups: [1, 1, 2, 1, 1, 1],
        se,
        seReduction: 4,
      };
      const state = createRepVgg(arch, "training", { seed: 9 });
      const tensors = new Map<string, LazyTensor>();
      for (const [key, value] of state.tensors) {
        tensors.set(key, value.shape.length === 4 ? await transposed(value) : value);
      }
      const swapped: StateDict = { tensors, modules: state.modules };
      const x = randomInput([2, 3, 64, 96], 3);
      const y = await run(buildRepVgg(arch, "training", state), x);
      const xt = await transposed(lazyTensor(x));
      const yt = await run(buildRepVgg(arch, "training", swapped), {
        dtype: xt.dtype,
        shape: xt.shape,
        bytes: await xt.read(),
      });
      // Only the order of float32 sums differs: 6 blocks of some roundings, u = 2^-24 each.
      expect(relativeL2(yt, y)).toBeLessThan(6 * 8 * 2 ** -24);
    },
  );
});
