/** @file Whole conversions of small RepVGGs in memory: what is written, in what order, and what is refused. */

import { describe, expect, test } from "vitest";
import { checkpointFile, deployState, repVggNet } from "../../test/support/diagnosis-nets.ts";
import { float32Lazy } from "../../test/support/plain-fuse.ts";
import { memorySink } from "../core/byte-sink.ts";
import { memorySource } from "../core/byte-source.ts";
import { bytesOf } from "../core/dtype.ts";
import {
  float32Tensor,
  type LazyTensor,
  lazyTensor,
  readFloat64,
  type StateDict,
  tensor,
} from "../core/tensor.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import { verify } from "../verify/verify.ts";
import {
  type Conversion,
  planConversion,
  type TargetFormat,
  writeConversion,
} from "./conversion.ts";
import { type CheckpointFile, type ModelFile, openModelFile } from "./open.ts";

const net = await repVggNet("grouped", 5);
const training = checkpointFile("train.pth", net.state);

async function written(conversion: Conversion): Promise<Uint8Array> {
  const sink = memorySink();
  await writeConversion(conversion, sink);
  return sink.bytes();
}

async function converted(file: ModelFile, target: TargetFormat): Promise<ModelFile> {
  const bytes = await written(await planConversion(file, target));
  return openModelFile(memorySource(`out.${target}`, bytes));
}

function withTensors(state: StateDict, changes: Readonly<Record<string, LazyTensor>>): StateDict {
  return { ...state, tensors: new Map([...state.tensors, ...Object.entries(changes)]) };
}

