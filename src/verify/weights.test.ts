/** @file Certificate A on small RepVGGs: what must pass, what must not, and that the faulty block is named. */

import { expect, test } from "vitest";
import {
  checkpointFile,
  type DiagnosisNet,
  deployState,
  repVggNet,
} from "../../test/support/diagnosis-nets.ts";
import {
  addBranch,
  branchKernel,
  copyBlock,
  float32Lazy,
  type PlainBlock,
  type PlainKernel,
  plainFuse,
} from "../../test/support/plain-fuse.ts";
import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from "../core/dtype.ts";
import { createRng } from "../core/rng.ts";
import { type LazyTensor, readFloat64, type StateDict } from "../core/tensor.ts";
import { type Verification, verify } from "./verify.ts";

const NETS = ["a0-like", "grouped"] as const;
const SEED = 4;
/** The block that the faults go into: it has an identity branch. */
const BLOCK = "stage3.1";

type Fuse = (block: PlainBlock) => PlainKernel;

async function judge(net: DiagnosisNet, fuse: Fuse): Promise<Verification> {
  return judgeState(net, deployState(net, fuse));
}

function judgeState(net: DiagnosisNet, deploy: StateDict): Promise<Verification> {
  return verify(checkpointFile("train.pth", net.state), checkpointFile("deploy.pth", deploy));
}

const inBlock =
  (change: Fuse): Fuse =>
  (block) =>
    block.prefix === BLOCK ? change(block) : plainFuse(block);

const changed = (net: Verification): string[] =>
  net.weights.blocks.filter((block) => block.status === "different").map((block) => block.name);

test.each(NETS)("%s: folded in float64 and rounded once is exact", async (name) => {
  const { verdict, weights } = await judge(await repVggNet(name, SEED), plainFuse);
  expect(verdict.word).toBe("EXACT-FOLD");
  expect(weights.blocks.every((block) => block.status === "exact")).toBe(true);
  // One rounding is at most half a unit in the last place, which is at most u·|W*|.
  expect(weights.maxOmega).toBeLessThanOrEqual(1);
  // The sharpest number of thousands of roundings comes close to the bound.
  expect(weights.maxOmega).toBeGreaterThan(0.9);
});

test.each(
  NETS.flatMap((name) =>
    (["float32", "float32-reversed"] as const).map((order) => ({ name, order })),
  ),
)("$name: folded in $order stays within the counted roundings", async ({ name, order }) => {
  const { verdict, weights } = await judge(await repVggNet(name, SEED), (block) =>
    plainFuse(block, order),
  );
  expect(verdict.word).toBe("EQUAL-UP-TO-ROUNDING");
  expect(weights.maxOmega).toBeGreaterThan(1);
  expect(weights.maxOmegaOverK).toBeLessThanOrEqual(1);
});

test("k is what the standard model counts", async () => {
  const net = await repVggNet("a0-like", SEED);
  const { weights } = await judge(net, plainFuse);
  const k = new Map(weights.blocks.map((block) => [block.name, block.k]));
  // Three branches: 4 for the fold of one (ε ½·½ and σ²+ε 1·½, root 1, quotient 1, product 1 = 3¾), 2 sums.
  expect(k.get("stage1.1")?.weight).toBe(6);
  // Two branches: one sum.
  expect(k.get("stage0")?.weight).toBe(5);
  // β − μ·s: 2¾ for s, product 1, difference 1 = 4¾, counted 5; then the sums.
  expect(k.get("stage1.1")?.bias).toBe(7);
  expect(k.get("stage0")?.bias).toBe(6);
});

const atEpsilon = (block: PlainBlock, branches: (name: string) => boolean): PlainKernel => {
  const copy = copyBlock(block);
  for (const branch of copy.branches) if (branches(branch.name)) branch.bn.epsilon = 1e-3;
  return plainFuse(copy);
};

const without = (block: PlainBlock, name: string): PlainKernel =>
  plainFuse({ ...block, branches: block.branches.filter((branch) => branch.name !== name) });

function offCentre(block: PlainBlock): PlainKernel {
  const fused = without(block, "rbr_1x1");
  const branch = block.branches.find((one) => one.name === "rbr_1x1")!;
  addBranch(fused, branchKernel(block, branch, undefined, [0, 1]));
  return fused;
}

function meanDropped(block: PlainBlock): PlainKernel {
  const copy = copyBlock(block);
  for (const branch of copy.branches) branch.bn.mean.fill(0);
  return plainFuse(copy);
}

/** `part[index…]` times `factor` after the fuse. */
const scaled =
  (part: "weight" | "bias", factor: number, count: (block: PlainBlock) => number): Fuse =>
  (block) => {
    const fused = plainFuse(block);
    for (let i = 0; i < count(block); i++) fused[part][i] = fused[part][i]! * factor;
    return fused;
  };

