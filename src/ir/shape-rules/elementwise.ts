/** @file Shapes of operators that work element by element, and of normalizations. */

import { DTYPE_OF_CODE } from "../element-type.ts";
import { type Dim, intAttribute } from "../graph.ts";
import { broadcast, type RuleContext, type ShapeRule } from "./context.ts";

/** Output like the first input. Further outputs (running statistics, masks) stay unknown. */
export const sameAsInput: ShapeRule = ({ input }) => {
  const { dtype, shape } = input(0);
  return [{ dtype, shape }];
};

/** The same value under another name. */
export const identity: ShapeRule = ({ input }) => [input(0)];

export const dropout: ShapeRule = ({ input }) => {
  const { dtype, shape } = input(0);
  return [
    { dtype, shape },
    { dtype: "bool", shape },
  ];
};

export const cast: ShapeRule = async ({ node, input, values }) => {
  const { shape } = input(0);
  const dtype = DTYPE_OF_CODE[intAttribute(node, "to", 0)];
  return [{ dtype, shape, values: await values(0) }];
};

/** Element type and shape by broadcasting all inputs. */
export const broadcastAll: ShapeRule = ({ node, where, input }) => {
  const inputs = node.inputs.map((_, i) => input(i));
  return [
    {
      dtype: inputs[0]?.dtype,
      shape: broadcast(
        where,
        inputs.map((type) => type.shape),
      ),
    },
  ];
};

/** The slope of PRelu broadcasts to the input, not the other way round. */
export const prelu: ShapeRule = sameAsInput;

type Combine = (a: number, b: number) => number;

function binary(combine: Combine | undefined, compare: boolean): ShapeRule {
  return async (context) => {
    const { where, input, values } = context;
    const [a, b] = [input(0), input(1)];
    const shape = broadcast(where, [a.shape, b.shape]);
    const dtype = compare ? "bool" : (a.dtype ?? b.dtype);
    if (!combine || !holdsIntegers(context)) return [{ dtype, shape }];
    return [{ dtype, shape, values: combineValues(await values(0), await values(1), combine) }];
  };
}

function holdsIntegers({ input }: RuleContext): boolean {
  return [input(0), input(1)].every(({ dtype }) => dtype === "int64" || dtype === "int32");
}

function combineValues(
  a: readonly Dim[] | undefined,
  b: readonly Dim[] | undefined,
  combine: Combine,
): readonly Dim[] | undefined {
  if (!a || !b) return undefined;
  const length = a.length === 1 ? b.length : a.length;
  if (b.length !== 1 && b.length !== length) return undefined;
  return Array.from({ length }, (_, i): Dim => {
    const x = a.length === 1 ? a[0] : a[i];
    const y = b.length === 1 ? b[0] : b[i];
    const value = typeof x === "number" && typeof y === "number" ? combine(x, y) : undefined;
    return Number.isSafeInteger(value) ? value : undefined;
  });
}

export const arithmetic: ShapeRule = binary(undefined, false);
export const add: ShapeRule = binary((x, y) => x + y, false);
export const subtract: ShapeRule = binary((x, y) => x - y, false);
export const multiply: ShapeRule = binary((x, y) => x * y, false);
/** Integer division truncates towards zero. */
export const divide: ShapeRule = binary(
  (x, y) => (y === 0 ? Number.NaN : Math.trunc(x / y)),
  false,
);
export const compare: ShapeRule = binary(undefined, true);
export const equal: ShapeRule = binary((x, y) => (x === y ? 1 : 0), true);

export const where: ShapeRule = async ({ where: label, input, values }) => {
  const [condition, a, b] = [input(0), input(1), input(2)];
  const shape = broadcast(label, [condition.shape, a.shape, b.shape]);
  const [which, yes, no] = [await values(0), await values(1), await values(2)];
  const chosen = which?.map((choice, i): Dim => {
    if (choice === undefined) return undefined;
    const from = choice === 0 ? no : yes;
    return from?.length === 1 ? from[0] : from?.[i];
  });
  return [{ dtype: a.dtype ?? b.dtype, shape, values: chosen }];
};
