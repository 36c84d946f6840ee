import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  float32Tensor,
  int64Tensor,
  type LazyTensor,
  lazyTensor,
  readFloat64,
} from "../core/tensor.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import type { Model } from "../ir/graph.ts";
import { lowerWithParameters } from "./lower-float64.ts";
import { type Layout, plainLayout } from "./lowering/layout.ts";
import { fillParameter, type Perturbation, parameterTensor } from "./parameter-data.ts";
import { perturbableParameters, perturbParameters } from "./perturb.ts";
import { createReference } from "./reference.ts";

const U = 2 ** -24;
const f32 = (shape: number[], values: number[]): LazyTensor =>
  lazyTensor(float32Tensor(shape, values));

/** y = x · a + a, z = x^2: `a` is used twice, the exponent is no parameter. */
function model(): Model {
  const g = createGraphBuilder();
  const x = g.input("x", "float32", [3]);
  const a = g.initializer("a", f32([3], [1, 2, -3]));
  const scaled = g.node("Mul", [x, a], {}, "scaled");
  g.output(g.node("Add", [scaled, a], {}, "y"), "float32", [3]);
  g.output(g.node("Pow", [x, g.initializer("two", f32([], [2]))], {}, "z"), "float32", [3]);
  return g.build();
}

describe("createReference", () => {
  const x = Float64Array.of(0.1, -1, 4);

  test("returns outputs and taps in float64", async () => {
    const reference = await createReference(model(), await loadNodeRuntime(), new Map(), {
      taps: ["scaled"],
    });
    expect(reference.outputNames).toEqual(["y", "z", "scaled"]);
    const values = await reference.run(new Map([["x", x]]));
    expect([...values.get("scaled")!.data]).toEqual([0.1, -2, -12]);
    expect([...values.get("y")!.data]).toEqual([1.1, 0, -15]);
    await reference.release();
  });

  test("moves every parameter and input by at most the unit, alike wherever it is used", async () => {
    const reference = await createReference(model(), await loadNodeRuntime(), new Map(), {
      taps: ["scaled"],
    });
    const exact = await reference.run(new Map([["x", x]]));
    for (let seed = 0; seed < 20; seed++) {
      const moved = await reference.run(new Map([["x", x]]), { seed, unit: U });
      for (let i = 0; i < 3; i++) {
        const scaled = moved.get("scaled")!.data[i]!;
        const relative = scaled / exact.get("scaled")!.data[i]! - 1;
        expect(Math.abs(relative)).toBeGreaterThan(0);
        // (1 + u)² for parameter and input, and two float64 roundings.
        expect(Math.abs(relative)).toBeLessThan(2 * U + U * U + 2 ** -51);
        // y − scaled is `a` as Add saw it; scaled / a is `x` as Mul saw it, and z = x² saw the same x.
        const a = moved.get("y")!.data[i]! - scaled;
        const square = (scaled / a) ** 2;
        // y − scaled cancels at most 15 / 1 of float64's digits.
        expect(Math.abs(square / moved.get("z")!.data[i]! - 1)).toBeLessThan(2 ** -53 * 200);
      }
    }
    await reference.release();
  });

  test("the same seed gives the same values, another seed others, and no perturbation the exact ones again", async () => {
    const reference = await createReference(model(), await loadNodeRuntime(), new Map());
    const y = async (perturbation?: Perturbation): Promise<number[]> => [
      ...(await reference.run(new Map([["x", x]]), perturbation)).get("y")!.data,
    ];
    const exact = await y();
    const first = await y({ seed: 1, unit: U });
    expect(await y({ seed: 2, unit: U })).not.toEqual(first);
    expect(await y({ seed: 1, unit: U })).toEqual(first);
    expect(await y()).toEqual(exact);
    await reference.release();
  });

  test("concurrent runs do not see each other's parameters", async () => {
    const reference = await createReference(model(), await loadNodeRuntime(), new Map());
    const seeds = [1, 2, undefined, 3, 1];
    const one = (seed: number | undefined): ReturnType<typeof reference.run> =>
      reference.run(new Map([["x", x]]), seed === undefined ? undefined : { seed, unit: U });
    const together = await Promise.all(seeds.map(one));
    for (const [i, seed] of seeds.entries()) expect(together[i]).toEqual(await one(seed));
    await reference.release();
  });

  test("takes tensors of any float type, and names what does not fit", async () => {
    const reference = await createReference(model(), await loadNodeRuntime(), new Map());
    const half = float32Tensor([3], [0.1, -1, 4]);
    const values = await reference.run(new Map([["x", half]]));
    expect(values.get("y")!.data[0]).toBe(Math.fround(0.1) + 1);
    await expect(reference.run(new Map())).rejects.toThrow('input "x": no value was given');
    await expect(reference.run(new Map([["x", new Float64Array(2)]]))).rejects.toThrow(
      'input "x": 2 numbers for shape [3]',
    );
    const extra = new Map([
      ["x", x],
      ["w", x],
    ]);
    await expect(reference.run(extra)).rejects.toThrow('input "w": the model has no such input');
    await reference.release();
  });

  test("an unknown tap is named", async () => {
    const runtime = await loadNodeRuntime();
    await expect(createReference(model(), runtime, new Map(), { taps: ["nope"] })).rejects.toThrow(
      '"nope"',
    );
  });
});

