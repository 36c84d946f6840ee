/** @file The float64 reference equals PyTorch's float64 run of every training form in the optional data folder. */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { elementCount, lazyTensor, readFloat64, readTensor, tensor } from "../src/core/tensor.ts";
import { readNpy } from "../src/formats/npy/read-npy.ts";
import { readModel } from "../src/formats/onnx/read-model.ts";
import { type FileSource, openFile } from "../src/host/file-source.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import type { Model, Node } from "../src/ir/graph.ts";
import { type LoweredModel, lowerWithParameters } from "../src/runtime/lower-float64.ts";
import { perturbParameters } from "../src/runtime/perturb.ts";
import { dataFolder } from "./data-folder.ts";

const folder = dataFolder();
const cases = folder
  ? readdirSync(join(folder, "fixtures")).flatMap((name) =>
      ["train.onnx", "train-preserve.onnx"]
        .map((file) => join(folder, "fixtures", name, file))
        .filter((path) => existsSync(path))
        .map((path) => [name, path] as const),
    )
  : [];

/**
 * Numbers that PyTorch's float64 run has in full and an ONNX file only as float32: BatchNorm's epsilons and GELU's √2.
 * They are put back, so that what is compared is the arithmetic alone.
 */
const FULL_NUMBERS = new Map([Math.SQRT2, 1e-5, 1e-3, 1e-6, 1e-12].map((n) => [Math.fround(n), n]));

/** The node with its epsilon in full. */
function restoreEpsilon(node: Node): Node {
  const epsilon = node.attributes.get("epsilon");
  if (epsilon?.type !== "float") return node;
  const value = FULL_NUMBERS.get(epsilon.value) ?? epsilon.value;
  return {
    ...node,
    attributes: new Map([...node.attributes, ["epsilon", { type: "float", value }]]),
  };
}

/** The lowered model as a whole, with its scalar constants in full. */
async function restoreScalars(lowered: LoweredModel): Promise<Model> {
  const parameters = new Map(lowered.parameters);
  for (const [name, parameter] of parameters) {
    if (elementCount(parameter.value.shape) !== 1) continue;
    const [found = 0] = await readFloat64(parameter.value);
    const full = FULL_NUMBERS.get(found);
    if (full === undefined) continue;
    const value = lazyTensor(tensor("float64", parameter.value.shape, Float64Array.of(full)));
    parameters.set(name, { ...parameter, value });
  }
  return perturbParameters({ ...lowered, parameters }, new Set(), { seed: 0, unit: 0 });
}

if (folder) {
  test("the data folder holds training forms", () => {
    expect(cases.length).toBeGreaterThan(30);
  });
} else {
  test("not run: the float64 reference against PyTorch, because there is no data folder", () => {});
}

test.each(cases)("%s", async (_name, path) => {
  const open: FileSource[] = [];
  const source = async (file: string): Promise<FileSource> => {
    const opened = await openFile(file);
    open.push(opened);
    return opened;
  };
  const model = await readModel(await source(path));
  const x = await readTensor(await readNpy(await source(join(path, "..", "x.npy"))));
  const truth = await readFloat64(await readNpy(await source(join(path, "..", "y_train_f64.npy"))));
  const graph = { ...model.graph, nodes: model.graph.nodes.map(restoreEpsilon) };
  const runtime = await loadNodeRuntime();
  const lowered = await lowerWithParameters(
    { ...model, graph },
    runtime,
    new Map([["x", x.shape]]),
  );
  const session = await runtime.createSession(await restoreScalars(lowered), { threads: 1 });
  const input = tensor("float64", x.shape, await readFloat64(lazyTensor(x)));
  const [output] = (await session.run(new Map([["x", input]]))).values();
  await session.release();
  const y = await readFloat64(lazyTensor(output!));
  for (const opened of open) await opened.close();
  let [error, size] = [0, 0];
  truth.forEach((value, i) => {
    error += (y[i]! - value) ** 2;
    size += value ** 2;
  });
  expect(y.length).toBe(truth.length);
  // At most 28 blocks of sums of up to ~1500 terms, rounding errors adding like random walks: √(28 · 1500) · 2^-53 =
  // 2e-14; the fixtures' own float64 checks found up to 8e-15. 1e-13 leaves room for cancelling branches.
  expect(Math.sqrt(error / size)).toBeLessThan(1e-13);
});
