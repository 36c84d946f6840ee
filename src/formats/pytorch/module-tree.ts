/**
 * @file The state dict of a whole pickled `nn.Module`, read from its `_parameters`, `_buffers` and `_modules` in the
 * order of PyTorch's `state_dict()`: parameters, then buffers that are persistent, then children.
 */

import { badData } from "../../core/errors.ts";
import type { ModuleRecord } from "../../core/tensor.ts";
import { MAX_MODULE_DEPTH, MAX_TENSORS } from "./pickle-limits.ts";
import {
  isDict,
  isObject,
  isRecord,
  type PickleDict,
  type PickleObject,
  type PickleValue,
  sequenceItems,
} from "./pickle-value.ts";

export interface ModuleTree {
  /** By full key; values that are tensors or refused tensors. */
  readonly tensors: Map<string, PickleValue>;
  /** By module path; `""` is the root. */
  readonly modules: Map<string, ModuleRecord>;
}

/** Whether a record is an `nn.Module`: its state has the three dictionaries. */
export function isModule(value: PickleValue | undefined): value is PickleObject {
  if (!isObject(value) || !isDict(value.state)) return false;
  const { strings } = value.state;
  return isDict(strings.get("_modules")) && isDict(strings.get("_parameters"));
}

/**
 * Walks a module and all inside it.
 *
 * @throws bad-data when modules are nested too deep or a shared module repeats beyond the tensor limit
 */
export function readModuleTree(where: string, root: PickleObject): ModuleTree {
  const tree: ModuleTree = { tensors: new Map(), modules: new Map() };
  const walk = (module: PickleObject, prefix: string, depth: number): void => {
    if (depth > MAX_MODULE_DEPTH) {
      throw badData(`${where}: ${prefix}`, `modules nested deeper than ${MAX_MODULE_DEPTH} levels`);
    }
    const { strings } = module.state as PickleDict;
    tree.modules.set(prefix.slice(0, -1), {
      className: module.className,
      attributes: plainAttributes(strings),
    });
    const temporary = new Set(setItems(strings.get("_non_persistent_buffers_set")));
    addTensors(tree, prefix, strings.get("_parameters"), new Set());
    addTensors(tree, prefix, strings.get("_buffers"), temporary);
    // A module used in several places appears under each name, as PyTorch lists it; a hostile file could double it
    // on every level.
    if (tree.tensors.size > MAX_TENSORS || tree.modules.size > MAX_TENSORS) {
      throw badData(where, `a module tree of more than ${MAX_TENSORS} modules or tensors`);
    }
    const children = strings.get("_modules");
    if (!isDict(children)) return;
    for (const [name, child] of children.strings) {
      if (isModule(child)) walk(child, `${prefix}${name}.`, depth + 1);
    }
  };
  walk(root, "", 0);
  return tree;
}

function addTensors(
  tree: ModuleTree,
  prefix: string,
  source: PickleValue | undefined,
  except: ReadonlySet<PickleValue>,
): void {
  if (!isDict(source)) return;
  for (const [name, value] of source.strings) {
    if (except.has(name) || !isRecord(value)) continue;
    if (value.kind === "tensor" || value.kind === "refused-tensor") {
      tree.tensors.set(`${prefix}${name}`, value);
    }
  }
}

function setItems(value: PickleValue | undefined): readonly PickleValue[] {
  return isRecord(value) && value.kind === "set" ? value.items : [];
}

function plainAttributes(state: ReadonlyMap<string, PickleValue>): ModuleRecord["attributes"] {
  const attributes: Record<string, number | boolean | string | readonly number[]> = {};
  for (const [name, value] of state) {
    if (name.startsWith("_")) continue;
    if (typeof value === "number" || typeof value === "boolean" || typeof value === "string") {
      attributes[name] = value;
      continue;
    }
    const items = sequenceItems(value);
    if (
      items &&
      items.length > 0 &&
      items.length <= 16 &&
      items.every((n) => typeof n === "number")
    ) {
      attributes[name] = items;
    }
  }
  return attributes;
}
