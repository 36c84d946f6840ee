import fc from "fast-check";
import { expect, test } from "vitest";
import { countingSource } from "../../test/support/byte-sources.ts";
import { memorySource } from "../core/byte-source.ts";
import { elementCount } from "../core/tensor.ts";
import { contiguousStrides, stridedTensor } from "./strided-tensor.ts";

/** Source element i holds the value i. */
function numbered(count: number) {
  const values = Uint16Array.from({ length: count }, (_, i) => i);
  return countingSource(memorySource("numbers", new Uint8Array(values.buffer)));
}

const valuesOf = (bytes: Uint8Array): number[] => [...new Uint16Array(bytes.slice().buffer)];

test("reads a transposed matrix row by row", async () => {
  const source = numbered(6);
  const view = { dtype: "uint16", shape: [3, 2], strides: [1, 3], offset: 0, what: "t" } as const;
  const lazy = stridedTensor(source, view);
  expect(valuesOf(await lazy.read())).toEqual([0, 3, 1, 4, 2, 5]); // columns of [[0,1,2],[3,4,5]]
  expect(valuesOf(await lazy.read(2, 5))).toEqual([1, 4, 2]);
});

test("reads of a contiguous tensor read exactly the range", async () => {
  const source = numbered(100);
  // PyTorch stores any stride for dimensions of one element.
  const view = {
    dtype: "uint16",
    shape: [1, 8, 5],
    strides: [7, 5, 1],
    offset: 9,
    what: "t",
  } as const;
  const lazy = stridedTensor(source, view);
  expect(valuesOf(await lazy.read(3, 7))).toEqual([12, 13, 14, 15]); // 9 + 3 …
  expect(source.bytesRead()).toBe(8);
  await expect(lazy.read(0, 41)).rejects.toThrow("elements");
});

test("gathers any view in logical order", async () => {
  const dim = fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 6 }));
  await fc.assert(
    fc.asyncProperty(
      fc.array(dim, { maxLength: 4 }),
      fc.nat(5),
      fc.nat(),
      fc.nat(),
      async (dims, offset, a, b) => {
        const shape = dims.map(([n]) => n);
        const strides = dims.map(([, s]) => s);
        const source = numbered(offset + 1 + dims.reduce((sum, [n, s]) => sum + n * s, 0));
        const count = elementCount(shape);
        const [start, end] = [a % (count + 1), b % (count + 1)].sort((x, y) => x - y) as [
          number,
          number,
        ];
        const dense = contiguousStrides(shape);
        const expected = Array.from({ length: count }, (_, i) =>
          shape.reduce((at, n, k) => at + (Math.floor(i / dense[k]!) % n) * strides[k]!, offset),
        );
        const lazy = stridedTensor(source, { dtype: "uint16", shape, strides, offset, what: "t" });
        expect(valuesOf(await lazy.read())).toEqual(expected);
        expect(valuesOf(await lazy.read(start, end))).toEqual(expected.slice(start, end));
      },
    ),
    { seed: 20261, numRuns: 300 },
  );
});
