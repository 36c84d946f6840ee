/** @file Every ONNX file of the optional data folder reads, survives a round trip, and computes the same before and after. */

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { memorySource } from "../src/core/byte-source.ts";
import { createRng } from "../src/core/rng.ts";
import { readModel } from "../src/formats/onnx/read-model.ts";
import { modelToBytes } from "../src/formats/onnx/write-model.ts";
import { graphInputs, type Model } from "../src/ir/graph.ts";
import { inferShapes } from "../src/ir/infer-shapes.ts";
import { dataFolder } from "./data-folder.ts";

const folder = dataFolder();
const files = folder
  ? ["fixtures", "real"].flatMap((part) =>
      readdirSync(join(folder, part), { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".onnx"))
        .map((file) => join(folder, part, file)),
    )
  : [];

if (folder) {
  test("the data folder holds ONNX files", () => {
    expect(files.length).toBeGreaterThan(100);
  });
} else {
  test("not run: ONNX acceptance, because there is no data folder", () => {});
}

test.each(files.map((file) => [relative(folder!, file), file]))("%s", async (_name, file) => {
  const before = readFileSync(file);
  const model = await readModel(memorySource(file, before));
  const after = await modelToBytes(model);
  const again = await readModel(memorySource("again", after));
  // Functions (the tensors' readers) are compared by name only, so what is left is structure.
  expect(structure(again)).toEqual(structure(model));
  for (const [name, tensor] of model.graph.initializers) {
    const copy = again.graph.initializers.get(name)!;
    expect(Buffer.compare(await tensor.read(), await copy.read()), name).toBe(0);
  }
  expect(Buffer.compare(await modelToBytes(again), after)).toBe(0);

  const feeds = inputsFor(file, model);
  const expected = await run(before, feeds);
  expect(await run(after, feeds)).toEqual(expected);

  await checkInferredShapes(model, feeds);
});

/** Compares every inferred type with what onnxruntime computes; what is not inferred is no claim. */
async function checkInferredShapes(model: Model, feeds: Feeds): Promise<void> {
  const shapes = new Map(Object.entries(feeds).map(([name, feed]) => [name, [...feed.dims]]));
  const types = await inferShapes(model, shapes);
  const made = model.graph.nodes.flatMap((node) => node.outputs).filter((name) => name !== "");
  const outputs = made.map((name) => ({ name, dtype: undefined, shape: undefined }));
  const all: Model = { ...model, graph: { ...model.graph, outputs, valueInfos: new Map() } };
  const actual = await run(await modelToBytes(all), feeds);
  let known = 0;
  for (const name of made) {
    const { dtype, shape } = types.get(name)!;
    if (!shape?.every((dim) => typeof dim === "number")) continue;
    known++;
    expect({ name, dtype, shape }).toEqual({
      name,
      dtype: actual[name]!.type,
      shape: actual[name]!.dims,
    });
  }
  // Whole in most files; DBB's training form computes index grids from data, where three quarters are known.
  expect(known / made.length).toBeGreaterThan(0.7);
}

interface Result {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
}

type Feeds = Record<string, Tensor>;

/** The case's own input where it fits, else seeded noise with symbolic dimensions set to 2. */
function inputsFor(file: string, model: Model): Feeds {
  const feeds: Feeds = {};
  for (const { name, dtype, shape } of graphInputs(model.graph)) {
    expect(dtype).toBe("float32");
    const dims = shape!.map((dim) => (typeof dim === "number" ? dim : 2));
    if (file.includes("ch_ppocr")) dims.splice(0, 4, 1, 3, 48, 192); // the classifier's own input size
    feeds[name] = readNpy(join(dirname(file), "x.npy")) ?? noise(dims);
  }
  return feeds;
}

function noise(dims: number[]): Tensor {
  const rng = createRng(7);
  const count = dims.reduce((product, dim) => product * dim, 1);
  return new Tensor(
    "float32",
    Float32Array.from({ length: count }, () => rng.normal()),
    dims,
  );
}

/** A float32 C-order npy file, version 1. */
function readNpy(path: string): Tensor | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined;
  }
  const headerEnd = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString("latin1", 10, headerEnd);
  expect(header).toContain("'<f4'");
  const shape = /'shape': \(([^)]*)\)/.exec(header)![1]!;
  const dims = shape.split(",").filter(Boolean).map(Number);
  return new Tensor(
    "float32",
    new Float32Array(new Uint8Array(bytes.subarray(headerEnd)).buffer),
    dims,
  );
}

async function run(bytes: Uint8Array, feeds: Feeds): Promise<Record<string, Result>> {
  const session = await InferenceSession.create(bytes, {
    graphOptimizationLevel: "disabled",
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const results = await session.run(feeds);
  await session.release();
  return Object.fromEntries(
    Object.entries(results).map(([name, { type, dims, data }]) => [name, { type, dims, data }]),
  );
}

/** The model with its tensors' readers taken out. */
function structure(model: Model): unknown {
  return JSON.parse(
    JSON.stringify(model, (_key, value: unknown) => {
      if (value instanceof Map) return [...value];
      if (value instanceof Uint8Array) return [...value];
      return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
    }),
  );
}
