/**
 * @file A restricted virtual machine for Python pickles, protocols 2 to 5. It builds records (`pickle-value.ts`), never
 * calls anything, and stops at the limits of `pickle-limits.ts`. Opcodes: CPython `Lib/pickletools.py`.
 */

import { badData, ReparamError } from "../../core/errors.ts";
import { createInstance, reduce, resolveGlobal } from "./pickle-globals.ts";
import {
  MAX_GLOBAL_BYTES,
  MAX_INTEGER_BYTES,
  MAX_PICKLE_NESTING,
  MAX_PICKLE_STACK,
  MAX_PICKLE_STEPS,
  MAX_PICKLE_STRING_BYTES,
} from "./pickle-limits.ts";
import {
  createDict,
  isRecord,
  kindOf,
  type PickleGlobal,
  type PickleValue,
  setItem,
} from "./pickle-value.ts";

export interface PickleOptions {
  /** Turns a persistent id (`("storage", …)`) into a value. Without it, persistent ids are refused. */
  readonly persistentId?: (id: PickleValue) => PickleValue;
}

export interface ParsedPickle {
  readonly value: PickleValue;
  /** Position after the STOP instruction: another pickle may follow. */
  readonly end: number;
}

const CUT_OFF = Symbol("the bytes ended inside the pickle");

/** Whether `parsePickle` failed only because `bytes` ended too early, so that more bytes could help. */
export function isCutOff(error: unknown): boolean {
  return error instanceof ReparamError && error.cause === CUT_OFF;
}

/**
 * Parses the pickle that starts at `start`.
 *
 * @param where names the file in errors
 * @throws bad-data for anything outside the supported instructions, names and limits
 */