describe("perturbable parameters", () => {
  test("are those of linear arithmetic, through reshapes too; never exponents, bounds or shared thresholds", () => {
    const g = createGraphBuilder();
    const x = g.input("x", "float32", [2, 3]);
    const add = (name: string, shape: number[] = []): string =>
      g.initializer(name, f32(shape, new Array(shape.reduce((a, b) => a * b, 1)).fill(1)));
    let v = g.node("MatMul", [x, add("matrix", [3, 3])]);
    v = g.node("Add", [
      v,
      g.node("Unsqueeze", [
        add("reshaped", [3]),
        g.initializer("axis", lazyTensor(int64Tensor([1], [0]))),
      ]),
    ]);
    v = g.node("Pow", [v, add("exponent")]);
    v = g.node("Clip", [v, add("low"), add("high")]);
    const shared = add("shared");
    v = g.node("Mul", [v, shared]);
    v = g.node("Max", [v, shared]);
    v = g.node("Mul", [v, g.node("Constant", [], { value_float: { float: 2 } }, "constant")]);
    add("unused");
    g.output(v, "float32", undefined);
    expect([...perturbableParameters(g.build())].sort()).toEqual([
      "constant",
      "matrix",
      "reshaped",
    ]);
  });

  test("perturbParameters moves exactly those, by the same amounts as a reference run does", async () => {
    const lowered = await lowerWithParameters(model(), await loadNodeRuntime(), new Map());
    const movable = perturbableParameters(model());
    const moved = perturbParameters(lowered, movable, { seed: 5, unit: U }).graph.initializers;
    const again = perturbParameters(lowered, movable, { seed: 5, unit: U }).graph.initializers;
    const a = await readFloat64(moved.get("a")!);
    expect([...a]).toEqual([...(await readFloat64(again.get("a")!))]);
    a.forEach((value, i) => {
      const relative = value / [1, 2, -3][i]! - 1;
      expect(Math.abs(relative)).toBeGreaterThan(0);
      expect(Math.abs(relative)).toBeLessThanOrEqual(U);
    });
    expect([...(await readFloat64(moved.get("two")!))]).toEqual([2]);
  });
});

describe("a laid-out parameter", () => {
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ] as const;

  test("has its blocks transposed, whichever range is read, and the noise goes with the element", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(
          fc.integer({ min: 1, max: 3 }),
          fc.integer({ min: 1, max: 4 }),
          fc.integer({ min: 1, max: 4 }),
          fc.integer({ min: 1, max: 4 }),
        ),
        fc.constantFrom(...orders),
        fc.nat(),
        fc.nat(),
        fc.boolean(),
        async ([blocks, a, b, c], order, from, to, noisy) => {
          const size = blocks * a * b * c;
          const values = Array.from({ length: size }, (_, i) => i + 1);
          const layout: Layout = { shape: [size], block: [a, b, c], order };
          const value = f32([size], values);
          const perturbation = noisy ? { seed: 3, unit: U } : undefined;
          const plain = new Float64Array(size);
          const source = Float64Array.from(values);
          fillParameter(
            plain,
            source,
            { source: "w", value, layout: plainLayout([size]) },
            0,
            perturbation,
          );
          const expected: number[] = [];
          const dims = [a, b, c];
          const at = (index: number[]): number => (index[0]! * b + index[1]!) * c + index[2]!;
          for (let n = 0; n < blocks; n++) {
            for (let i = 0; i < dims[order[0]]!; i++) {
              for (let j = 0; j < dims[order[1]]!; j++) {
                for (let k = 0; k < dims[order[2]]!; k++) {
                  const index = [0, 0, 0];
                  index[order[0]] = i;
                  index[order[1]] = j;
                  index[order[2]] = k;
                  expected.push(plain[n * a * b * c + at(index)]!);
                }
              }
            }
          }
          const start = from % size;
          const end = start + (to % (size - start + 1));
          const tensor = parameterTensor({ source: "w", value, layout }, perturbation);
          const bytes = await tensor.read(start, end);
          expect([...new Float64Array(bytes.slice().buffer)]).toEqual(expected.slice(start, end));
        },
      ),
      { numRuns: 200, seed: 20261123 },
    );
  });

  test("noise is uniform in [-1, 1): mean, variance and correlation of neighbours are what chance allows", () => {
    const n = 100_000;
    const source = new Float64Array(n).fill(1);
    const target = new Float64Array(n);
    const parameter = { source: "w", value: f32([0], []), layout: plainLayout([n]) };
    fillParameter(target, source, parameter, 0, { seed: 9, unit: 1 });
    const noise = target.map((v) => v - 1);
    const mean = noise.reduce((a, b) => a + b, 0) / n;
    const variance = noise.reduce((a, b) => a + b * b, 0) / n;
    let neighbours = 0;
    for (let i = 1; i < n; i++) neighbours += noise[i]! * noise[i - 1]!;
    // Five standard errors: σ = √(1/3) of the mean, √(4/45) of the squares, 1/3 of the products, each over √n.
    expect(Math.abs(mean)).toBeLessThan(5 * Math.sqrt(1 / 3 / n));
    expect(Math.abs(variance - 1 / 3)).toBeLessThan(5 * Math.sqrt(4 / 45 / n));
    expect(Math.abs(neighbours / n)).toBeLessThan((5 * (1 / 3)) / Math.sqrt(n));
    expect(Math.max(...noise)).toBeLessThan(1);
    expect(Math.min(...noise)).toBeGreaterThanOrEqual(-1);
  });
});
