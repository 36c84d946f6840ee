/** @file Limits on what a checkpoint's names and shapes, or a recipe, may ask of this room. */

/** Parts of a dotted key. Real nets stay below 20. */
export const MAX_KEY_PARTS = 64;
/** Repetitions of one `{n}` branch. The most seen is 8. */
export const MAX_REPEATS = 1024;
/** Channels of one value: bounds the search for the group count. */
export const MAX_CHANNELS = 1_048_576;
/** Kernel width in taps. The largest published is 61. */
export const MAX_KERNEL = 1023;
/** Blocks of a net that is made up. The deepest published RepVGG has 28 blocks. */
export const MAX_BLOCKS = 10_000;
/** Elements of one computed weight: 2^27 float64 values are 1 GiB. */
export const MAX_EXPRESSION_ELEMENTS = 134_217_728;
/** Nesting of stones or expressions in a recipe. */
export const MAX_DEPTH = 32;
/** Characters of a recipe file. */
export const MAX_RECIPE_CHARACTERS = 1_048_576;
