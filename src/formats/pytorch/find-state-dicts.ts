/**
 * @file Which parts of an unpickled object are state dicts: mappings from names to tensors, and whole modules, found by
 * walking a few levels of dictionaries. Optimizer states and other training leftovers never count.
 */

import { isFloatDType } from "../../core/dtype.ts";
import { badData } from "../../core/errors.ts";
import type { LazyTensor, ModuleRecord, StateDict } from "../../core/tensor.ts";
import { isModule, readModuleTree } from "./module-tree.ts";
import { MAX_TENSORS } from "./pickle-limits.ts";
import {
  isDict,
  isObject,
  isRecord,
  type PickleDict,
  type PickleTensor,
  type PickleValue,
  sequenceItems,
} from "./pickle-value.ts";
import { lazyPickleTensor, type StorageLocator, tensorIdentity } from "./storage-locator.ts";

/** Levels of wrapping: `checkpoint["ema"]["module"]["state_dict"]` is three. */
const MAX_WRAPPER_DEPTH = 4;
/** Items of one list or dictionary that are looked into, and containers in all. */
const MAX_SEQUENCE_ITEMS = 16;
const MAX_CONTAINERS = 10_000;
const MAX_NOTES = 64;
const MAX_NOTE_LENGTH = 200;

/** Keys of training leftovers that can hold named tensors of their own. */
const LEFTOVERS = /optim|sched|scaler|rng|random|callback|loops|^amp$/i;

export interface FoundStateDict {
  /** Dotted path inside the object; `""` is the object itself. */
  readonly path: string;
  readonly state: StateDict;
}

interface Named {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, PickleValue>;
  readonly modules: ReadonlyMap<string, ModuleRecord>;
}

/**
 * All state dicts in an object, in the order they are met; two names for the same storages count once.
 *
 * @throws bad-data when one holds a tensor that is not a dense array of numbers
 */
export function findStateDicts(
  where: string,
  root: PickleValue,
  locate: StorageLocator,
): FoundStateDict[] {
  const found: FoundStateDict[] = [];
  const seen = new Set<string>();
  for (const named of collect(where, root)) {
    const tensors = denseTensors(where, named);
    const identity = [...tensors].map(([name, t]) => `${name}=${tensorIdentity(t)}`).join("\n");
    if (seen.has(identity)) continue;
    seen.add(identity);
    const lazy = new Map<string, LazyTensor>();
    for (const [name, t] of tensors) lazy.set(name, lazyPickleTensor(t, locate, name));
    found.push({ path: named.path, state: { tensors: lazy, modules: named.modules } });
  }
  return found;
}

/** Plain values beside the state dicts (`epoch`, `arch`, …), for people to read. */
export function plainNotes(root: PickleValue): Record<string, string> {
  const notes: Record<string, string> = {};
  if (!isDict(root)) return notes;
  let count = 0;
  for (const [name, value] of root.strings) {
    const plain =
      typeof value === "string" || typeof value === "number" || typeof value === "boolean";
    if (!plain || name.length > MAX_NOTE_LENGTH || String(value).length > MAX_NOTE_LENGTH) continue;
    if (++count > MAX_NOTES) break;
    notes[name] = String(value);
  }
  return notes;
}

function collect(where: string, root: PickleValue): Named[] {
  const found: Named[] = [];
  const visited = new Set<PickleValue>();
  const visit = (value: PickleValue, path: string, depth: number): void => {
    if (!isRecord(value) || visited.has(value) || visited.size >= MAX_CONTAINERS) return;
    if (value.kind === "tensor" || value.kind === "storage" || value.kind === "global") return;
    visited.add(value);
    if (isModule(value)) {
      const tree = readModuleTree(path === "" ? where : `${where}: ${path}`, value);
      if (hasWeights(tree.tensors)) found.push({ path, ...tree });
      return;
    }
    const dict = dictOf(value);
    const named = dict && namedTensors(dict);
    if (named) {
      found.push({ path, tensors: named, modules: new Map() });
      return;
    }
    if (depth === MAX_WRAPPER_DEPTH || (dict && isOptimizerState(dict))) return;
    for (const [name, child] of childrenOf(value, dict)) {
      if (!LEFTOVERS.test(name)) visit(child, path === "" ? name : `${path}.${name}`, depth + 1);
    }
  };
  visit(root, "", 0);
  return found;
}

/** A dictionary, or what plays one: items of a dict subclass, else an object's attributes. */
function dictOf(value: PickleValue): PickleDict | undefined {
  if (isDict(value)) return value;
  if (!isObject(value)) return undefined;
  if (value.entries.strings.size > 0) return value.entries;
  return isDict(value.state) ? value.state : undefined;
}

function childrenOf(
  value: PickleValue,
  dict: PickleDict | undefined,
): Iterable<readonly [string, PickleValue]> {
  if (dict) return dict.strings;
  const items = sequenceItems(value) ?? [];
  return items.slice(0, MAX_SEQUENCE_ITEMS).map((item, i) => [String(i), item] as const);
}

/** The tensors of a mapping that consists mostly of tensors, some of them weights; else undefined. */
function namedTensors(dict: PickleDict): Map<string, PickleValue> | undefined {
  const tensors = new Map<string, PickleValue>();
  for (const [name, value] of dict.strings) {
    if (isRecord(value) && (value.kind === "tensor" || value.kind === "refused-tensor")) {
      tensors.set(name, value);
    }
  }
  const others = dict.strings.size + dict.others.length - tensors.size;
  return tensors.size > others && hasWeights(tensors) ? tensors : undefined;
}

/** Whether there is a float tensor with a dimension (or one of a refused kind): counters alone are no model. */
function hasWeights(tensors: ReadonlyMap<string, PickleValue>): boolean {
  for (const t of tensors.values()) {
    if (!isRecord(t)) continue;
    if (t.kind === "refused-tensor") return true;
    if (t.kind === "tensor" && t.shape.length > 0 && isFloatDType(t.dtype)) return true;
  }
  return false;
}

function isOptimizerState(dict: PickleDict): boolean {
  return dict.strings.has("param_groups") && dict.strings.has("state");
}

function denseTensors(where: string, named: Named): Map<string, PickleTensor> {
  const place = named.path === "" ? where : `${where}: ${named.path}`;
  if (named.tensors.size > MAX_TENSORS) {
    throw badData(place, `${named.tensors.size} tensors, expected at most ${MAX_TENSORS}`);
  }
  const dense = new Map<string, PickleTensor>();
  for (const [name, value] of named.tensors) {
    if (!isRecord(value)) continue;
    if (value.kind === "refused-tensor") {
      throw badData(
        `${place}: ${name}`,
        `is ${value.what}, expected a dense tensor of plain numbers`,
        "Convert it in PyTorch (to_dense(), dequantize(), detach().cpu()) and save again",
      );
    }
    if (value.kind === "tensor") dense.set(name, value);
  }
  return dense;
}
