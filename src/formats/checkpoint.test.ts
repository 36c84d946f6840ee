import { describe, expect, test } from "vitest";
import {
  type Bytes,
  call,
  dict,
  float,
  floats,
  instance,
  int,
  list,
  name,
  no,
  none,
  persistent,
  set,
  storage,
  tensor,
  text,
  torchZip,
  tuple,
  vector,
  yes,
  zipFile,
} from "../../test/support/pickle-bytes.ts";
import { memorySource } from "../core/byte-source.ts";
import { float32Tensor, readFloat64 } from "../core/tensor.ts";
import { type Checkpoint, chooseStateDict, readCheckpoint } from "./checkpoint.ts";
import { writeNpy } from "./npy/write-npy.ts";
import { MAX_EXPANDED_BYTES, MAX_MODULE_DEPTH, MAX_TENSOR_RANK } from "./pytorch/pickle-limits.ts";

const storages = { 0: floats(1, 2, 3, 4, 5, 6), 1: floats(7, 8) };

async function read(value: Bytes, extra?: Record<string, string>): Promise<Checkpoint> {
  const file = await torchZip(value, storages, extra);
  return readCheckpoint(memorySource("net.pth", file));
}

async function valuesAt(checkpoint: Checkpoint, key: string, path?: string): Promise<number[]> {
  const lazy = chooseStateDict(checkpoint, path).state.tensors.get(key);
  return [...(await readFloat64(lazy!))];
}

const paths = (checkpoint: Checkpoint): string[] => checkpoint.candidates.map(({ path }) => path);
const six = vector("0", 6);
const two = vector("1", 2);

describe("which state dict", () => {
  test("the object itself", async () => {
    const checkpoint = await read(dict({ w: six, b: two }));
    expect(checkpoint).toMatchObject({ format: "pytorch-zip", source: "net.pth" });
    expect(paths(checkpoint)).toEqual([""]);
    expect(await valuesAt(checkpoint, "b")).toEqual([7, 8]);
  });

  test("inside wrappers, beside optimizer state and plain values", async () => {
    const optimizer = dict({ state: dict({ a: dict({ exp_avg: six }) }), param_groups: list() });
    const checkpoint = await read(
      dict({
        epoch: int(7),
        arch: text("repvgg"),
        state_dict: dict({ w: six }),
        solver: optimizer,
        optimizer_states: list(dict({ m: two })),
        best: two,
      }),
    );
    expect(paths(checkpoint)).toEqual(["state_dict"]);
    expect(checkpoint.metadata).toEqual({ epoch: "7", arch: "repvgg" });
  });

  test("several that differ are asked for", async () => {
    const checkpoint = await read(
      dict({ model: dict({ w: two }), ema: dict({ module: dict({ w: six }) }) }),
    );
    expect(paths(checkpoint)).toEqual(["model", "ema.module"]);
    expect(() => chooseStateDict(checkpoint)).toThrow(
      "net.pth: 2 state dicts with different weights: model (1 tensors), ema.module (1 tensors). Choose one with --key",
    );
    expect(chooseStateDict(checkpoint, "ema.module").tensors).toBe(1);
    expect(() => chooseStateDict(checkpoint, "ma")).toThrow(
      'no state dict at key "ma"; found model',
    );
  });

  test("two names for the same storages count once", async () => {
    const checkpoint = await read(dict({ model: dict({ w: two }), state_dict: dict({ w: two }) }));
    expect(paths(checkpoint)).toEqual(["model"]);
  });

  test("none is an error that says so", async () => {
    const checkpoint = await read(dict({ epoch: int(1) }));
    expect(() => chooseStateDict(checkpoint)).toThrow("holds no state dict");
  });

  test("an object that contains itself ends", async () => {
    const cyclic: Bytes = [
      0x7d,
      0x71,
      9,
      ...text("me"),
      0x68,
      9,
      0x73,
      ...text("sd"),
      ...dict({ w: two }),
      0x73,
    ];
    expect(paths(await read(cyclic))).toEqual(["sd"]);
  });

  test("other formats are refused or are one state dict", async () => {
    const npy = writeNpy(float32Tensor([1], [3]));
    await expect(readCheckpoint(memorySource("x.npy", npy))).rejects.toThrow("single .npy array");
    const npz = await readCheckpoint(memorySource("x.npz", await zipFile({ "w.npy": npy })));
    expect(await valuesAt(npz, "w")).toEqual([3]);
  });
});