/** The faults that tolerance checks let through (one block each). */
const FAULTS: Readonly<Record<string, Fuse>> = {
  "epsilon 1e-3 in all branches": (block) => atEpsilon(block, () => true),
  "epsilon 1e-3 in the identity branch": (block) =>
    atEpsilon(block, (name) => name === "rbr_identity"),
  "identity missing": (block) => without(block, "rbr_identity"),
  "1x1 missing": (block) => without(block, "rbr_1x1"),
  "1x1 off the centre": offCentre,
  "running mean dropped": meanDropped,
  "one channel times 1.0001": scaled("weight", 1.0001, (b) => (b.inC / b.group) * b.kernel ** 2),
  "one weight times 1.001": scaled("weight", 1.001, () => 1),
  "one bias times 1.001": scaled("bias", 1.001, () => 1),
};

test.each(NETS.flatMap((name) => Object.keys(FAULTS).map((fault) => ({ name, fault }))))(
  "$name, $fault: different, and the block is named",
  async ({ name, fault }) => {
    const net = await repVggNet(name, SEED);
    const result = await judge(net, inBlock(FAULTS[fault]!));
    expect(result.verdict.word).toBe("DIFFERENT");
    expect(result.verdict.reasons.join()).toContain(BLOCK);
    expect(changed(result)).toEqual([BLOCK]);
  },
);

const roundTo =
  (round: (value: number) => number): Fuse =>
  (block) => {
    const { weight, bias } = plainFuse(block);
    return { weight: weight.map(round), bias: bias.map(round) };
  };
const tfloat32 = (value: number): number => {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  // Round half up at bit 13: an 11-bit significand.
  bits[0] = (bits[0]! + 0x1000) & 0xffffe000;
  return new Float32Array(bits.buffer)[0]!;
};
/** Symmetric, one step per output channel, as post-training quantization stores it. */
const int8: Fuse = (block) => {
  const { weight, bias } = plainFuse(block);
  const row = weight.length / block.outC;
  for (let o = 0; o < block.outC; o++) {
    const part = weight.subarray(o * row, (o + 1) * row);
    const step = Math.fround(part.reduce((top, w) => Math.max(top, Math.abs(w)), 0) / 127);
    part.forEach((w, i) => {
      part[i] = Math.fround(Math.round(w / step) * step);
    });
  }
  return { weight, bias };
};

const FORMATS = {
  float16: roundTo((value) => float16ToNumber(numberToFloat16(value))),
  bfloat16: roundTo((value) => bfloat16ToNumber(numberToBfloat16(value))),
  tfloat32: roundTo(tfloat32),
  int8,
} as const;

test.each(
  NETS.flatMap((name) =>
    (Object.keys(FORMATS) as (keyof typeof FORMATS)[]).map((format) => ({ name, format })),
  ),
)("$name rounded to $format is lower precision, not another function", async ({ name, format }) => {
  const net = await repVggNet(name, SEED);
  const all = await judge(net, FORMATS[format]);
  expect(all.verdict).toMatchObject({ word: "LOWER-PRECISION", formats: [format] });
  const one = await judge(net, inBlock(FORMATS[format]));
  // A few numbers between 2⁻¹⁴ and 65504 with 11 significant bits are float16 numbers, too.
  const formats = format === "tfloat32" ? ["float16"] : [format];
  expect(one.verdict).toMatchObject({ word: "LOWER-PRECISION", formats });
});

test("lower precision does not hide a fault", async () => {
  const net = await repVggNet("a0-like", SEED);
  const result = await judge(net, (block) => {
    const fused = block.prefix === BLOCK ? without(block, "rbr_identity") : plainFuse(block);
    return {
      weight: fused.weight.map((w) => float16ToNumber(numberToFloat16(w))),
      bias: fused.bias,
    };
  });
  expect(result.verdict.word).toBe("DIFFERENT");
  expect(changed(result)).toEqual([BLOCK]);
});

test("one unit in the last place on every number is rounding", async () => {
  const net = await repVggNet("a0-like", SEED);
  const rng = createRng(SEED);
  // ½ + 1 units of the last place, 2u·|W*| each at most: 3 roundings, and the counted k is 5 or more.
  const neighbour = (value: number): number => {
    const float = Float32Array.of(value);
    const bits = new Int32Array(float.buffer);
    bits[0] = bits[0]! + (rng.next() < 0.5 ? 1 : -1);
    return float[0]!;
  };
  const { verdict } = await judge(net, roundTo(neighbour));
  expect(verdict.word).toBe("EQUAL-UP-TO-ROUNDING");
});

