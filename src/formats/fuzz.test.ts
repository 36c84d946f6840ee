/** Damaged and hostile bytes: only ever a `ReparamError`, whatever is changed in a valid file. */

import fc from "fast-check";
import { expect, test } from "vitest";
import {
  dict,
  float,
  floats,
  instance,
  int,
  name,
  none,
  pickle,
  set,
  tensor,
  text,
  torchLegacy,
  tuple,
  vector,
} from "../../test/support/pickle-bytes.ts";
import { memorySink } from "../core/byte-sink.ts";
import { memorySource } from "../core/byte-source.ts";
import { isReparamError } from "../core/errors.ts";
import { elementCount, float32Tensor, int64Tensor, lazyTensor } from "../core/tensor.ts";
import { readCheckpoint } from "./checkpoint.ts";
import { readNpy } from "./npy/read-npy.ts";
import { writeNpy } from "./npy/write-npy.ts";
import { parsePickle } from "./pytorch/parse-pickle.ts";
import { writeSafetensors } from "./safetensors/write-safetensors.ts";
import { createZipWriter } from "./zip/write-zip.ts";

const SEED = 20262;
const RUNS = 1500;

const module = instance(
  name("torch.nn", "BatchNorm2d"),
  dict({
    eps: float(1e-5),
    _parameters: dict({ weight: vector("0", 6), bias: none }),
    _buffers: dict({ mean: tensor({ key: "0", count: 6, shape: [2, 2], strides: [1, 3] }) }),
    _non_persistent_buffers_set: set(text("mean")),
    _modules: dict({}),
  }),
);
const object = dict({
  epoch: int(3),
  model: module,
  sd: dict({ w: vector("1", 2) }),
  t: tuple(none),
});
const elements = { 0: floats(1, 2, 3, 4, 5, 6), 1: floats(7, 8) };

/** Without checksums, so that changed bytes reach the parsers. */
async function uncheckedZip(entries: Record<string, Uint8Array>): Promise<Uint8Array> {
  const sink = memorySink();
  const zip = createZipWriter(sink, { crc32: () => 0 });
  for (const [path, bytes] of Object.entries(entries)) await zip.entry(path, bytes.length, [bytes]);
  await zip.finish();
  return sink.bytes();
}

async function safetensors(): Promise<Uint8Array> {
  const sink = memorySink();
  await writeSafetensors(
    [
      { name: "a", tensor: lazyTensor(float32Tensor([2, 1], [1, 2])) },
      { name: "b", tensor: lazyTensor(int64Tensor([], [5])) },
    ],
    sink,
  );
  return sink.bytes();
}

async function readAll(bytes: Uint8Array): Promise<void> {
  const { candidates } = await readCheckpoint(memorySource("fuzz", bytes));
  for (const { state } of candidates) {
    for (const lazy of state.tensors.values()) {
      await lazy.read(0, Math.min(1000, elementCount(lazy.shape)));
    }
  }
}

/** Interesting bytes: small and large counts, pickle instructions, the ends of signed ranges. */
const byte = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff, 0x28, 0x52, 0x71, 0x68));
const edit = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom("set", "set", "set", "cut", "insert", "remove"),
  bytes: fc.array(byte, { minLength: 1, maxLength: 8 }),
});

function mutate(file: Uint8Array, edits: readonly { at: number; kind: string; bytes: number[] }[]) {
  let result = [...file];
  for (const { at: anywhere, kind, bytes } of edits) {
    const at = anywhere % (result.length + 1);
    if (kind === "cut") result = result.slice(0, at);
    else if (kind === "insert") result.splice(at, 0, ...bytes);
    else if (kind === "remove") result.splice(at, bytes.length);
    else result.splice(at, bytes.length, ...bytes);
  }
  return Uint8Array.from(result);
}

const npy = writeNpy(float32Tensor([2, 3], [1, 2, 3, 4, 5, 6]));

const TARGETS: Record<string, [() => Promise<Uint8Array>, (b: Uint8Array) => Promise<unknown>]> = {
  "PyTorch zip": [
    () =>
      uncheckedZip({
        "net/data.pkl": pickle(object),
        "net/data/0": elements[0],
        "net/data/1": elements[1],
        "net/version": new TextEncoder().encode("3\n"),
      }),
    readAll,
  ],
  "PyTorch legacy": [async () => torchLegacy(object, Object.entries(elements)), readAll],
  safetensors: [safetensors, readAll],
  npz: [() => uncheckedZip({ "x.npy": npy }), readAll],
  npy: [async () => npy, async (bytes) => (await readNpy(memorySource("fuzz", bytes))).read()],
  pickle: [async () => pickle(object), async (bytes) => parsePickle("fuzz", bytes)],
};

test.each(Object.entries(TARGETS))("%s", async (_, [make, read]) => {
  const file = await make();
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
      try {
        await read(mutate(file, edits));
      } catch (error) {
        if (!isReparamError(error)) throw error;
        expect(error.tag).toBe("bad-data");
        refused++;
      }
    }),
    { seed: SEED, numRuns: RUNS },
  );
  // The mutations must reach the checks, not only the padding.
  expect(refused).toBeGreaterThan(RUNS / 10);
});

test("random bytes after each format's mark", async () => {
  const marks = [
    "PK\x03\x04",
    "\x80\x02",
    "\x93NUMPY\x01\0",
    "\x08\x08",
    "\x10\0\0\0\0\0\0\0{",
    "",
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...marks),
      fc.uint8Array({ maxLength: 200 }),
      async (mark, rest) => {
        const bytes = Uint8Array.from([...Uint8Array.from(mark, (c) => c.charCodeAt(0)), ...rest]);
        await readAll(bytes).catch((error: unknown) => {
          if (!isReparamError(error)) throw error;
        });
      },
    ),
    { seed: SEED, numRuns: RUNS },
  );
});
