/** @file The WebAssembly loops give what the TypeScript ones say, bit for bit, whatever the numbers and sizes. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { formatRowLoops, ROW_LOOPS_BINARY_PATH } from "../../../scripts/build-loops.ts";
import { MEASURES, plainLoops, type RowLoops, type ScaledRows } from "./row-loops.ts";
import { createWasmLoops } from "./row-loops-wasm.ts";

const wasm = createWasmLoops()!;

/** Sizes around the vector width, and rows longer than a page of memory. */
const rowSizes = fc.oneof(fc.integer({ min: 0, max: 13 }), fc.constantFrom(64, 1153, 9001));
const special = [0, -0, Number.NaN, Infinity, -Infinity, 2 ** -149, 3.5e38, 2 ** 128 - 2 ** 103];
const numbers = fc.oneof(
  { weight: 20, arbitrary: fc.double({ min: -4, max: 4, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(...special) },
);

/** A repeatable run of numbers drawn from a few: long arrays of single draws would take all the time. */
function series(pattern: readonly number[], length: number): Float64Array {
  return Float64Array.from({ length }, (_, i) => {
    const value = pattern[i % pattern.length]!;
    return value * (1 + (i % 7) / 8);
  });
}

const patterns = fc.array(numbers, { minLength: 1, maxLength: 11 });

/** NaNs have many bit patterns and mean the same: compared as values, zeros with their sign. */
function expectSame(found: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(found.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (!Object.is(found[i], expected[i])) {
      throw new Error(`at ${i}: ${found[i]} instead of ${expected[i]}`);
    }
  }
}

/** Runs a loop on both sides, from the same starting values. */
function both(
  rows: number,
  rowSize: number,
  start: Float64Array,
  loop: (loops: RowLoops, values: Float64Array) => void,
): void {
  const expected = start.slice();
  loop(plainLoops, expected);
  const { values } = wasm.block(rows, rowSize);
  values.set(start);
  loop(wasm, values);
  expectSame(values, expected);
}

const scaledRows = fc
  .record({
    rows: fc.integer({ min: 1, max: 5 }),
    rowSize: rowSizes,
    patterns: fc.tuple(patterns, patterns, patterns),
  })
  .map(({ rows, rowSize, patterns: [a, b, c] }) => ({
    rows,
    rowSize,
    start: series(a, rows * rowSize),
    scaled: { stored: Float32Array.from(series(b, rows * rowSize)), factors: series(c, rows) },
  }));

test("rows are scaled and added alike, in any stored type", () => {
  fc.assert(
    fc.property(scaledRows, ({ rows, rowSize, start, scaled }) => {
      const wide: ScaledRows = { ...scaled, stored: Float64Array.from(scaled.stored) };
      for (const operand of [scaled, wide]) {
        both(rows, rowSize, start, (loops, values) => loops.fillRows(values, operand));
        both(rows, rowSize, start, (loops, values) => loops.addRows(values, operand));
      }
    }),
    { numRuns: 300 },
  );
});

test("taps are added alike, wherever the rows and taps stand", () => {
  const cases = fc.record({
    rows: fc.integer({ min: 1, max: 4 }),
    width: fc.integer({ min: 0, max: 5 }),
    more: fc.integer({ min: 0, max: 2 }),
    taps: fc.integer({ min: 1, max: 25 }),
    patterns: fc.tuple(patterns, patterns, patterns),
    seed: fc.nat(),
  });
  fc.assert(
    fc.property(cases, ({ rows, width, more, taps, seed, patterns: [a, b, c] }) => {
      const rowSize = (width + more) * taps;
      const positions = Int32Array.from({ length: taps }, (_, t) => t).filter(
        (t) => ((seed >> (t % 30)) & 1) === 0 || t === 0,
      );
      const layout = {
        at: Int32Array.from(
          { length: rows },
          (_, r) => r * rowSize + (more > 0 ? (seed % (more + 1)) * taps : 0),
        ),
        positions,
        width,
        taps,
      };
      const scaled = {
        stored: Float32Array.from(series(b, rows * width * positions.length)),
        factors: series(c, rows),
      };
      both(rows, rowSize, series(a, rows * rowSize), (loops, values) =>
        loops.addTaps(values, scaled, layout),
      );
    }),
    { numRuns: 300 },
  );
});

test("rounding is the nearest float32, and the first number that does not fit is found", () => {
  const sizes = fc.integer({ min: 0, max: 40 });
  const wild = fc.oneof(numbers, fc.double());
  fc.assert(
    fc.property(sizes, fc.array(wild, { minLength: 1, maxLength: 9 }), (count, pattern) => {
      const source = Float64Array.from({ length: count }, (_, i) => pattern[i % pattern.length]!);
      const { values } = wasm.block(1, count);
      values.set(source);
      const [found, expected] = [new Float32Array(count), new Float32Array(count)];
      expect(wasm.round(values, found)).toBe(plainLoops.round(source, expected));
      expectSame(found, expected);
      expectSame(expected, Float64Array.from(source, Math.fround));
    }),
    { numRuns: 1000 },
  );
});

test("differences are measured alike, also where numbers are NaN or infinite", () => {
  const steps = fc.constantFrom(
    { relative: 2 ** -24, floor: 2 ** -149 },
    { relative: 0, floor: 0 },
  );
  const cases = fc.record({
    rows: fc.integer({ min: 0, max: 4 }),
    rowSize: rowSizes,
    step: steps,
    patterns: fc.tuple(patterns, patterns),
    off: fc.constantFrom(0, 2 ** -25, 2 ** -22, 1e-3),
  });
  fc.assert(
    fc.property(cases, ({ rows, rowSize, step, patterns: [a, b], off }) => {
      const exact = series(a, rows * rowSize);
      const noise = series(b, rows * rowSize);
      const found = exact.map((value, i) => value * (1 + off * noise[i]!));
      const block = wasm.block(rows, rowSize);
      block.values.set(exact);
      block.found.set(found);
      const size = { rows, rowSize };
      const measured = wasm.measureRows(block.values, block.found, size, step);
      expectSame(measured, plainLoops.measureRows(exact, found, size, step));
      expect(measured).toHaveLength(rows * MEASURES.length);
    }),
    { numRuns: 500 },
  );
});

test("a measured row: what, where, how much", () => {
  const exact = Float64Array.of(1, 2, 4, -8, 16);
  const found = Float64Array.of(1, 2.5, 4, -8, 14);
  const measured = plainLoops.measureRows(
    exact,
    found,
    { rows: 1, rowSize: 5 },
    { relative: 0.5, floor: 0 },
  );
  expect([...measured]).toEqual([0.5, 1, 2, 0.25 + 4, 1 + 4 + 16 + 64 + 256]);
});

test("arrays of another memory are computed all the same", () => {
  const scaled = { stored: Float32Array.of(1, 2, 3, 4), factors: Float64Array.of(2, 10) };
  const values = new Float64Array(4);
  wasm.fillRows(values, scaled);
  expect([...values]).toEqual([2, 4, 30, 40]);
});

test("a row of more numbers than the memory should ever hold gets arrays of its own", () => {
  const small = wasm.block(1, 2 ** 10).values.buffer;
  const large = wasm.block(1, 2 ** 22 + 1);
  expect(large.values).toHaveLength(2 ** 22 + 1);
  expect(large.values.buffer).not.toBe(small);
  const scaled = { stored: new Float32Array(2 ** 22 + 1).fill(3), factors: Float64Array.of(0.5) };
  wasm.fillRows(large.values, scaled);
  expect(large.values.at(-1)).toBe(1.5);
  // And the memory is what it was.
  expect(wasm.block(1, 2 ** 10).values.buffer).toBe(small);
});

test("row-loops-binary.ts is what row-loops.wat assembles to (else: npm run build:loops)", async () => {
  expect(readFileSync(ROW_LOOPS_BINARY_PATH, "utf8")).toBe(await formatRowLoops());
});

afterEach(() => vi.unstubAllGlobals());

test("without WebAssembly there are no such loops", () => {
  vi.stubGlobal("WebAssembly", undefined);
  expect(createWasmLoops()).toBeUndefined();
  const forbidding = class {
    constructor() {
      throw new Error("wasm is forbidden here");
    }
  };
  vi.stubGlobal("WebAssembly", { Module: forbidding, Instance: forbidding });
  expect(createWasmLoops()).toBeUndefined();
});