function renamed(
  state: StateDict,
  rename: (key: string, i: number) => string,
  reverse = false,
): StateDict {
  const modules = [...new Set([...state.tensors.keys()].map((key) => key.replace(/\.[^.]*$/, "")))];
  if (reverse) modules.reverse();
  const tensors = new Map<string, LazyTensor>();
  for (const [i, path] of modules.entries()) {
    for (const [key, tensor] of state.tensors) {
      if (key.startsWith(`${path}.`)) tensors.set(rename(key, i), tensor);
    }
  }
  return { ...state, tensors };
}

test.each([false, true])("lost names are no obstacle (order reversed: %s)", async (reverse) => {
  const net = await repVggNet("a0-like", SEED);
  const lost = renamed(
    deployState(net),
    (key, i) => `layers.${i}.${key.split(".").at(-1)}`,
    reverse,
  );
  const { verdict, weights } = await judgeState(net, lost);
  expect(verdict.word).toBe("EXACT-FOLD");
  expect(weights.blocks.every((block) => block.pairedBy === "content")).toBe(true);
});

test("with lost names a fault is still found", async () => {
  const net = await repVggNet("a0-like", SEED);
  const faulty = deployState(net, inBlock(FAULTS["one weight times 1.001"]!));
  const result = await judgeState(
    net,
    renamed(faulty, (key, i) => `layers.${i}.${key.split(".").at(-1)}`),
  );
  expect(result.verdict.word).toBe("DIFFERENT");
  expect(changed(result)).toEqual([BLOCK]);
});

test("two blocks exchanged are different, both named", async () => {
  const net = await repVggNet("a0-like", SEED);
  const tensors = new Map(deployState(net).tensors);
  for (const part of ["weight", "bias"]) {
    const [a, b] = [`stage3.1.rbr_reparam.${part}`, `stage3.2.rbr_reparam.${part}`];
    const [x, y] = [tensors.get(a)!, tensors.get(b)!];
    tensors.set(a, y).set(b, x);
  }
  const result = await judgeState(net, { tensors, modules: new Map() });
  expect(changed(result)).toEqual(["stage3.1", "stage3.2"]);
});

test("a missing tensor leaves it undecided, and is named", async () => {
  const net = await repVggNet("a0-like", SEED);
  const tensors = new Map(deployState(net).tensors);
  tensors.delete("linear.bias");
  const { verdict } = await judgeState(net, { tensors, modules: new Map() });
  expect(verdict.word).toBe("UNDECIDED");
  expect(verdict.reasons.join()).toContain("linear.bias");
});

test("a missing block leaves it undecided, and is named", async () => {
  const net = await repVggNet("a0-like", SEED);
  const tensors = new Map(deployState(net).tensors);
  tensors.delete(`${BLOCK}.rbr_reparam.weight`);
  tensors.delete(`${BLOCK}.rbr_reparam.bias`);
  const { verdict, weights } = await judgeState(net, { tensors, modules: new Map() });
  expect(verdict.word).toBe("UNDECIDED");
  expect(weights.blocks.find((block) => block.name === BLOCK)?.status).toBe("unmatched");
});

test("one changed number in another tensor is different, and the tensor is named", async () => {
  const net = await repVggNet("a0-like", SEED);
  const tensors = new Map(deployState(net).tensors);
  const head = tensors.get("linear.weight")!;
  const values = await readFloat64(head);
  values[7] = values[7]! * (1 + 2 ** -20);
  tensors.set("linear.weight", float32Lazy(head.shape, values));
  const { verdict } = await judgeState(net, { tensors, modules: new Map() });
  expect(verdict.word).toBe("DIFFERENT");
  expect(verdict.reasons.join()).toContain("linear.weight");
});

test("NaN in a deploy weight is different, not equal", async () => {
  const net = await repVggNet("a0-like", SEED);
  const result = await judge(net, inBlock(scaled("weight", Number.NaN, () => 1)));
  expect(result.verdict.word).toBe("DIFFERENT");
  expect(result.weights.maxOmega).toBe(Number.POSITIVE_INFINITY);
});

test("NaN in a training weight is reported with the tensor's name", async () => {
  const net = await repVggNet("a0-like", SEED);
  const deploy = deployState(net);
  const key = `${BLOCK}.rbr_dense.conv.weight`;
  const values = await readFloat64(net.state.tensors.get(key)!);
  values[3] = Number.NaN;
  const tensors = new Map(net.state.tensors).set(
    key,
    float32Lazy(net.state.tensors.get(key)!.shape, values),
  );
  await expect(judgeState({ ...net, state: { ...net.state, tensors } }, deploy)).rejects.toThrow(
    `${key}: element 3 is not a finite number`,
  );
});
