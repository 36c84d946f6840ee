/** @file How much a pickle may ask for. Every limit leaves an order of magnitude over the largest file seen. */

/** Bytes of one pickle: it is held in memory. 100 000 tensors need about 15 MB. */
export const MAX_PICKLE_BYTES: number = 128 * 1024 * 1024;
/** Instructions executed: each makes at most one record of some 60 bytes. 100 000 tensors need about 4 million. */
export const MAX_PICKLE_STEPS = 8_000_000;
/** Values waiting on the stack. Pickles written in batches of 1000 stay below a few thousand. */
export const MAX_PICKLE_STACK = 1_000_000;
/** Open marks: each is one level of nesting under construction. */
export const MAX_PICKLE_NESTING = 1000;
/** Bytes of one string; the longest useful ones are keys and configuration texts. */
export const MAX_PICKLE_STRING_BYTES: number = 16 * 1024 * 1024;
/** Bytes of a module or class name. */
export const MAX_GLOBAL_BYTES = 1024;
/** Bytes of one integer; converting it to a `bigint` is quadratic. */
export const MAX_INTEGER_BYTES = 4096;
/** Dimensions of a tensor: PyTorch's own limit. */
export const MAX_TENSOR_RANK = 64;
/** Bytes of a tensor that repeats its storage (stride 0): it would grow in memory from almost nothing. */
export const MAX_EXPANDED_BYTES: number = 256 * 1024 * 1024;
/** Tensors in one state dict. */
export const MAX_TENSORS = 262_144;
/** Levels of modules inside modules. */
export const MAX_MODULE_DEPTH = 100;
