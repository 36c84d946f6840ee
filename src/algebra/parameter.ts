/** @file Numbers of an operator, read in ranges as float64. */

export interface Parameter {
  /** For messages: the tensor's name. */
  readonly name: string;
  readonly length: number;
  /** Float32 roundings that already went into the numbers (0 for stored weights). */
  readonly roundings: number;
  /** Elements `[begin, end)`. The caller owns the array. */
  read(begin: number, end: number): Promise<Float64Array>;
}

type Read = Parameter["read"];
export type StoredNumbers = Float32Array | Float64Array;

type ReadStored = (begin: number, end: number, into?: Uint8Array) => Promise<StoredNumbers>;

const stored = new WeakMap<Read, ReadStored>();

/**
 * Notes for a `read` that the same numbers can be had as they are stored, without a copy. It belongs to the function
 * and not to the parameter, so that a parameter with a `read` of its own never inherits it.
 */
export function noteStored(read: Read, asStored: ReadStored): Read {
  stored.set(read, asStored);
  return read;
}

/**
 * Elements `[begin, end)` in the type they are stored in, where that is known. The caller must not write to them.
 * Unlike `read`, this need not look for numbers that are not finite.
 *
 * @param into memory that may be used for them
 */
export function readStored(
  parameter: Parameter,
  begin: number,
  end: number,
  into?: Uint8Array,
): Promise<StoredNumbers> {
  const asStored = stored.get(parameter.read);
  return asStored ? asStored(begin, end, into) : parameter.read(begin, end);
}

/** A parameter over values in memory. */
export function parameter(name: string, values: ArrayLike<number>, roundings = 0): Parameter {
  const all = Float64Array.from(values);
  return {
    name,
    length: all.length,
    roundings,
    read: async (begin, end) => all.slice(begin, end),
  };
}

/** `length` times the same value. */
export function constantParameter(
  name: string,
  length: number,
  value: number,
  roundings = 0,
): Parameter {
  return {
    name,
    length,
    roundings,
    read: async (begin, end) => new Float64Array(end - begin).fill(value),
  };
}
