import { describe, expect, test } from "vitest";
import {
  type Bytes,
  call,
  dict,
  float,
  instance,
  int,
  list,
  name,
  no,
  none,
  pickle,
  set,
  text,
  tuple,
  yes,
} from "../../../test/support/pickle-bytes.ts";
import { isCutOff, parsePickle } from "./parse-pickle.ts";
import {
  MAX_GLOBAL_BYTES,
  MAX_INTEGER_BYTES,
  MAX_PICKLE_NESTING,
  MAX_PICKLE_STACK,
  MAX_PICKLE_STEPS,
  MAX_PICKLE_STRING_BYTES,
} from "./pickle-limits.ts";
import type { PickleValue } from "./pickle-value.ts";

const load = (value: Bytes): PickleValue => parsePickle("f.pth", pickle(value)).value;
const seq = (kind: "list" | "tuple" | "set", ...items: PickleValue[]): PickleValue => ({
  kind,
  items,
});

describe("values", () => {
  test.each<[string, Bytes, PickleValue]>([
    ["none", none, null],
    ["booleans", tuple(yes, no), seq("tuple", true, false)],
    ["negative integers", int(-5), -5],
    ["floats", float(1e-5), 1e-5],
    ["text", text("gewicht β"), "gewicht β"],
    ["lists", list(int(1), text("a")), seq("list", 1, "a")],
    ["LONG1 zero", [0x8a, 0], 0],
    ["LONG1 negative", [0x8a, 1, 0xff], -1],
    ["LONG1 beyond 2^53", [0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0x40], 2n ** 62n],
    ["a Python 2 string that is not UTF-8", [0x55, 2, 0x61, 0xe9], "aé"],
    ["bytes", [0x43, 2, 1, 2], Uint8Array.of(1, 2)],
    ["memo", tuple([...text("k"), 0x71, 0], [0x68, 0]), seq("tuple", "k", "k")],
    ["MEMOIZE", tuple([...text("k"), 0x94], [0x68, 0]), seq("tuple", "k", "k")],
    ["DUP and POP", [...int(1), 0x32, 0x30], 1],
    ["sets", set(int(1)), seq("set", 1)],
    ["torch.Size", call(name("torch", "Size"), tuple(int(2), int(3))), seq("tuple", 2, 3)],
    [
      "latin-1 bytes",
      call(name("_codecs", "encode"), text("\u00ff\u0001"), text("latin1")),
      Uint8Array.of(255, 1),
    ],
    ["frames", [0x95, 1, 0, 0, 0, 0, 0, 0, 0, ...none], null],
  ])("%s", (_, bytes, expected) => {
    expect(load(bytes)).toEqual(expected);
  });

  test("dictionaries of every class, in order", () => {
    for (const cls of ["OrderedDict", "defaultdict", "Counter"]) {
      const made = call(name("collections", cls));
      const value = load([...made, 0x28, ...text("b"), ...int(1), ...text("a"), ...int(2), 0x75]);
      expect(value).toEqual({
        kind: "dict",
        strings: new Map([
          ["b", 1],
          ["a", 2],
        ]),
        others: [],
      });
    }
    const pairs = call(name("collections", "OrderedDict"), list(list(text("k"), int(7))));
    expect(load(pairs)).toMatchObject({ strings: new Map([["k", 7]]) });
  });

  test("several pickles in one buffer", () => {
    const both = Uint8Array.from([...pickle(int(1)), ...pickle(int(2), 4)]);
    const first = parsePickle("f", both);
    expect(first.value).toBe(1);
    expect(parsePickle("f", both, first.end)).toEqual({ value: 2, end: both.length });
  });
});

describe("unknown classes are records, never called", () => {
  test("instances keep class and state", () => {
    const value = load(instance(name("my.nets", "Net"), dict({ width: int(4) })));
    expect(value).toMatchObject({
      kind: "object",
      className: "my.nets.Net",
      state: { strings: new Map([["width", 4]]) },
    });
  });

  test("calls keep function and arguments", () => {
    const value = load(call(name("datetime", "datetime"), int(1)));
    expect(value).toMatchObject({ className: "datetime.datetime", args: seq("tuple", 1) });
  });

  test("a call of something that is no name is a record too", () => {
    expect(load(call(text("eval"), text("1+1")))).toMatchObject({ className: "?" });
  });

  test("a list may contain itself", () => {
    const value = load([0x5d, 0x71, 0, 0x68, 0, 0x61]) as { items: PickleValue[] };
    expect(value.items[0]).toBe(value);
  });
});