export function parsePickle(
  where: string,
  bytes: Uint8Array,
  start = 0,
  options: PickleOptions = {},
): ParsedPickle {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const memo = new Map<number, PickleValue>();
  const marks: number[] = [];
  const stack: PickleValue[] = [];
  let at = start;

  const fail = (what: string, fix?: string): ReparamError =>
    badData(`${where}: pickle byte ${at}`, what, fix);
  const need = (count: number): number => {
    const from = at;
    if (count > bytes.byteLength - at) {
      throw new ReparamError("bad-data", {
        where: `${where}: pickle byte ${at}`,
        what: `${count} more bytes are announced, ${bytes.byteLength - at} are there`,
        fix: "The file is cut off or damaged; fetch it again",
        cause: CUT_OFF,
      });
    }
    at += count;
    return from;
  };
  const byte = (): number => bytes[need(1)]!;
  const uint16 = (): number => view.getUint16(need(2), true);
  const int32 = (): number => view.getInt32(need(4), true);
  const uint32 = (): number => view.getUint32(need(4), true);
  const uint64 = (): number => {
    const value = view.getBigUint64(need(8), true);
    // A length beyond 2^53 is cut off by any file; the exact number does not matter.
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
  };
  const take = (count: number): Uint8Array => {
    if (count > MAX_PICKLE_STRING_BYTES && count <= bytes.byteLength) {
      throw fail(`a string of ${count} bytes, expected at most ${MAX_PICKLE_STRING_BYTES}`);
    }
    const from = need(count);
    return bytes.subarray(from, from + count);
  };
  const text = (count: number): string => {
    const raw = take(count);
    try {
      return decoder.decode(raw);
    } catch {
      // Lone surrogates (Python's surrogatepass) and Python 2 strings are not UTF-8; every byte stays visible.
      return Array.from(raw, (b) => String.fromCharCode(b)).join("");
    }
  };
  const line = (): string => {
    const limit = Math.min(bytes.byteLength, at + MAX_GLOBAL_BYTES);
    let end = at;
    while (end < limit && bytes[end] !== 10) end++;
    if (end === limit) {
      if (limit === bytes.byteLength) need(limit - at + 1);
      throw fail(`a name longer than ${MAX_GLOBAL_BYTES} bytes`);
    }
    const found = text(end - at);
    at++;
    return found;
  };
  const pop = (): PickleValue => {
    const floor = marks.length ? marks[marks.length - 1]! : 0;
    if (stack.length <= floor) throw fail("the stack is empty", "The pickle is damaged");
    return stack.pop()!;
  };
  const top = (): PickleValue => {
    const value = pop();
    stack.push(value);
    return value;
  };
  const popMark = (): PickleValue[] => {
    const mark = marks.pop();
    if (mark === undefined) throw fail("a mark is missing", "The pickle is damaged");
    return stack.splice(mark);
  };
  const integer = (count: number): number | bigint => {
    if (count > MAX_INTEGER_BYTES) {
      throw fail(`an integer of ${count} bytes, expected at most ${MAX_INTEGER_BYTES}`);
    }
    const raw = take(count);
    let hex = "0x0";
    for (let i = count - 1; i >= 0; i--) hex += raw[i]!.toString(16).padStart(2, "0");
    const value = BigInt.asIntN(8 * count, BigInt(hex));
    const small = Number(value);
    return Number.isSafeInteger(small) ? small : value;
  };
  const recall = (index: number): PickleValue => {
    const value = memo.get(index);
    if (value === undefined)
      throw fail(`nothing was remembered as ${index}`, "The pickle is damaged");
    return value;
  };
  const globalName = (value: PickleValue): string => {
    if (typeof value !== "string" || value.length > MAX_GLOBAL_BYTES) {
      throw fail(`a name is a ${kindOf(value)}, expected a string of at most ${MAX_GLOBAL_BYTES}`);
    }
    return value;
  };
  const stackGlobal = (): PickleGlobal => {
    const name = globalName(pop());
    return resolveGlobal(where, globalName(pop()), name);
  };
  const append = (items: readonly PickleValue[]): void => {
    const target = top();
    if (isRecord(target) && "items" in target && target.kind !== "tuple") {
      for (const item of items) target.items.push(item);
    } else throw fail(`items are added to a ${kindOf(target)}`, "The pickle is damaged");
  };
  const setItems = (items: readonly PickleValue[]): void => {
    const target = top();
    const dict = isRecord(target)
      ? target.kind === "object"
        ? target.entries
        : target.kind === "dict"
          ? target
          : undefined
      : undefined;
    if (!dict || items.length % 2 !== 0) {
      throw fail(`entries are set on a ${kindOf(target)}`, "The pickle is damaged");
    }
    for (let i = 0; i < items.length; i += 2) setItem(dict, items[i]!, items[i + 1]!);
  };
  let copied = 0;
  const spend = (count: number): void => {
    copied += count;
    if (copied > MAX_PICKLE_STEPS) throw fail(`copies more than ${MAX_PICKLE_STEPS} items`);
  };
  const build = (): void => {
    const state = pop();
    const target = top();
    if (isRecord(target) && target.kind === "object") target.state = state;
  };
  const persist = (): PickleValue => {
    const id = pop();
    if (!options.persistentId) throw fail("a persistent id, expected plain data");
    return options.persistentId(id);
  };

  /** Executes one instruction and returns what it pushes; undefined pushes nothing. */
  const execute = (opcode: number): PickleValue | undefined => {
    switch (opcode) {
      case 0x80: {
        const version = byte();
        if (version < 2 || version > 5) throw fail(`protocol ${version}, expected 2 to 5`);
        return undefined;
      }
      case 0x95: // FRAME
        uint64();
        return undefined;
      case 0x28: // MARK
        if (marks.length >= MAX_PICKLE_NESTING) {
          throw fail(`nested deeper than ${MAX_PICKLE_NESTING} levels`);
        }
        marks.push(stack.length);
        return undefined;
      case 0x30: // POP
        if (marks.length && stack.length === marks[marks.length - 1]) marks.pop();
        else pop();
        return undefined;
      case 0x31: // POP_MARK
        popMark();
        return undefined;
      case 0x32: // DUP
        return top();
      case 0x4e:
        return null;
      case 0x88:
        return true;
      case 0x89:
        return false;
      case 0x4a: // BININT
        return int32();
      case 0x4b: // BININT1
        return byte();
      case 0x4d: // BININT2
        return uint16();
      case 0x8a: // LONG1
        return integer(byte());
      case 0x8b: // LONG4
        return integer(uint32());
      case 0x47: // BINFLOAT, big-endian
        return view.getFloat64(need(8), false);
      case 0x58: // BINUNICODE
        return text(uint32());
      case 0x8c: // SHORT_BINUNICODE
        return text(byte());
      case 0x8d: // BINUNICODE8
        return text(uint64());
      case 0x55: // SHORT_BINSTRING, a Python 2 str
        return text(byte());
      case 0x54: // BINSTRING
        return text(uint32());
      case 0x43: // SHORT_BINBYTES
        return take(byte());
      case 0x42: // BINBYTES
        return take(uint32());
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        return take(uint64());
      case 0x5d: // EMPTY_LIST
        return { kind: "list", items: [] };
      case 0x7d: // EMPTY_DICT
        return createDict();
      case 0x8f: // EMPTY_SET
        return { kind: "set", items: [] };
      case 0x29: // EMPTY_TUPLE
        return { kind: "tuple", items: [] };
      case 0x85: // TUPLE1
        return { kind: "tuple", items: [pop()] };
      case 0x86: {
        const last = pop();
        return { kind: "tuple", items: [pop(), last] };
      }
      case 0x87: {
        const last = pop();
        const middle = pop();
        return { kind: "tuple", items: [pop(), middle, last] };
      }
      case 0x74: // TUPLE
        return { kind: "tuple", items: popMark() };
      case 0x6c: // LIST
        return { kind: "list", items: popMark() };
      case 0x91: // FROZENSET
        return { kind: "set", items: popMark() };
      case 0x64: {
        const dict = createDict();
        const items = popMark();
        for (let i = 0; i + 1 < items.length; i += 2) setItem(dict, items[i]!, items[i + 1]!);
        return dict;
      }
      case 0x61: // APPEND
        append([pop()]);
        return undefined;
      case 0x65: // APPENDS
      case 0x90: // ADDITEMS
        append(popMark());
        return undefined;
      case 0x73: {
        const value = pop();
        setItems([pop(), value]);
        return undefined;
      }
      case 0x75: // SETITEMS
        setItems(popMark());
        return undefined;
      case 0x71: // BINPUT
        memo.set(byte(), top());
        return undefined;
      case 0x72: // LONG_BINPUT
        memo.set(uint32(), top());
        return undefined;
      case 0x94: // MEMOIZE
        memo.set(memo.size, top());
        return undefined;
      case 0x68: // BINGET
        return recall(byte());
      case 0x6a: // LONG_BINGET
        return recall(uint32());
      case 0x63: {
        const module = line();
        return resolveGlobal(where, module, line());
      }
      case 0x93: // STACK_GLOBAL
        return stackGlobal();
      case 0x52: {
        const args = pop();
        return reduce(where, pop(), args, spend);
      }
      case 0x81: {
        const args = pop();
        return createInstance(pop(), args);
      }
      case 0x92: {
        pop();
        const args = pop();
        return createInstance(pop(), args);
      }
      case 0x6f: {
        const [cls, ...args] = popMark();
        return createInstance(cls ?? null, { kind: "tuple", items: args });
      }
      case 0x62: // BUILD
        build();
        return undefined;
      case 0x51: // BINPERSID
        return persist();
      default:
        at--;
        throw fail(
          `instruction 0x${opcode.toString(16).padStart(2, "0")} is not read`,
          "Load the file in PyTorch and save it again with torch.save",
        );
    }
  };

  for (let step = 0; step < MAX_PICKLE_STEPS; step++) {
    const opcode = byte();
    if (opcode === 0x2e) return { value: pop(), end: at }; // STOP
    const pushed = execute(opcode);
    if (pushed === undefined) continue;
    if (stack.length >= MAX_PICKLE_STACK) {
      throw fail(`more than ${MAX_PICKLE_STACK} values are waiting on the stack`);
    }
    stack.push(pushed);
  }
  throw fail(`more than ${MAX_PICKLE_STEPS} instructions`);
}
