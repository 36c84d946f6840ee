/**
 * @file The fault-injection table: every cause as a converter's mistake on plain arrays. None of it uses the engine or
 * the diagnosis; an entry returns the deploy kernel of a block as the mistake makes it.
 */

import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from "../../src/core/dtype.ts";
import type { Rng } from "../../src/core/rng.ts";
import type { CauseId } from "../../src/diagnose/causes.ts";
import type { DiagnosisNet } from "./diagnosis-nets.ts";
import {
  addBranch,
  branchKernel,
  copyBlock,
  type PlainBlock,
  type PlainBranch,
  type PlainKernel,
  plainFuse,
  rowSize,
} from "./plain-fuse.ts";

export interface Injection {
  readonly cause: CauseId;
  /** Distinguishes entries of one cause. */
  readonly name: string;
  /** Whether the mistake can be made on this block (and changes it). */
  fits(block: PlainBlock, net: DiagnosisNet): boolean;
  /** The deploy kernel with the mistake. */
  apply(block: PlainBlock, rng: Rng, net: DiagnosisNet): PlainKernel;
  /** Expected confidence; `proved` unless said. */
  readonly confidence?: "consistent";
}

/** A mistake on the block's parameters. */
function onParameters(
  cause: CauseId,
  name: string,
  change: (block: PlainBlock, rng: Rng, net: DiagnosisNet) => void,
  fits: Injection["fits"] = () => true,
): Injection {
  return {
    cause,
    name,
    fits,
    apply: (block, rng, net) => {
      const copy = copyBlock(block);
      change(copy, rng, net);
      return plainFuse(copy);
    },
  };
}

/** A mistake on the fused kernel. */
function onKernel(
  cause: CauseId,
  name: string,
  change: (kernel: PlainKernel, block: PlainBlock, rng: Rng, net: DiagnosisNet) => void,
  fits: Injection["fits"] = () => true,
): Injection {
  return {
    cause,
    name,
    fits,
    apply: (block, rng, net) => {
      const kernel = plainFuse(block);
      change(kernel, block, rng, net);
      return kernel;
    },
  };
}

/** Another sum of branch kernels. */
function onSum(
  cause: CauseId,
  name: string,
  part: (block: PlainBlock, branch: PlainBranch, j: number) => PlainKernel | undefined,
  fits: Injection["fits"] = () => true,
): Injection {
  return {
    cause,
    name,
    fits,
    apply: (block) => {
      const total = {
        weight: new Float64Array(block.outC * rowSize(block)),
        bias: new Float64Array(block.outC),
      };
      for (const [j, branch] of block.branches.entries()) {
        const kernel = part(block, branch, j);
        if (kernel) addBranch(total, kernel);
      }
      return total;
    },
  };
}

const has = (role: PlainBranch["role"]) => (block: PlainBlock) =>
  block.branches.some((branch) => branch.role === role);
const spatial = (block: PlainBlock): boolean => block.kernel > 1;

function dropRole(role: PlainBranch["role"]): Parameters<typeof onSum>[2] {
  return (block, branch) => (branch.role === role ? undefined : branchKernel(block, branch));
}

/** A mistake on the batch norm of every branch. */
function onNorms(cause: CauseId, name: string, change: (bn: PlainBranch["bn"]) => void): Injection {
  return onParameters(cause, name, ({ branches }) => {
    for (const { bn } of branches) change(bn);
  });
}

/** The same on the first branch alone. */
function onFirstNorm(
  cause: CauseId,
  name: string,
  change: (bn: PlainBranch["bn"]) => void,
): Injection {
  return onParameters(cause, name, ({ branches: [first] }) => change(first!.bn));
}

function mapTaps(
  from: (y: number, x: number, k: number) => number,
): Parameters<typeof onKernel>[2] {
  return (kernel, { kernel: k }) => {
    const taps = k * k;
    kernel.weight = kernel.weight.map((_, i) => {
      const t = i % taps;
      return kernel.weight[i - t + from(Math.floor(t / k), t % k, k)]!;
    });
  };
}

function shiftRole(
  role: PlainBranch["role"],
  by: readonly [number, number],
): Parameters<typeof onSum>[2] {
  return (block, branch) =>
    branchKernel(block, branch, (x) => x, branch.role === role ? by : [0, 0]);
}