describe("tensors", () => {
  const one = (value: Bytes): Promise<Checkpoint> => read(dict({ t: value }));

  test("views, strides and shared storages", async () => {
    const checkpoint = await read(
      dict({
        transposed: tensor({ key: "0", count: 6, shape: [3, 2], strides: [1, 3] }),
        tail: tensor({ key: "0", count: 6, shape: [2], strides: [1], offset: 4 }),
        scalar: tensor({ key: "0", count: 6, shape: [], strides: [] }),
        repeated: tensor({ key: "1", count: 2, shape: [2, 2], strides: [0, 1] }),
      }),
    );
    expect(await valuesAt(checkpoint, "transposed")).toEqual([1, 4, 2, 5, 3, 6]);
    expect(await valuesAt(checkpoint, "tail")).toEqual([5, 6]);
    expect(await valuesAt(checkpoint, "scalar")).toEqual([1]);
    expect(await valuesAt(checkpoint, "repeated")).toEqual([7, 8, 7, 8]);
  });

  test("parameters, subclasses and untyped storages", async () => {
    const v3 = call(
      name("torch._utils", "_rebuild_tensor_v3"),
      persistent(
        tuple(
          text("storage"),
          name("torch.storage", "UntypedStorage"),
          text("1"),
          text("cuda:0"),
          int(8),
        ),
      ),
      ...[int(1), tuple(int(1)), tuple(int(1)), no, dict({}), name("torch", "float32")],
    );
    const v2 = name("torch._utils", "_rebuild_tensor_v2");
    const args = tuple(storage("1", 2), int(0), tuple(int(2)), tuple(int(1)), no, dict({}));
    const checkpoint = await read(
      dict({
        parameter: call(name("torch._utils", "_rebuild_parameter"), two, yes, dict({})),
        subclass: call(
          name("torch._tensor", "_rebuild_from_type_v2"),
          ...[v2, name("my", "Tensor"), args, dict({})],
        ),
        v3,
      }),
    );
    expect(await valuesAt(checkpoint, "parameter")).toEqual([7, 8]);
    expect(await valuesAt(checkpoint, "subclass")).toEqual([7, 8]);
    expect(await valuesAt(checkpoint, "v3")).toEqual([8]);
  });

  test.each<[string, Bytes, string]>([
    [
      "past the storage",
      tensor({ key: "1", count: 2, shape: [3], strides: [1] }),
      "needs 12 bytes",
    ],
    [
      "far past it",
      tensor({ key: "1", count: 2, shape: [2], strides: [0x7fffffff] }),
      "the storage has 8",
    ],
    [
      "of a negative size",
      tensor({ key: "1", count: 2, shape: [-1], strides: [1] }),
      "not all counts",
    ],
    [
      "of two ranks",
      tensor({ key: "1", count: 2, shape: [1], strides: [] }),
      "1 dimensions and 0 strides",
    ],
    [
      "of too many dimensions",
      tensor({
        key: "1",
        count: 2,
        shape: new Array(MAX_TENSOR_RANK + 1).fill(1),
        strides: new Array(MAX_TENSOR_RANK + 1).fill(1),
      }),
      "at most 64",
    ],
    [
      "repeated without end",
      tensor({ key: "1", count: 2, shape: [MAX_EXPANDED_BYTES / 4 + 1], strides: [0] }),
      `expected at most ${MAX_EXPANDED_BYTES}`,
    ],
    ["on a missing storage", vector("9", 2), "net/data/9: is missing"],
    ["on a short storage", vector("1", 3), "8 bytes are stored, 12 are announced"],
    ["on no storage", call(name("torch._utils", "_rebuild_tensor_v2"), none), "not a storage"],
    ["with a foreign id", persistent(tuple(text("module"))), "not one of PyTorch's storages"],
  ])("a tensor %s is refused", async (_, value, message) => {
    await expect(one(value)).rejects.toThrow(message);
  });

  test.each<[string, Bytes, string]>([
    ["quantized", call(name("torch._utils", "_rebuild_qtensor"), none), "is a quantized tensor"],
    ["sparse", call(name("torch._utils", "_rebuild_sparse_tensor"), none), "is a sparse tensor"],
    [
      "of quantized storage",
      tensor({ key: "1", count: 8, shape: [2], strides: [1], storage: "QInt8Storage" }),
      "torch.QInt8Storage",
    ],
  ])("%s tensors are refused by name, but only among the weights", async (_, value, message) => {
    await expect(read(dict({ w: two, odd: value }))).rejects.toThrow(`net.pth: odd: is a`);
    await expect(read(dict({ w: two, odd: value }))).rejects.toThrow(message);
    expect(paths(await read(dict({ model: dict({ w: two }), calibration: list(value) })))).toEqual([
      "model",
    ]);
  });
});

describe("whole modules", () => {
  const parts = (parameters: Bytes, children: Bytes, rest: Record<string, Bytes> = {}): Bytes =>
    dict({ ...rest, _parameters: parameters, _modules: children });
  const norm = instance(
    name("torch.nn.modules.batchnorm", "BatchNorm2d"),
    parts(dict({ weight: two, bias: none }), dict({}), {
      eps: float(1e-3),
      affine: yes,
      kernel_size: tuple(int(3), int(3)),
      _buffers: dict({ running_mean: six, scratch: two }),
      _non_persistent_buffers_set: set(text("scratch")),
    }),
  );
  const net = instance(name("nets", "Net"), parts(dict({ scale: two }), dict({ bn: norm, none })));

  test("give the state dict in PyTorch's order, and the modules' attributes", async () => {
    const checkpoint = await read(dict({ model: net, ema: none }));
    const { path, state } = chooseStateDict(checkpoint);
    expect(path).toBe("model");
    expect([...state.tensors.keys()]).toEqual(["scale", "bn.weight", "bn.running_mean"]);
    expect(state.modules.get("")).toEqual({ className: "nets.Net", attributes: {} });
    expect(state.modules.get("bn")).toEqual({
      className: "torch.nn.modules.batchnorm.BatchNorm2d",
      attributes: { eps: 1e-3, affine: true, kernel_size: [3, 3] },
    });
  });

  test("nested without end are refused", async () => {
    let deep = norm;
    for (let i = 0; i < MAX_MODULE_DEPTH + 1; i++) {
      deep = instance(name("n", "N"), parts(dict({}), dict({ m: deep })));
    }
    await expect(read(deep)).rejects.toThrow(`deeper than ${MAX_MODULE_DEPTH} levels`);
  });

  test("that double on every level are refused", async () => {
    // Each level holds the one below twice: 2^20 modules out of 20.
    let shared: Bytes = norm;
    for (let i = 0; i < 20; i++) {
      const children: Bytes = [
        0x7d,
        0x28,
        ...text("a"),
        ...shared,
        0x71,
        i,
        ...text("b"),
        0x68,
        i,
        0x75,
      ];
      shared = instance(name("n", "N"), parts(dict({}), children));
    }
    await expect(read(shared)).rejects.toThrow("modules or tensors");
  });
});
