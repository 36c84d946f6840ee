import { describe, expect, test } from "vitest";
import { expectFused } from "../../test/support/fuse-check.ts";
import {
  conv,
  dyadicNorm,
  float32,
  graphOf,
  int64,
  type Parts,
} from "../../test/support/graph-parts.ts";
import type { Model } from "../ir/graph.ts";
import { planReparam } from "./plan.ts";

const DENSE = { inC: 4, outC: 4, kernel: [3, 3], pads: [1, 1, 1, 1] };

describe("regions", () => {
  test("two parts that read the same value are both fused", async () => {
    const model = graphOf((parts, x) => {
      const side = (name: string): string =>
        parts.g.node("Relu", [dyadicNorm(parts, conv(parts, x, { ...DENSE, name }), 4)]);
      return [side("left"), side("right")];
    });
    const { plan } = await expectFused(model, 2);
    expect(plan.regions.map(({ input }) => input)).toEqual(["x", "x"]);
  });

  test("where the whole costs more, the part that does not is fused", async () => {
    const model = graphOf((parts, x) => {
      const depthwise = dyadicNorm(
        parts,
        conv(parts, x, { ...DENSE, group: 4, name: "depthwise" }),
        4,
        "a",
      );
      return dyadicNorm(
        parts,
        conv(parts, depthwise, { inC: 4, outC: 8, name: "pointwise" }),
        8,
        "b",
      );
    });
    const { plan } = await expectFused(model, 2);
    expect(plan.regions.map(({ nodes }) => nodes.length)).toEqual([2, 2]);
  });

  test("an output in the middle splits a region at it", async () => {
    const model = graphOf((parts, x) => {
      const inner = dyadicNorm(
        parts,
        conv(parts, x, { ...DENSE, kernel: [1, 1], pads: [0, 0, 0, 0] }),
        4,
        "a",
      );
      return [
        inner,
        dyadicNorm(parts, conv(parts, inner, { inC: 4, outC: 4, name: "second" }), 4, "b"),
      ];
    });
    const { plan } = await expectFused(model, 2);
    expect(plan.regions.map(({ output }) => output)).toEqual(["a", "b"]);
  });

  test("a kernel computed from constants is one more thing to fuse", async () => {
    const model = graphOf((parts, x) => {
      const { g } = parts;
      const scale = g.initializer("scale", float32([4, 1, 1, 1], [1, 2, 3, 4]));
      const mask = g.initializer("mask", float32([1, 1, 3, 3], [1, 0, -1, 2, 0, -2, 1, 0, -1]));
      const kernel = g.node("Mul", [scale, mask]);
      return g.node("Conv", [x, kernel], { group: 4, pads: [1, 1, 1, 1] });
    });
    const plan = await planReparam(model);
    expect(plan.regions).toHaveLength(1);
    expect(plan.before.nodes).toBe(2);
    expect(plan.after.nodes).toBe(1);
    const { values } = await plan.regions[0]!.affine.weights(2, 3, false);
    expect([...values]).toEqual([3, 0, -3, 6, 0, -6, 3, 0, -3]);
  });

  test("padding after the last kernel is not computed by the convolution", async () => {
    const model = graphOf(
      (parts, x) => {
        const inner = conv(parts, x, { inC: 4, outC: 4 });
        return parts.g.node("Pad", [inner, int64(parts, [0, 0, 9, 9, 0, 0, 9, 9])]);
      },
      { sizes: [8, 8] },
    );
    expect((await planReparam(model)).regions).toEqual([]);
    expect((await planReparam(model, { allowCostlier: true })).regions).toHaveLength(1);
  });
});