export const INJECTIONS: readonly Injection[] = [
  onNorms("bn-epsilon", "1e-3 everywhere", (bn) => {
    bn.epsilon = 1e-3;
  }),
  onFirstNorm("bn-epsilon", "1e-2 in one branch", (bn) => {
    bn.epsilon = 1e-2;
  }),
  onNorms("bn-epsilon", "an odd one, 2.34e-4", (bn) => {
    bn.epsilon = 2.34e-4;
  }),
  onSum("identity-missing", "", dropRole("identity"), has("identity")),
  onSum("pointwise-missing", "", dropRole("pointwise"), (b) => has("pointwise")(b) && spatial(b)),
  onSum("branch-missing", "first dense", (block, branch, j) =>
    j === 0 ? undefined : branchKernel(block, branch),
  ),
  onSum("branch-doubled", "second", (block, branch, j) => {
    const kernel = branchKernel(block, branch);
    if (j === 1) addBranch(kernel, branchKernel(block, branch));
    return kernel;
  }),
  onSum("branch-scaled", "half", (block, branch, j) => {
    const kernel = branchKernel(block, branch);
    if (j !== 1) return kernel;
    return { weight: kernel.weight.map((w) => w / 2), bias: kernel.bias.map((b) => b / 2) };
  }),
  onSum(
    "branch-off-centre",
    "1×1 in the corner",
    shiftRole("pointwise", [-1, -1]),
    (b) => has("pointwise")(b) && spatial(b),
  ),
  onSum(
    "branch-off-centre",
    "identity one to the right",
    shiftRole("identity", [0, 1]),
    (b) => has("identity")(b) && spatial(b),
  ),
  onSum(
    "grouped-identity",
    "fill_diagonal_",
    (block, branch) => {
      const kernel = branchKernel(block, branch);
      if (branch.role === "identity")
        kernel.weight.fill(0, (block.outC / block.group) * rowSize(block));
      return kernel;
    },
    (b) => has("identity")(b) && b.group > 1,
  ),
  onNorms("running-mean-ignored", "everywhere", (bn) => {
    bn.mean.fill(0);
  }),
  onFirstNorm("running-mean-ignored", "in one branch", (bn) => {
    bn.mean.fill(0);
  }),
  onNorms("bn-bias-ignored", "everywhere", (bn) => {
    bn.beta.fill(0);
  }),
  onKernel("bias-dropped", "", (kernel) => {
    kernel.bias.fill(0);
  }),
  onParameters(
    "conv-bias-dropped",
    "",
    ({ branches }) => {
      for (const branch of branches) branch.bias = undefined;
    },
    (b) => b.branches.some((x) => x.bias),
  ),
  onNorms("gamma-ignored", "everywhere", (bn) => {
    bn.gamma.fill(1);
  }),
  onNorms("square-root-missing", "everywhere", (bn) => {
    bn.variance = bn.variance.map((v) => (v + bn.epsilon) ** 2 - bn.epsilon);
  }),
  onParameters("bn-swapped", "first two branches", (block) => {
    const [a, b] = block.branches;
    [a!.bn, b!.bn] = [b!.bn, a!.bn];
  }),
  onParameters(
    "bn-of-other-block",
    "",
    (block, _, net) => {
      const other = otherBlock(block, net)!;
      for (const branch of block.branches) {
        const same = other.branches.find(({ name }) => name === branch.name);
        if (same) branch.bn = { ...same.bn };
      }
    },
    (block, net) => otherBlock(block, net) !== undefined,
  ),
  onNorms("bn-folded-twice", "everywhere", (bn) => {
    // BN(BN(v)) = s²v + s(β − μs) + (β − μs): the same as one BN with these parameters.
    const { gamma, beta, mean, variance, epsilon } = bn;
    for (let o = 0; o < gamma.length; o++) {
      const s = gamma[o]! / Math.sqrt(variance[o]! + epsilon);
      const shift = beta[o]! - mean[o]! * s;
      gamma[o] = s * s;
      beta[o] = s * shift + shift;
      mean[o] = 0;
      variance[o] = 1 - epsilon;
    }
  }),
  onNorms("bn-not-folded", "everywhere", (bn) => {
    bn.gamma.fill(1);
    bn.beta.fill(0);
    bn.mean.fill(0);
    bn.variance.fill(1 - bn.epsilon);
  }),
  onKernel(
    "kernel-transposed",
    "",
    mapTaps((y, x, k) => x * k + y),
    spatial,
  ),
  onKernel(
    "kernel-flipped",
    "left and right",
    mapTaps((y, x, k) => y * k + (k - 1 - x)),
    spatial,
  ),
  onKernel(
    "kernel-flipped",
    "turned by 180°",
    mapTaps((y, x, k) => (k - 1 - y) * k + (k - 1 - x)),
    spatial,
  ),
  onKernel(
    "kernel-layout",
    "HWIO read as OIHW",
    (kernel, { outC, inC, group, kernel: k }) => {
      const width = inC / group;
      const taps = k * k;
      const source = kernel.weight;
      kernel.weight = source.map((_, at) => {
        const o = at % outC;
        const i = Math.floor(at / outC) % width;
        return source[(o * width + i) * taps + Math.floor(at / (outC * width))]!;
      });
    },
    (b) => spatial(b) && b.group === 1,
  ),
  onKernel(
    "input-channels-permuted",
    "reversed",
    (kernel, { inC, group, kernel: k }) => {
      const [width, taps] = [inC / group, k * k];
      kernel.weight = kernel.weight.map((_, i) => {
        const inside = i % (width * taps);
        const c = width - 1 - Math.floor(inside / taps);
        return kernel.weight[i - inside + c * taps + (inside % taps)]!;
      });
    },
    (b) => b.inC / b.group > 1,
  ),
  onKernel(
    "output-channels-permuted",
    "moved round",
    (kernel, block) => {
      const size = rowSize(block);
      const { outC } = block;
      const at = (o: number): number => (o + 1) % outC;
      kernel.weight = kernel.weight.map(
        (_, i) => kernel.weight[at(Math.floor(i / size)) * size + (i % size)]!,
      );
      kernel.bias = kernel.bias.map((_, o) => kernel.bias[at(o)]!);
    },
    (b) => b.group === 1,
  ),
  onParameters(
    "statistics-drifted",
    "means 5 %, variances 10 %",
    (block, rng) => {
      for (const { bn } of block.branches) {
        for (let o = 0; o < bn.mean.length; o++) {
          bn.mean[o]! *= 1 + 0.05 * rng.normal();
          bn.variance[o]! *= Math.exp(0.1 * rng.normal());
        }
      }
    },
    (b) => rowSize(b) > b.branches.length + 4,
  ),
  {
    ...onParameters("other-training-state", "all moved by 2 %", (block, rng) => {
      for (const branch of block.branches) {
        const move = (values: Float64Array | undefined): void => {
          for (let i = 0; i < (values?.length ?? 0); i++) values![i]! *= 1 + 0.02 * rng.normal();
        };
        for (const values of [
          branch.weight,
          branch.bn.gamma,
          branch.bn.beta,
          branch.bn.mean,
          branch.bn.variance,
        ])
          move(values);
      }
    }),
    confidence: "consistent",
  },
  {
    ...onParameters("untouched-initialisation", "converted before loading", (block, rng) => {
      for (const branch of block.branches) {
        const bound = Math.sqrt(1 / Math.max(1, (block.inC / block.group) * branch.kernel ** 2));
        branch.weight = branch.weight?.map(() => bound * (2 * rng.next() - 1));
        branch.bn.gamma.fill(1);
        branch.bn.beta.fill(0);
        branch.bn.mean.fill(0);
        branch.bn.variance.fill(1);
      }
    }),
    confidence: "consistent",
  },
  {
    ...onKernel(
      "unrelated-weights",
      "random",
      (kernel, _, rng) => {
        kernel.weight = kernel.weight.map(() => rng.normal());
        kernel.bias = kernel.bias.map(() => rng.normal());
      },
      (b) => rowSize(b) > 8,
    ),
    confidence: "consistent",
  },
  onKernel("altered-weight", "one, by 0.1 %", (kernel, _, rng) => {
    const at = largest(kernel.weight, rng);
    kernel.weight[at]! *= 1.001;
  }),
  onKernel("altered-bias", "one, by 0.1", (kernel, _, rng) => {
    kernel.bias[Math.floor(rng.next() * kernel.bias.length)]! += 0.1;
  }),
  onKernel(
    "altered-channel",
    "one, by 0.1 %",
    (kernel, block, rng) => {
      const size = rowSize(block);
      const o = Math.floor(rng.next() * block.outC);
      for (let i = o * size; i < (o + 1) * size; i++) kernel.weight[i]! *= 1.001;
      kernel.bias[o]! *= 1.001;
    },
    (b) => rowSize(b) > 3,
  ),
  onKernel("lower-precision", "float16", (kernel) => {
    kernel.weight = kernel.weight.map((w) => float16ToNumber(numberToFloat16(w)));
    kernel.bias = kernel.bias.map((w) => float16ToNumber(numberToFloat16(w)));
  }),
  onKernel("lower-precision", "bfloat16", (kernel) => {
    kernel.weight = kernel.weight.map((w) => bfloat16ToNumber(numberToBfloat16(w)));
    kernel.bias = kernel.bias.map((w) => bfloat16ToNumber(numberToBfloat16(w)));
  }),
  onKernel(
    "kernel-of-other-block",
    "",
    (kernel, block, _, net) => {
      const other = plainFuse(otherBlock(block, net)!);
      kernel.weight = other.weight;
      kernel.bias = other.bias;
    },
    (block, net) => otherBlock(block, net) !== undefined,
  ),
  onKernel("not-finite", "one NaN and infinities", (kernel, block, rng) => {
    kernel.weight.fill(Number.POSITIVE_INFINITY, 0, rowSize(block));
    kernel.weight[Math.floor(rng.next() * kernel.weight.length)] = Number.NaN;
  }),
];

/** Another block of the same shape with the same branches. */
export function otherBlock(block: PlainBlock, net: DiagnosisNet): PlainBlock | undefined {
  return net.blocks.find(
    (other) =>
      other.prefix !== block.prefix &&
      other.outC === block.outC &&
      other.inC === block.inC &&
      other.group === block.group &&
      other.kernel === block.kernel &&
      other.branches.length === block.branches.length,
  );
}

/** A weight that counts: one of the larger half. */
function largest(weight: Float64Array, rng: Rng): number {
  const sorted = [...weight.keys()].sort((a, b) => Math.abs(weight[b]!) - Math.abs(weight[a]!));
  return sorted[Math.floor(rng.next() * Math.ceil(sorted.length / 2))]!;
}
