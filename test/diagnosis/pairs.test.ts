/** @file Two and three faults at once: in one block, in several, and beside half precision. */

import { expect, test } from "vitest";
import { float16ToNumber, numberToFloat16 } from "../../src/core/dtype.ts";
import { createRng } from "../../src/core/rng.ts";
import type { CauseId } from "../../src/diagnose/causes.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import {
  checkpointFile,
  DIAGNOSIS_NETS,
  type DiagnosisNet,
  deployState,
  mobileOneNet,
  repVggNet,
} from "../support/diagnosis-nets.ts";
import { INJECTIONS, type Injection } from "../support/inject.ts";
import {
  copyBlock,
  type PlainBlock,
  type PlainKernel,
  plainFuse,
  rowSize,
} from "../support/plain-fuse.ts";

function injection(cause: CauseId, name = ""): Injection {
  return INJECTIONS.find((entry) => entry.cause === cause && entry.name.includes(name))!;
}

const rng = createRng(3);

function withEpsilon(block: PlainBlock, epsilon = 1e-3): PlainBlock {
  const copy = copyBlock(block);
  for (const { bn } of copy.branches) bn.epsilon = epsilon;
  return copy;
}

function withoutMeans(block: PlainBlock): PlainBlock {
  const copy = copyBlock(block);
  for (const { bn } of copy.branches) bn.mean.fill(0);
  return copy;
}

function inHalf(kernel: PlainKernel): PlainKernel {
  const round = (value: number): number => float16ToNumber(numberToFloat16(value));
  return { weight: kernel.weight.map(round), bias: kernel.bias.map(round) };
}

/** One filter and its bias times 1.5. */
function withScaledFilter(kernel: PlainKernel, block: PlainBlock): PlainKernel {
  const [size, o] = [rowSize(block), 3];
  return {
    weight: kernel.weight.map((w, i) => (Math.floor(i / size) === o ? 1.5 * w : w)),
    bias: kernel.bias.map((b, i) => (i === o ? 1.5 * b : b)),
  };
}

type Make = (block: PlainBlock, net: DiagnosisNet) => PlainKernel;

const hasIdentity = (block: PlainBlock): boolean =>
  block.branches.some(({ role }) => role === "identity");
const isSpatial = (block: PlainBlock): boolean => block.kernel > 1;

const PAIRS: readonly [CauseId, CauseId, Make, (block: PlainBlock) => boolean][] = [
  [
    "bn-epsilon",
    "running-mean-ignored",
    (b) => plainFuse(withoutMeans(withEpsilon(b))),
    () => true,
  ],
  [
    "bn-epsilon",
    "identity-missing",
    (b, net) => injection("identity-missing").apply(withEpsilon(b), rng, net),
    hasIdentity,
  ],
  [
    "branch-off-centre",
    "running-mean-ignored",
    (b, net) => injection("branch-off-centre", "corner").apply(withoutMeans(b), rng, net),
    isSpatial,
  ],
  [
    "bias-dropped",
    "kernel-transposed",
    (b, net) => {
      const kernel = injection("kernel-transposed").apply(b, rng, net);
      kernel.bias.fill(0);
      return kernel;
    },
    isSpatial,
  ],
  [
    "bn-epsilon",
    "branch-doubled",
    (b, net) => injection("branch-doubled").apply(withEpsilon(b), rng, net),
    () => true,
  ],
  [
    "bn-epsilon",
    "bn-swapped",
    (b, net) => injection("bn-swapped").apply(withEpsilon(b), rng, net),
    () => true,
  ],
  [
    "gamma-ignored",
    "kernel-flipped",
    (b, net) => {
      const copy = copyBlock(b);
      for (const { bn } of copy.branches) bn.gamma.fill(1);
      return injection("kernel-flipped", "left").apply(copy, rng, net);
    },
    isSpatial,
  ],
  [
    "pointwise-missing",
    "running-mean-ignored",
    (b, net) => injection("pointwise-missing").apply(withoutMeans(b), rng, net),
    isSpatial,
  ],
  [
    "bn-epsilon",
    "altered-weight",
    (b) => {
      const kernel = plainFuse(withEpsilon(b));
      kernel.weight[17]! *= 1.5;
      return kernel;
    },
    (b) => b.outC > 6,
  ],
  ["bn-epsilon", "lower-precision", (b) => inHalf(plainFuse(withEpsilon(b, 1e-1))), () => true],
  [
    "altered-channel",
    "lower-precision",
    (b) => inHalf(withScaledFilter(plainFuse(b), b)),
    (b) => b.outC >= 12 && rowSize(b) > 3,
  ],
  [
    "altered-channel",
    "lower-precision",
    (b) => withScaledFilter(inHalf(plainFuse(b)), b),
    (b) => b.outC >= 12 && rowSize(b) > 3,
  ],
  [
    "altered-bias",
    "bn-epsilon",
    (b) => {
      const kernel = plainFuse(withEpsilon(b));
      kernel.bias[5]! += 1;
      return kernel;
    },
    (b) => b.outC > 6,
  ],
  [
    "identity-missing",
    "lower-precision",
    (b, net) => inHalf(injection("identity-missing").apply(b, rng, net)),
    hasIdentity,
  ],
];