describe("hostile names are refused", () => {
  test.each([
    ["os", "system"],
    ["posix", "system"],
    ["nt", "system"],
    ["subprocess", "Popen"],
    ["builtins", "eval"],
    ["builtins", "exec"],
    ["__builtin__", "getattr"],
    ["builtins", "__import__"],
    ["importlib", "import_module"],
    ["torch", "os.system"],
    ["torch", "load"],
    ["operator", "attrgetter"],
    ["runpy", "run_path"],
    ["pickle", "loads"],
  ])("%s.%s", (module, member) => {
    expect(() => load(name(module, member))).toThrow(
      `hostile pickle: it asks for ${module}.${member}`,
    );
  });

  test("through STACK_GLOBAL as well", () => {
    expect(() => load([...text("os"), ...text("system"), 0x93])).toThrow("hostile pickle");
  });

  test("but not harmless names that look alike", () => {
    expect(load(name("models.os_net", "system"))).toMatchObject({ kind: "global" });
    expect(load(name("pathlib", "PosixPath"))).toMatchObject({ kind: "global" });
  });
});

describe("limits", () => {
  const repeat = (bytes: Bytes, count: number): Uint8Array => {
    const body = new Uint8Array(2 + bytes.length * count);
    body.set([0x80, 2]);
    for (let i = 0; i < count; i++) body.set(bytes, 2 + i * bytes.length);
    return body;
  };
  const uint32 = (value: number): number[] => [...new Uint8Array(Uint32Array.of(value).buffer)];

  test("steps", () => {
    // NONE, POP leaves the stack empty: only the number of instructions grows.
    expect(() => parsePickle("f", repeat([0x4e, 0x30], MAX_PICKLE_STEPS / 2))).toThrow(
      `more than ${MAX_PICKLE_STEPS} instructions`,
    );
  });

  test("stack", () => {
    expect(() => parsePickle("f", repeat(none, MAX_PICKLE_STACK + 1))).toThrow(
      `more than ${MAX_PICKLE_STACK} values`,
    );
  });

  test("nesting", () => {
    expect(() => parsePickle("f", repeat([0x28], MAX_PICKLE_NESTING + 1))).toThrow(
      `deeper than ${MAX_PICKLE_NESTING}`,
    );
  });

  test("strings", () => {
    const long = new Uint8Array(MAX_PICKLE_STRING_BYTES + 20).fill(0x61);
    long.set([0x80, 2, 0x58, ...uint32(MAX_PICKLE_STRING_BYTES + 1)]);
    expect(() => parsePickle("f", long)).toThrow(`at most ${MAX_PICKLE_STRING_BYTES}`);
  });

  test("integers", () => {
    const count = MAX_INTEGER_BYTES + 1;
    const body = Uint8Array.from([0x80, 2, 0x8b, ...uint32(count), ...new Uint8Array(count)]);
    expect(() => parsePickle("f", body)).toThrow(`at most ${MAX_INTEGER_BYTES}`);
  });

  test("names", () => {
    const long = "a".repeat(MAX_GLOBAL_BYTES + 1);
    expect(() => load(name(long, "b"))).toThrow(`longer than ${MAX_GLOBAL_BYTES}`);
    expect(() => load([...text(long), ...text("b"), 0x93])).toThrow("at most 1024");
  });

  test("copies of copies", () => {
    // A set of 1000 items, copied 9000 times from the memo: 9 million items out of 40 kB.
    const items = list(...Array.from({ length: 1000 }, () => none));
    const copies = Array.from({ length: 9000 }, () => [0x68, 1, 0x68, 0, 0x85, 0x52, 0x30]).flat();
    const body = [...items, 0x71, 0, ...name("builtins", "set"), 0x71, 1, ...copies];
    expect(() => load(body)).toThrow("copies more than");
  });
});

describe("damage", () => {
  test("every cut is told apart from other damage", () => {
    const whole = pickle(dict({ key: tuple(float(1), name("a", "b"), [0x8a, 2, 1, 1]) }));
    for (let end = 0; end < whole.length; end++) {
      let caught: unknown;
      try {
        parsePickle("f", whole.subarray(0, end));
      } catch (error) {
        caught = error;
      }
      expect(isCutOff(caught), `cut at ${end}`).toBe(true);
    }
  });

  test.each<[string, Bytes, string]>([
    ["empty stack", [0x52], "the stack is empty"],
    ["missing mark", [0x74], "a mark is missing"],
    ["unknown memo", [0x68, 9], "nothing was remembered"],
    ["text instructions of protocol 0", [0x49, 0x31, 0x0a], "instruction 0x49 is not read"],
    ["extension codes", [0x82, 1], "instruction 0x82 is not read"],
    ["items into a tuple", [0x29, ...int(1), 0x61], "items are added to a tuple"],
    [
      "entries into a number",
      [...int(1), ...int(1), ...int(1), 0x73],
      "entries are set on a number",
    ],
    ["odd entries", [0x7d, 0x28, ...int(1), 0x75], "entries are set"],
    ["persistent ids in plain pickles", [...none, 0x51], "a persistent id"],
    ["values below a mark", [...int(1), 0x28, 0x85], "the stack is empty"],
  ])("%s", (_, bytes, message) => {
    expect(() => load(bytes)).toThrow(message);
  });

  test("other protocols", () => {
    expect(() => parsePickle("f", pickle(none, 6))).toThrow("protocol 6, expected 2 to 5");
  });
});
