/**
 * @file A row's graph, bound to one checkpoint and prefix: variables have their numbers, absent optional stones are
 * gone, keys are full names. What could not be bound is listed as missing keys.
 */

import { badData } from "../core/errors.ts";
import type { Expression, Presence, Stone } from "./family.ts";
import type { KeyIndex } from "./key-index.ts";
import { joinKey, substitute, templateMatcher, type Variables } from "./key-template.ts";
import { MAX_REPEATS } from "./limits.ts";

export type BoundStone =
  | { readonly op: "identity" }
  | { readonly op: "same-channels"; readonly part: BoundStone }
  | { readonly op: "sequence" | "sum" | "concat"; readonly parts: readonly BoundStone[] }
  | {
      readonly op: "conv";
      /** Module path, or the weight's key: names the node and finds pickled attributes. */
      readonly path: string;
      readonly weight: Expression;
      readonly bias: Expression | undefined;
      readonly padding: "same" | number;
      readonly dilation: number;
      readonly group: "block" | "own" | "depthwise" | number;
      readonly interleaved: boolean;
    }
  | {
      readonly op: "bn";
      readonly path: string;
      readonly mean: string;
      readonly variance: string;
      /** Undefined for BatchNorm without affine parameters. */
      readonly gamma: string | undefined;
      readonly beta: string | undefined;
    }
  | { readonly op: "average"; readonly size: number | string; readonly padding: "same" | number }
  | { readonly op: "scale" | "shift"; readonly by: Expression }
  | { readonly op: "pad"; readonly size: number | string; readonly self: boolean }
  | { readonly op: "crop"; readonly size: number };

export interface Binding {
  readonly stone: BoundStone;
  /** Full names of the keys the block is made of, `num_batches_tracked` included. */
  readonly keys: ReadonlySet<string>;
  /** Full names of keys that had to exist and do not. */
  readonly missing: ReadonlySet<string>;
}

interface Scope {
  readonly index: KeyIndex;
  readonly prefix: string;
  readonly variables: Variables;
  readonly keys: Set<string>;
  readonly missing: Set<string>;
}

export function bindStone(
  stone: Stone,
  index: KeyIndex,
  prefix: string,
  variables: Variables,
): Binding {
  const keys = new Set<string>();
  const missing = new Set<string>();
  const bound = bindPresent(stone, { index, prefix, variables, keys, missing });
  return { stone: bound ?? { op: "sequence", parts: [] }, keys, missing };
}

/** Undefined if the stone is absent from this checkpoint. */
function bindPresent(stone: Stone, scope: Scope): BoundStone | undefined {
  if (!isAsked(stone, scope)) return undefined;
  if (stone.sameChannels) {
    const part = bindPresent({ ...stone, sameChannels: false }, scope);
    return part && { op: "same-channels", part };
  }
  if (!stone.optional) return bind(stone, scope);
  const inner: Scope = { ...scope, keys: new Set(), missing: new Set() };
  const bound = bind(stone, inner);
  // Nothing of it is there: absent. A part of it is there: the rest is missing.
  if (inner.missing.size > 0 && inner.keys.size === 0) return undefined;
  for (const key of inner.keys) scope.keys.add(key);
  for (const key of inner.missing) scope.missing.add(key);
  return bound;
}

function isAsked(stone: Presence, scope: Scope): boolean {
  if (stone.when !== undefined && !scope.index.has(full(stone.when, scope))) return false;
  return stone.unless === undefined || !scope.index.has(full(stone.unless, scope));
}

function full(key: string, scope: Scope): string {
  return joinKey(scope.prefix, substitute(key, scope.variables));
}

function need(key: string, scope: Scope): string {
  (scope.index.has(key) ? scope.keys : scope.missing).add(key);
  return key;
}

function bind(stone: Stone, scope: Scope): BoundStone {
  if ("identity" in stone) return { op: "identity" };
  if ("sequence" in stone) return { op: "sequence", parts: bindAll(stone.sequence, scope) };
  if ("sum" in stone) return { op: "sum", parts: bindAll(stone.sum, scope) };
  if ("concat" in stone) return { op: "concat", parts: bindAll(stone.concat, scope) };
  if ("each" in stone) return { op: stone.join, parts: bindEach(stone.each, stone.stone, scope) };
  if ("bn" in stone) return bindBatchNorm(stone.bn, scope);
  if ("average" in stone) {
    return {
      op: "average",
      size: bindSize(stone.average, scope),
      padding: stone.padding ?? "same",
    };
  }
  if ("scale" in stone) return { op: "scale", by: bindExpression(stone.scale, scope) };
  if ("shift" in stone) return { op: "shift", by: bindExpression(stone.shift, scope) };
  if ("pad" in stone) {
    return { op: "pad", size: bindSize(stone.pad, scope), self: stone.with === "self" };
  }
  if ("crop" in stone) return { op: "crop", size: stone.crop };
  const { conv, padding = "same", dilation = 1, group = "block" } = stone;
  const common = {
    op: "conv" as const,
    padding,
    dilation: toNumber(dilation, scope),
    group,
    interleaved: stone.rows === "interleaved",
  };
  if (typeof conv === "string") {
    const path = full(conv, scope);
    const biasKey = joinKey(path, "bias");
    const hasBias = scope.index.has(biasKey);
    return {
      ...common,
      path,
      weight: need(joinKey(path, "weight"), scope),
      bias: hasBias ? need(biasKey, scope) : undefined,
    };
  }
  const weight = bindExpression(conv.weight, scope);
  return {
    ...common,
    path: firstKey(weight) ?? scope.prefix,
    weight,
    bias: conv.bias === undefined ? undefined : bindExpression(conv.bias, scope),
  };
}

