/**
 * @file What the names in a pickle are allowed to do. Known constructors of data build data; names that serve attacks
 * are refused; every other name is inert: calling it gives a record of the call, and nothing is ever executed.
 */

import { badData, type ReparamError } from "../../core/errors.ts";
import {
  createDict,
  createObject,
  isDict,
  isRecord,
  type PickleDict,
  type PickleGlobal,
  type PickleValue,
  sequenceItems,
  setItem,
} from "./pickle-value.ts";
import { rebuildTensor } from "./rebuild-tensor.ts";

/** Modules no checkpoint needs and whose functions run programs, load code or open files. */
const HOSTILE_MODULES = new Set([
  ..."os posix nt posixpath ntpath subprocess _posixsubprocess sys shutil socket _socket ctypes _ctypes".split(
    " ",
  ),
  ..."importlib imp runpy pty code codeop commands popen2 webbrowser marshal pickle _pickle cPickle".split(
    " ",
  ),
  ..."cloudpickle dill joblib shelve pdb bdb cProfile profile trace timeit platform pip pkgutil".split(
    " ",
  ),
  ..."zipimport multiprocessing concurrent asyncio threading _thread signal atexit gc inspect".split(
    " ",
  ),
  ..."urllib requests http ftplib smtplib telnetlib tempfile linecache mmap fcntl io _io".split(
    " ",
  ),
]);

/** Functions of otherwise harmless modules. */
const HOSTILE_NAMES = new Set([
  ...[
    "eval",
    "exec",
    "execfile",
    "compile",
    "open",
    "file",
    "input",
    "__import__",
    "getattr",
  ].flatMap((name) => [`builtins.${name}`, `__builtin__.${name}`]),
  ...["setattr", "delattr", "apply", "breakpoint", "globals", "locals", "vars", "reload"].flatMap(
    (name) => [`builtins.${name}`, `__builtin__.${name}`],
  ),
  "operator.attrgetter",
  "operator.methodcaller",
  "_operator.attrgetter",
  "_operator.methodcaller",
  "types.CodeType",
  "types.FunctionType",
  "types.ModuleType",
  "numpy.load",
  "numpy.fromfile",
  "numpy.memmap",
  "numpy.testing._private.utils.runstring",
  "torch.load",
  "torch.hub.load",
  "torch.hub.load_state_dict_from_url",
  "torch.jit.load",
  "torch.ops.load_library",
  "torch.utils.cpp_extension.load",
  "torch.utils.cpp_extension.load_inline",
]);

/** Refuses names that only an attack would put into a checkpoint. */
export function resolveGlobal(where: string, module: string, name: string): PickleGlobal {
  const path = `${module}.${name}`;
  const root = path.split(".", 1)[0]!;
  const inner = name.split(".");
  const reachesThrough = inner.length > 1 && inner.some((part) => HOSTILE_MODULES.has(part));
  if (HOSTILE_MODULES.has(root) || HOSTILE_NAMES.has(path) || reachesThrough) {
    throw hostile(where, path);
  }
  return { kind: "global", path };
}

function hostile(where: string, path: string): ReparamError {
  return badData(
    where,
    `hostile pickle: it asks for ${path}, which a checkpoint has no use for and which can run programs when loaded in Python`,
    "Nothing was executed here. Do not load this file in Python; get the weights from a source you trust",
  );
}

const DICTS = new Set(
  ["dict", "OrderedDict", "defaultdict", "Counter"].flatMap((name) => [
    `builtins.${name}`,
    `__builtin__.${name}`,
    `collections.${name}`,
  ]),
);
const SETS = new Set(["set", "frozenset"].flatMap((n) => [`builtins.${n}`, `__builtin__.${n}`]));
const LISTS = new Set(["list", "tuple"].flatMap((n) => [`builtins.${n}`, `__builtin__.${n}`]));

/**
 * What calling `callable(*args)` gives: data for known constructors, a record of the call for all others.
 *
 * @param spend is told of every item copied, and throws when they become too many: copies of copies grow without bound
 */
export function reduce(
  where: string,
  callable: PickleValue,
  args: PickleValue,
  spend: (count: number) => void,
): PickleValue {
  const items = sequenceItems(args) ?? [];
  const copy = (source: PickleValue | undefined): PickleValue[] => {
    const found = sequenceItems(source) ?? [];
    spend(found.length);
    return [...found];
  };
  if (!isRecord(callable) || callable.kind !== "global") return createObject("?", args);
  const { path } = callable;
  if (DICTS.has(path)) return dictFrom(items[0], spend);
  if (SETS.has(path)) return { kind: "set", items: copy(items[0]) };
  if (LISTS.has(path)) return { kind: "list", items: copy(items[0]) };
  switch (path) {
    case "torch.Size":
      return { kind: "tuple", items: sequenceItems(items[0]) ?? [] };
    case "_codecs.encode":
      return encodeLatin1(items, spend) ?? createObject(path, args);
    case "copy_reg._reconstructor":
    case "copyreg._reconstructor":
    case "copyreg.__newobj__":
    case "copy_reg.__newobj__":
      return createInstance(items[0] ?? null, { kind: "tuple", items: copy(args).slice(1) });
    case "torch._tensor._rebuild_from_type_v2":
      return rebuildSubclass(where, items) ?? createObject(path, args);
    default:
      return rebuildTensor(where, path, items) ?? createObject(path, args);
  }
}

/** What `cls.__new__(cls, *args)` gives. */
export function createInstance(cls: PickleValue, args: PickleValue): PickleValue {
  if (!isRecord(cls) || cls.kind !== "global") return createObject("?", args);
  if (DICTS.has(cls.path)) return createDict();
  if (SETS.has(cls.path)) return { kind: "set", items: [] };
  if (LISTS.has(cls.path)) return { kind: "list", items: [] };
  return createObject(cls.path, args);
}

/** `dict(pairs)` and `dict(mapping)`; anything else (a default factory) starts empty. */
function dictFrom(source: PickleValue | undefined, spend: (count: number) => void): PickleDict {
  const dict = createDict();
  if (isDict(source)) {
    spend(source.strings.size + source.others.length);
    for (const [key, value] of source.strings) dict.strings.set(key, value);
    for (const entry of source.others) dict.others.push(entry);
  }
  const pairs = sequenceItems(source) ?? [];
  spend(pairs.length);
  for (const pair of pairs) {
    const [key, value] = sequenceItems(pair) ?? [];
    if (key !== undefined && value !== undefined) setItem(dict, key, value);
  }
  return dict;
}

/** `(function, type, args, state)`: a tensor subclass, or a tensor with attributes of its own. */
function rebuildSubclass(where: string, items: readonly PickleValue[]): PickleValue | undefined {
  const [callable, , args] = items;
  if (!isRecord(callable) || callable.kind !== "global") return undefined;
  return rebuildTensor(where, callable.path, sequenceItems(args) ?? []);
}

/** Protocol 2 stores bytes as a latin-1 string and a call that turns it back. */
function encodeLatin1(
  items: readonly PickleValue[],
  spend: (count: number) => void,
): Uint8Array | undefined {
  const [text, encoding] = items;
  if (typeof text !== "string" || (encoding !== "latin1" && encoding !== "latin-1"))
    return undefined;
  // An item's record is some 16 times larger than a byte.
  spend(text.length / 16);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