describe("a checkpoint", () => {
  test.each(["pytorch", "safetensors", "onnx"] as const)(
    "as %s is its exact deploy form",
    async (target) => {
      const { verdict, weights } = await verify(training, await converted(training, target));
      expect(verdict.word).toBe("EXACT-FOLD");
      expect(weights.maxOmega).toBeLessThanOrEqual(1);
    },
  );

  test("fused kernels stand where their blocks stood; names and order as the origin's", async () => {
    const file = await converted(training, "pytorch");
    if (file.kind !== "checkpoint") throw new Error("not a checkpoint");
    expect([...file.state.tensors.keys()]).toEqual([...deployState(net).tensors.keys()]);
  });

  test("numbers are those of a fuse in float64, rounded once", async () => {
    const file = await converted(training, "pytorch");
    if (file.kind !== "checkpoint") throw new Error("not a checkpoint");
    for (const [name, expected] of deployState(net).tensors) {
      const [ours, theirs] = [
        await readFloat64(file.state.tensors.get(name)!),
        await readFloat64(expected),
      ];
      for (const [i, value] of ours.entries()) {
        // The order of the float64 sums may differ in its last bit, which can tip a rounding: one float32 step.
        expect(Math.abs(value - theirs[i]!)).toBeLessThanOrEqual(2 ** -23 * Math.abs(theirs[i]!));
      }
    }
  });

  test("the same input gives the same bytes", async () => {
    const [a, b] = [
      await written(await planConversion(training, "pytorch")),
      await written(await planConversion(training, "pytorch")),
    ];
    expect(Buffer.compare(a, b)).toBe(0);
  });

  test("a wrapper's prefix stays, and tensors outside the blocks pass through bit by bit", async () => {
    const wrapped: StateDict = {
      tensors: new Map([...net.state.tensors].map(([name, value]) => [`module.${name}`, value])),
      modules: new Map(),
    };
    const file: CheckpointFile = { ...checkpointFile("ddp.pth", wrapped), prefix: "module." };
    const out = await converted(file, "safetensors");
    if (out.kind !== "checkpoint") throw new Error("not a checkpoint");
    expect([...out.state.tensors.keys()].every((name) => name.startsWith("module."))).toBe(true);
    expect(await out.state.tensors.get("module.linear.weight")!.read()).toEqual(
      await net.state.tensors.get("linear.weight")!.read(),
    );
  });

  test("a deploy form passes through, and the plan says so", async () => {
    const conversion = await planConversion(
      checkpointFile("deploy.pth", deployState(net)),
      "pytorch",
    );
    if (conversion.kind !== "checkpoint") throw new Error("not a checkpoint");
    expect(conversion.plan).toMatchObject({ form: "deploy", blocks: [] });
    expect(conversion.plan.notes.join()).toContain("in deploy form already");
  });

  test("half converted: what is fused passes through, the rest is fused", async () => {
    const done = new Map(deployState(net).tensors);
    for (const name of done.keys()) if (name.startsWith("stage2.1.")) done.delete(name);
    for (const [name, value] of net.state.tensors)
      if (name.startsWith("stage2.1.")) done.set(name, value);
    const conversion = await planConversion(
      checkpointFile("half.pth", { tensors: done, modules: new Map() }),
      "pytorch",
    );
    if (conversion.kind !== "checkpoint") throw new Error("not a checkpoint");
    expect(conversion.plan.form).toBe("mixed");
    expect(conversion.plan.blocks.map((block) => block.match.prefix)).toEqual(["stage2.1"]);
    expect(conversion.plan.notes.join()).toContain("half converted");
  });

  test("a stale fused kernel beside the branches is replaced, and the plan says so", async () => {
    const shape = deployState(net).tensors.get("stage1.0.rbr_reparam.weight")!.shape;
    const stale = withTensors(net.state, {
      "stage1.0.rbr_reparam.weight": float32Lazy(
        shape,
        new Float64Array(shape.reduce((a, b) => a * b, 1)).fill(7),
      ),
      "stage1.0.rbr_reparam.bias": float32Lazy([shape[0]!], new Float64Array(shape[0]!).fill(7)),
    });
    const file = checkpointFile("stale.pth", stale);
    const conversion = await planConversion(file, "pytorch");
    if (conversion.kind !== "checkpoint") throw new Error("not a checkpoint");
    expect(conversion.plan.notes.join()).toContain("the branches count, the kernel is replaced");
    const { verdict } = await verify(training, await converted(file, "pytorch"));
    expect(verdict.word).toBe("EXACT-FOLD");
  });

  test("mixed precision: the fused kernel has the block's widest type", async () => {
    const prefix = "stage1.0.rbr_dense.conv.weight";
    const dense = net.state.tensors.get(prefix)!;
    const wide = tensor("float64", dense.shape, await readFloat64(dense));
    const file = checkpointFile("wide.pth", withTensors(net.state, { [prefix]: lazyTensor(wide) }));
    const out = await converted(file, "pytorch");
    if (out.kind !== "checkpoint") throw new Error("not a checkpoint");
    expect(out.state.tensors.get("stage1.0.rbr_reparam.weight")?.dtype).toBe("float64");
    expect(out.state.tensors.get("stage1.1.rbr_reparam.weight")?.dtype).toBe("float32");
  });
});

describe("bad numbers", () => {
  const change = async (name: string, at: number, value: number): Promise<CheckpointFile> => {
    const old = net.state.tensors.get(name)!;
    const values = await readFloat64(old);
    values[at] = value;
    return checkpointFile(
      "bad.pth",
      withTensors(net.state, { [name]: float32Lazy(old.shape, values) }),
    );
  };

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    "%d in a block is refused with the tensor's name",
    async (value) => {
      for (const name of ["stage1.0.rbr_dense.conv.weight", "stage1.0.rbr_1x1.bn.bias"]) {
        await expect(converted(await change(name, 2, value), "pytorch")).rejects.toThrow(
          `${name}: element 2 is not a finite number`,
        );
      }
    },
  );

  test("a negative variance is refused with its place", async () => {
    const name = "stage1.0.rbr_1x1.bn.running_var";
    await expect(converted(await change(name, 3, -1), "pytorch")).rejects.toThrow(`${name}[3]`);
  });

  test("outside the blocks they pass through and are reported", async () => {
    const file = await change("linear.weight", 5, Number.NaN);
    const sink = memorySink();
    const { nonFinite } = await writeConversion(await planConversion(file, "pytorch"), sink);
    expect(nonFinite).toEqual([{ name: "linear.weight", index: 5 }]);
  });

  test("a fused number beyond the format is an error, not an infinity", async () => {
    const name = "stage1.0.rbr_dense.bn.weight";
    const file = await change(name, 0, 3e38);
    const large = withTensors(file.state, {
      "stage1.0.rbr_dense.bn.running_var": float32Lazy(
        net.state.tensors.get("stage1.0.rbr_dense.bn.running_var")!.shape,
        new Float64Array(8).fill(1e-6),
      ),
    });
    await expect(converted(checkpointFile("large.pth", large), "pytorch")).rejects.toMatchObject({
      tag: "bad-data",
      message: expect.stringContaining("does not fit float32"),
    });
  });
});