async function findingsOf(net: DiagnosisNet, fuse: (block: PlainBlock) => PlainKernel) {
  const { findings } = await diagnose(
    checkpointFile("train.pth", net.state),
    checkpointFile("deploy.pth", deployState(net, fuse)),
    { numerics: false },
  );
  return findings;
}

test.each([
  ["22 blocks", () => repVggNet("a0-like", 1)],
  ["grouped", () => repVggNet("grouped", 1)],
  ["MobileOne blocks", () => mobileOneNet(1)],
] as const)("%s: two faults in one block are found as a pair", async (_, create) => {
  const net = await create();
  const wrong: string[] = [];
  for (const [first, second, make, fits] of PAIRS) {
    const eligible = net.blocks.filter(fits);
    const block = eligible[Math.floor(rng.next() * eligible.length)]!;
    const findings = await findingsOf(net, (each) =>
      each === block ? make(each, net) : plainFuse(each),
    );
    const found = findings
      .map(({ cause, blocks, confidence }) => `${cause}@${blocks} ${confidence}`)
      .sort();
    const expected = [first, second].map((cause) => `${cause}@${block.prefix} proved`).sort();
    if (found.join() !== expected.join())
      wrong.push(`${found.join()}, expected ${expected.join()}`);
  }
  expect(wrong).toEqual([]);
});

/** One fault in some blocks, another in the others. */
const SPREAD: readonly [string, CauseId, Make, CauseId, Make, (block: PlainBlock) => boolean][] = [
  [
    "another epsilon everywhere but where the identity is missing",
    "identity-missing",
    (b, net) => injection("identity-missing").apply(b, rng, net),
    "bn-epsilon",
    (b) => plainFuse(withEpsilon(b)),
    hasIdentity,
  ],
  [
    "half precision everywhere but where a filter was altered",
    "altered-channel",
    (b) => withScaledFilter(plainFuse(b), b),
    "lower-precision",
    (b) => inHalf(plainFuse(b)),
    (b) => b.outC >= 12,
  ],
  [
    "no means anywhere but where the kernel is transposed",
    "kernel-transposed",
    (b, net) => injection("kernel-transposed").apply(b, rng, net),
    "running-mean-ignored",
    (b) => plainFuse(withoutMeans(b)),
    isSpatial,
  ],
];

test.each(
  Object.keys(DIAGNOSIS_NETS).flatMap((name) => SPREAD.map((entry) => [name, ...entry] as const)),
)("%s: %s", async (name, _, first, makeFirst, second, makeSecond, fits) => {
  const net = await DIAGNOSIS_NETS[name]!(8);
  const at = net.blocks.filter(fits).slice(-2, -1)[0] ?? net.blocks.find(fits)!;
  const findings = await findingsOf(net, (block) =>
    block === at ? makeFirst(block, net) : makeSecond(block, net),
  );
  const found = findings.map(({ cause, blocks, confidence }) => [cause, confidence, blocks.length]);
  expect(found.sort()).toEqual(
    [
      [first, "proved", 1],
      [second, "proved", net.blocks.length - 1],
    ].sort(),
  );
  expect(findings.find(({ cause }) => cause === first)!.blocks).toEqual([at.prefix]);
});

test("independent faults in three blocks are all found", async () => {
  const net = await repVggNet("a0-like", 2);
  const faults = new Map([
    ["stage1.1", injection("identity-missing")],
    ["stage2.0", injection("branch-off-centre", "corner")],
    ["stage3.7", injection("altered-bias")],
  ]);
  const findings = await findingsOf(net, (block) => {
    const fault = faults.get(block.prefix);
    return fault ? fault.apply(block, rng, net) : plainFuse(block);
  });
  expect(Object.fromEntries(findings.map(({ cause, blocks }) => [blocks.join(), cause]))).toEqual({
    "stage1.1": "identity-missing",
    "stage2.0": "branch-off-centre",
    "stage3.7": "altered-bias",
  });
});

test("every fault of the table beside another one in another block", async () => {
  const net = await repVggNet("grouped", 5);
  const wrong: string[] = [];
  const second = injection("bn-epsilon", "odd");
  for (const entry of INJECTIONS) {
    const [block] = net.blocks.filter((each) => entry.fits(each, net));
    const other = net.blocks.at(-1)!;
    if (!block || block === other) continue;
    const findings = await findingsOf(net, (each) =>
      each === block
        ? entry.apply(each, rng, net)
        : each === other
          ? second.apply(each, rng, net)
          : plainFuse(each),
    );
    const found = findings
      .flatMap(({ cause, blocks }) => blocks.map((name) => `${name} ${cause}`))
      .sort();
    const expected = [`${block.prefix} ${entry.cause}`, `${other.prefix} bn-epsilon`].sort();
    if (found.join() !== expected.join())
      wrong.push(`${entry.name}: ${found.join()}, expected ${expected.join()}`);
  }
  expect(wrong).toEqual([]);
});
