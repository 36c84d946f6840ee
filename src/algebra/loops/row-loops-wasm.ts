/**
 * @file The loops of row-loops.ts in WebAssembly. Its memory holds one block: two float64 arrays that callers compute
 * in, and room for what a loop reads beside them. Numbers elsewhere are copied in, which costs little as long as they
 * stay in the processor's cache; arrays that are not of this memory are left to the plain loops.
 */

import {
  FLOAT32_OVERFLOW,
  firstOverflow,
  MEASURES,
  plainLoops,
  type RowLoops,
  type ScaledRows,
} from "./row-loops.ts";
import { ROW_LOOPS_BINARY } from "./row-loops-binary.ts";

/** WebAssembly memory grows in pages of this many bytes. */
const PAGE_BYTES = 2 ** 16;
/** Larger blocks (one row of so many numbers, 100 MB of arrays) are left to the plain loops: this memory never shrinks. */
const MAX_BLOCK_NUMBERS = 2 ** 22;
/** Arrays begin on a cache line. */
const ALIGNMENT_BYTES = 64;

type WholeRows = [values: number, stored: number, factors: number, rows: number, size: number];

/** What is used of the WebAssembly JavaScript interface; it belongs to no library that Node and browsers share in types. */
interface WasmApi {
  readonly Module: new (binary: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

interface WasmMemory {
  readonly buffer: ArrayBuffer;
  /** Adds pages and detaches all views. */
  grow(pages: number): number;
}

/** Addresses are in bytes, sizes in numbers. */
interface Exports {
  readonly memory: WasmMemory;
  fillRows(...rows: WholeRows): void;
  addRows(...rows: WholeRows): void;
  addTaps(
    values: number,
    at: number,
    stored: number,
    factors: number,
    positions: number,
    rows: number,
    width: number,
    count: number,
    taps: number,
  ): void;
  round(rounded: number, values: number, count: number, limit: number): number;
  measureRows(
    exact: number,
    found: number,
    rows: number,
    size: number,
    relative: number,
    floor: number,
    results: number,
  ): void;
}

/** Views of the memory for blocks of up to so many rows and numbers. */
interface Arrays {
  readonly values: Float64Array;
  readonly found: Float64Array;
  readonly factors: Float64Array;
  readonly results: Float64Array;
  /** Stored or rounded numbers. */
  readonly single: Float32Array;
  readonly at: Int32Array;
  readonly positions: Int32Array;
}

let loops: RowLoops | undefined;

/** The fastest loops there are here; they share one memory per thread. */
export function rowLoops(): RowLoops {
  loops ??= createWasmLoops() ?? plainLoops;
  return loops;
}

/** Undefined where WebAssembly (with its vector instructions) is missing or forbidden. */
export function createWasmLoops(): RowLoops | undefined {
  const { WebAssembly: api } = globalThis as { readonly WebAssembly?: WasmApi };
  if (!api) return undefined;
  let code: Exports;
  try {
    const binary = Uint8Array.from(atob(ROW_LOOPS_BINARY), (char) => char.charCodeAt(0));
    code = new api.Instance(new api.Module(binary)).exports as Exports;
  } catch {
    return undefined;
  }
  let arrays = layOut(code.memory, 0, 0);
  const has = (...operands: readonly ArrayBufferView[]): boolean =>
    operands.every(({ buffer }) => buffer === code.memory.buffer);
  const stage = ({ stored, factors }: ScaledRows): void => {
    arrays.single.set(stored);
    arrays.factors.set(factors);
  };
  const wholeRows = (values: Float64Array, scaled: ScaledRows): WholeRows => {
    stage(scaled);
    const { stored, factors } = scaled;
    return [
      values.byteOffset,
      arrays.single.byteOffset,
      arrays.factors.byteOffset,
      factors.length,
      factors.length === 0 ? 0 : stored.length / factors.length,
    ];
  };
  return {
    block: (rows, rowSize) => {
      const size = rows * rowSize;
      if (size > MAX_BLOCK_NUMBERS) return plainLoops.block(rows, rowSize);
      if (arrays.factors.length < rows || arrays.values.length < size) {
        arrays = layOut(
          code.memory,
          Math.max(rows, arrays.factors.length),
          Math.max(size, arrays.values.length),
        );
      }
      return { values: arrays.values.subarray(0, size), found: arrays.found.subarray(0, size) };
    },
    fillRows: (values, scaled) => {
      if (!has(values) || !isSingle(scaled)) return plainLoops.fillRows(values, scaled);
      code.fillRows(...wholeRows(values, scaled));
    },
    addRows: (values, scaled) => {
      if (!has(values) || !isSingle(scaled)) return plainLoops.addRows(values, scaled);
      code.addRows(...wholeRows(values, scaled));
    },
    addTaps: (values, scaled, layout) => {
      if (!has(values) || !isSingle(scaled)) return plainLoops.addTaps(values, scaled, layout);
      const { at, positions, width, taps } = layout;
      stage(scaled);
      arrays.at.set(at);
      arrays.positions.set(positions);
      code.addTaps(
        values.byteOffset,
        arrays.at.byteOffset,
        arrays.single.byteOffset,
        arrays.factors.byteOffset,
        arrays.positions.byteOffset,
        scaled.factors.length,
        width,
        positions.length,
        taps,
      );
    },
    round: (values, rounded) => {
      if (!has(values)) return plainLoops.round(values, rounded);
      const { byteOffset } = arrays.single;
      const fits = code.round(byteOffset, values.byteOffset, values.length, FLOAT32_OVERFLOW);
      rounded.set(arrays.single.subarray(0, values.length));
      return fits ? -1 : firstOverflow(values);
    },
    measureRows: (exact, found, size, step) => {
      if (!has(exact, found)) return plainLoops.measureRows(exact, found, size, step);
      const { rows, rowSize } = size;
      code.measureRows(
        exact.byteOffset,
        found.byteOffset,
        rows,
        rowSize,
        step.relative,
        step.floor,
        arrays.results.byteOffset,
      );
      return arrays.results.subarray(0, rows * MEASURES.length);
    },
  };
}

function isSingle({ stored }: ScaledRows): boolean {
  return stored instanceof Float32Array;
}

/** Everything a block of `rows` rows with `size` numbers needs, one after the other. Grows the memory, which detaches older views. */
function layOut(memory: WasmMemory, rows: number, size: number): Arrays {
  let end = 0;
  const reserve = (byteLength: number): number => {
    const begin = end;
    end += Math.ceil(byteLength / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    return begin;
  };
  const [values, found, factors] = [reserve(size * 8), reserve(size * 8), reserve(rows * 8)];
  const results = reserve(rows * MEASURES.length * 8);
  const [single, at, positions] = [reserve(size * 4), reserve(rows * 4), reserve(size * 4)];
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
  const { buffer } = memory;
  return {
    values: new Float64Array(buffer, values, size),
    found: new Float64Array(buffer, found, size),
    factors: new Float64Array(buffer, factors, rows),
    results: new Float64Array(buffer, results, rows * MEASURES.length),
    single: new Float32Array(buffer, single, size),
    at: new Int32Array(buffer, at, rows),
    positions: new Int32Array(buffer, positions, size),
  };
}