describe("totals", () => {
  const block = (sizes: readonly (number | string)[]): Model =>
    graphOf(
      (parts, x) => {
        const dense = dyadicNorm(parts, conv(parts, x, { ...DENSE, name: "dense" }), 4, "a");
        const side = dyadicNorm(parts, conv(parts, x, { inC: 4, outC: 4, name: "side" }), 4, "b");
        const sum = parts.g.node("Add", [dense, side]);
        const pooled = parts.g.node("GlobalAveragePool", [parts.g.node("Relu", [sum])]);
        const flat = parts.g.node("Flatten", [pooled]);
        const matrix = parts.g.initializer("w", float32([3, 4], Array<number>(12).fill(1)));
        return parts.g.node("Gemm", [flat, matrix], { transB: 1 });
      },
      { sizes },
    );

  test("nodes, stored numbers and multiply-accumulates before and after", async () => {
    const plan = await planReparam(block([5, 6]));
    // Two kernels of 4·4·9 and 4·4, eight statistics of 4, a matrix of 12; 30 positions.
    expect(plan.before).toEqual({ nodes: 9, parameters: 144 + 16 + 32 + 12, macs: 160 * 30 + 12 });
    expect(plan.after).toEqual({ nodes: 5, parameters: 144 + 4 + 12, macs: 144 * 30 + 12 });
  });

  test("no multiply-accumulates where a size is open", async () => {
    const plan = await planReparam(block(["h", "w"]));
    expect([plan.before.macs, plan.after.macs]).toEqual([undefined, undefined]);
  });
});

describe("hostile graphs", () => {
  test("a long chain of linear operators is planned in pieces", async () => {
    const model = graphOf((parts, x) => {
      let value = conv(parts, x, DENSE);
      for (let i = 0; i < 600; i++) value = parts.g.node("Neg", [value]);
      return value;
    });
    const plan = await planReparam(model);
    expect(plan.regions).toHaveLength(1);
    expect(plan.regions[0]!.nodes).toHaveLength(128); // the limit of one cone
  });

  test("a value that a hundred thousand nodes read", async () => {
    const model = graphOf((parts, x) => {
      const inner = conv(parts, x, DENSE);
      return Array.from({ length: 100_000 }, () => parts.g.node("Relu", [inner]))[0]!;
    });
    expect((await planReparam(model)).regions).toEqual([]);
  });

  test("sizes that a file makes up do not allocate", async () => {
    const lists: [string, (parts: Parts, value: string) => string][] = [
      [
        "Split",
        (parts, v) =>
          parts.g.nodeWithOutputs("Split", [v, int64(parts, [2 ** 40, 2])], 2, { axis: 1 })[0]!,
      ],
      [
        "Slice",
        (parts, v) =>
          parts.g.node("Slice", [
            v,
            int64(parts, [-(2 ** 50)]),
            int64(parts, [2 ** 50]),
            int64(parts, [1]),
          ]),
      ],
      ["Gather", (parts, v) => parts.g.node("Gather", [v, int64(parts, [2 ** 40])], { axis: 1 })],
    ];
    for (const [, draw] of lists) {
      const model = graphOf((parts, x) => draw(parts, conv(parts, x, DENSE)));
      // Shape inference or planning may call the file bad; neither may hang or run out of memory.
      await planReparam(model).catch((error: unknown) =>
        expect(error).toHaveProperty("tag", "bad-data"),
      );
    }
  });

  test("a padding of a billion is no kernel, even when costs do not matter", async () => {
    const model = graphOf((parts, x) => {
      const far = parts.g.node("Pad", [x, int64(parts, [0, 0, 0, 2 ** 30, 0, 0, 0, 1 - 2 ** 30])]);
      const side = conv(parts, x, { inC: 4, outC: 4 });
      return parts.g.node(
        "Add",
        [conv(parts, far, { inC: 4, outC: 4, kernel: [1, 2], name: "far" }), side],
        {},
        "sum",
      );
    });
    const plan = await planReparam(model, { allowCostlier: true });
    expect(plan.regions.map(({ output }) => output)).not.toContain("sum");
    expect(plan.refusals.map(({ reason }) => reason)).toEqual([
      // 2³⁰ + 1 taps: from the far kernel's first to the pointwise one's.
      `one convolution would store ${4 * 4 * (2 ** 30 + 1)} kernel numbers, at most ${2 ** 30} are made`,
    ]);
  });
});

test("planning can be stopped and says how far it is", async () => {
  const model = graphOf((parts, x) => dyadicNorm(parts, conv(parts, x, DENSE), 4));
  await expect(planReparam(model, { signal: AbortSignal.abort() })).rejects.toHaveProperty(
    "tag",
    "aborted",
  );
  const seen: number[] = [];
  await planReparam(model, { onProgress: ({ done, total }) => seen.push(done / total) });
  expect(seen.length).toBeGreaterThan(0);
});
