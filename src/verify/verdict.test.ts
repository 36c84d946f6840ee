/** @file Which word follows from which certificates; everything else of them is left out here. */

import { describe, expect, test } from "vitest";
import type { BlockCertificate, BlockStatus } from "./certify.ts";
import type { FunctionCertificate, OutputCertificate } from "./function.ts";
import type { DifferentTensor, TensorComparison } from "./other-tensors.ts";
import type { LowerFormat } from "./precision.ts";
import { decide } from "./verdict.ts";
import type { WeightCertificate } from "./weights.ts";

function block(status: BlockStatus, name = "b", fits: LowerFormat[] = []): BlockCertificate {
  const lowered = fits[0] && { format: fits[0], omega: 1, fits };
  return { name, status, lowered } as unknown as BlockCertificate;
}

function changed(name: string, fits: LowerFormat[] = []): DifferentTensor {
  return { name, deployName: name, lowered: fits[0], fits } as unknown as DifferentTensor;
}

function weights(
  blocks: BlockCertificate[],
  others: Partial<TensorComparison> = {},
): WeightCertificate {
  const none = { equal: ["head"], different: [], missing: [], surplus: [] };
  return { blocks, others: { ...none, ...others }, maxOmega: 0, maxOmegaOverK: 0 };
}

function whole(ratio: number, outputMismatch?: string): FunctionCertificate {
  const output = { name: "y", ratio } as unknown as OutputCertificate;
  return {
    outputs: [output],
    passed: ratio <= 1 && !outputMismatch,
    outputMismatch,
  } as unknown as FunctionCertificate;
}

const word = (w: WeightCertificate, c?: FunctionCertificate): string => decide(w, c).word;
const reasons = (w: WeightCertificate, c?: FunctionCertificate): string =>
  decide(w, c).reasons.join("; ");

describe("weights alone", () => {
  test("all exact", () =>
    expect(word(weights([block("exact"), block("exact")]))).toBe("EXACT-FOLD"));
  test("one within k", () => {
    expect(word(weights([block("exact"), block("rounding")]))).toBe("EQUAL-UP-TO-ROUNDING");
  });
  test("one different: named, whatever the rest is", () => {
    const certificate = weights([
      block("exact"),
      block("different", "stage3.1"),
      block("lower", "c", ["float16"]),
    ]);
    expect(word(certificate)).toBe("DIFFERENT");
    expect(reasons(certificate)).toContain("1 block of 3 differs: stage3.1");
  });
  test("at most four names, and how many more", () => {
    const blocks = ["a", "b", "c", "d", "e", "f"].map((name) => block("different", name));
    expect(reasons(weights(blocks))).toContain("a, b, c, d and 2 more");
  });
  test("another tensor different", () => {
    const certificate = weights([block("exact")], { different: [changed("linear.weight")] });
    expect(word(certificate)).toBe("DIFFERENT");
    expect(reasons(certificate)).toContain("linear.weight");
  });
  test("a block without a counterpart, a missing tensor: undecided", () => {
    expect(word(weights([block("exact"), block("unmatched")]))).toBe("UNDECIDED");
    expect(word(weights([block("exact")], { missing: ["linear.bias"] }))).toBe("UNDECIDED");
  });
  test("a changed tensor of the same name beside missing ones proves nothing", () => {
    const certificate = weights([block("exact")], {
      different: [changed("conv3x3.weight")],
      missing: ["k0"],
    });
    expect(word(certificate)).toBe("UNDECIDED");
    expect(reasons(certificate)).toContain("conv3x3.weight");
  });
  test("no blocks: bit-equal files are exact, files with nothing in common undecided", () => {
    expect(word(weights([]))).toBe("EXACT-FOLD");
    expect(word(weights([], { equal: [] }))).toBe("UNDECIDED");
    expect(word(weights([], { surplus: ["x"] }))).toBe("UNDECIDED");
  });
});

describe("lower precision", () => {
  test("one format for everything that was lowered", () => {
    const certificate = weights([
      block("lower", "a", ["float16", "tfloat32"]),
      block("lower", "b", ["tfloat32"]),
    ]);
    expect(decide(certificate, undefined)).toMatchObject({
      word: "LOWER-PRECISION",
      formats: ["tfloat32"],
    });
  });
  test("several where no single one explains all", () => {
    const certificate = weights([block("lower", "a", ["float16"])], {
      different: [changed("head", ["bfloat16"])],
    });
    expect(decide(certificate, undefined).formats).toEqual(["float16", "bfloat16"]);
  });
  test("outputs that then move further than float32 rounding are no second finding", () => {
    expect(word(weights([block("lower", "a", ["float16"])]), whole(800))).toBe("LOWER-PRECISION");
  });
});

describe("with the whole functions", () => {
  test("equal weights in different graphs are different", () => {
    const certificate = weights([block("exact")]);
    expect(word(certificate, whole(3e5))).toBe("DIFFERENT");
    expect(reasons(certificate, whole(3e5))).toContain(
      "although all weights agree: the graphs differ",
    );
  });
  test("equal functions settle what the weights left open", () => {
    const open = weights([block("exact"), block("unmatched")], { missing: ["gamma"] });
    expect(word(open, whole(0.4))).toBe("EQUAL-UP-TO-ROUNDING");
    expect(word(open, whole(1.01))).toBe("DIFFERENT");
  });
  test("equal outputs on the inputs tried do not excuse a changed weight", () => {
    expect(word(weights([block("different")]), whole(0.4))).toBe("DIFFERENT");
  });
  test("a passed function adds nothing to exact weights", () => {
    expect(word(weights([block("exact")]), whole(0.4))).toBe("EXACT-FOLD");
    expect(word(weights([]), whole(0))).toBe("EXACT-FOLD");
  });
  test("without blocks it settles what only the deploy file holds", () => {
    expect(word(weights([], { surplus: ["x"] }), whole(0.4))).toBe("EQUAL-UP-TO-ROUNDING");
    expect(word(weights([], { equal: [] }), whole(0.4))).toBe("EQUAL-UP-TO-ROUNDING");
  });
  test("NaN outputs are no pass", () => {
    expect(word(weights([block("exact")]), whole(Number.NaN))).toBe("DIFFERENT");
  });
  test("outputs of another shape are different", () => {
    const mismatch = "the training form has 1 outputs, the deploy form 2";
    expect(reasons(weights([block("exact")]), whole(0, mismatch))).toContain(mismatch);
    expect(word(weights([block("exact")]), whole(0, mismatch))).toBe("DIFFERENT");
  });
});