function bindAll(stones: readonly Stone[], scope: Scope): BoundStone[] {
  return stones.flatMap((stone) => bindPresent(stone, scope) ?? []);
}

function bindEach(template: string, stone: Stone, scope: Scope): BoundStone[] {
  const relative = substitute(template, scope.variables);
  const matcher = templateMatcher(relative);
  const skip = scope.prefix === "" ? 0 : scope.prefix.length + 1;
  const found = scope.index
    .below(scope.prefix)
    .flatMap((key) => matcher.whole(key.slice(skip)) ?? []);
  if (found.length > MAX_REPEATS) {
    throw badData(
      joinKey(scope.prefix, template),
      `${found.length} branches, expected at most ${MAX_REPEATS}`,
    );
  }
  if (found.length === 0) scope.missing.add(joinKey(scope.prefix, relative));
  found.sort(compareVariables);
  return found.flatMap(
    (more) =>
      bindPresent(stone, { ...scope, variables: new Map([...scope.variables, ...more]) }) ?? [],
  );
}

function compareVariables(a: Variables, b: Variables): number {
  for (const [name, value] of a) {
    const difference = value - (b.get(name) ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function bindBatchNorm(key: string, scope: Scope): BoundStone {
  const path = full(key, scope);
  const { index } = scope;
  const paddle = index.has(joinKey(path, "_mean"));
  const affine = index.has(joinKey(path, "weight")) || index.has(joinKey(path, "bias"));
  const steps = joinKey(path, "num_batches_tracked");
  const mean = need(joinKey(path, paddle ? "_mean" : "running_mean"), scope);
  if (index.has(steps)) scope.keys.add(steps);
  return {
    op: "bn",
    path,
    mean,
    variance: need(joinKey(path, paddle ? "_variance" : "running_var"), scope),
    gamma: affine ? need(joinKey(path, "weight"), scope) : undefined,
    beta: affine ? need(joinKey(path, "bias"), scope) : undefined,
  };
}

/** A size taken from another weight does not own that weight. */
function bindSize(size: number | string, scope: Scope): number | string {
  if (typeof size === "number") return size;
  const key = full(size, scope);
  if (!scope.index.has(key)) scope.missing.add(key);
  return key;
}

function toNumber(value: number | string, scope: Scope): number {
  return typeof value === "number" ? value : Number(substitute(value, scope.variables));
}

function bindExpression(expression: Expression, scope: Scope): Expression {
  if (typeof expression === "number") return expression;
  if (typeof expression === "string") return need(full(expression, scope), scope);
  if ("values" in expression) return expression;
  const each = (list: readonly Expression[]) => list.map((item) => bindExpression(item, scope));
  if ("add" in expression) return { add: each(expression.add) };
  if ("multiply" in expression) return { multiply: each(expression.multiply) };
  if ("identityLike" in expression) {
    return { identityLike: bindExpression(expression.identityLike, scope) };
  }
  if ("row" in expression) return { ...expression, row: need(full(expression.row, scope), scope) };
  if ("unsqueeze" in expression) {
    return { ...expression, unsqueeze: bindExpression(expression.unsqueeze, scope) };
  }
  if ("tapSum" in expression) return { tapSum: bindExpression(expression.tapSum, scope) };
  if ("taps" in expression) return { ...expression, taps: bindExpression(expression.taps, scope) };
  return { ...expression, transpose: bindExpression(expression.transpose, scope) };
}

/** The first tensor an expression reads. */
function firstKey(expression: Expression): string | undefined {
  if (typeof expression === "number") return undefined;
  if (typeof expression === "string") return expression;
  if ("values" in expression) return undefined;
  if ("row" in expression) return expression.row;
  if ("add" in expression || "multiply" in expression) {
    const list = "add" in expression ? expression.add : expression.multiply;
    for (const item of list) {
      const key = firstKey(item);
      if (key !== undefined) return key;
    }
    return undefined;
  }
  if ("identityLike" in expression) return firstKey(expression.identityLike);
  if ("unsqueeze" in expression) return firstKey(expression.unsqueeze);
  if ("tapSum" in expression) return firstKey(expression.tapSum);
  if ("taps" in expression) return firstKey(expression.taps);
  return firstKey(expression.transpose);
}