describe("what cannot be written", () => {
  test("ONNX of a net that is not known: only its blocks are", async () => {
    const tensors = new Map([...net.state.tensors].map(([name, value]) => [`body.${name}`, value]));
    tensors.set("tail.weight", net.state.tensors.get("linear.weight")!);
    const file = checkpointFile("detector.pth", { tensors, modules: new Map() });
    await expect(planConversion(file, "onnx")).rejects.toMatchObject({
      tag: "refused",
      message: expect.stringContaining("the network around them"),
    });
    const conversion = await planConversion(file, "pytorch");
    expect(conversion.kind === "checkpoint" && conversion.plan.passed).toContain("tail.weight");
  });

  test("a checkpoint out of an ONNX model", async () => {
    const onnx = await converted(training, "onnx");
    await expect(planConversion(onnx, "pytorch")).rejects.toMatchObject({ tag: "usage" });
  });

  test("a file without any known block: a recipe is offered", async () => {
    const tensors = new Map([["a.weight", lazyTensor(float32Tensor([1, 1, 1, 1], [1]))]]);
    const file = checkpointFile("other.pth", { tensors, modules: new Map() });
    await expect(planConversion(file, "pytorch")).rejects.toThrow(
      /none of its 1 tensors.*--recipe/,
    );
  });
});

describe("an ONNX model", () => {
  test("is fused and tidied; without branches nothing changes", async () => {
    const builder = createGraphBuilder();
    const x = builder.input("x", "float32", ["N", 1, 4, 4]);
    const w = builder.initializer("w", lazyTensor(float32Tensor([1, 1, 1, 1], [2])));
    const sum = builder.node("Add", [builder.node("Conv", [x, w]), builder.node("Identity", [x])]);
    builder.output(builder.node("Relu", [sum], {}, "y"), "float32", ["N", 1, 4, 4]);
    const file: ModelFile = { kind: "onnx", name: "m.onnx", model: builder.build(), reading: {} };
    const once = await planConversion(file, "onnx", { allowCostlier: true });
    expect(once.model!.graph.nodes.map((node) => node.opType)).toEqual(["Conv", "Relu"]);
    const [kernel] = [...once.model!.graph.initializers.values()];
    expect([...(await readFloat64(kernel!))]).toEqual([3]); // 2·x + x
    const again = await planConversion({ ...file, model: once.model! }, "onnx");
    expect(again.kind === "onnx" && again.plan.regions).toEqual([]);
  });
});

test("a conversion stops between two chunks, and reports progress to the end", async () => {
  const conversion = await planConversion(training, "pytorch");
  await expect(
    writeConversion(conversion, memorySink(), { signal: AbortSignal.abort() }),
  ).rejects.toMatchObject({ tag: "aborted" });
  const seen: number[] = [];
  await writeConversion(conversion, memorySink(), {
    onProgress: ({ done, total }) => seen.push(done / total),
  });
  expect(seen.at(-1)).toBe(1);
  expect([...seen].sort((a, b) => a - b)).toEqual(seen);
});

test("reading a fused weight in pieces gives the bytes of reading it whole, into given memory or not", async () => {
  const conversion = await planConversion(training, "pytorch");
  if (conversion.kind !== "checkpoint") throw new Error("not a checkpoint");
  const { weight } = conversion.plan.blocks[1]!.kernel;
  const whole = new Uint8Array(await weight.read());
  const count = whole.byteLength / 4;
  for (const step of [1, 7, count - 1, count]) {
    const memory = bytesOf(new Float32Array(step));
    const pieces: number[] = [];
    for (let start = 0; start < count; start += step) {
      pieces.push(...(await weight.read(start, Math.min(count, start + step), memory)));
    }
    expect(pieces).toEqual([...whole]);
  }
});
