/** @file Whether a checkpoint's network is known, and what its graph then is. */

import { describe, expect, test } from "vitest";
import {
  checkpointFile,
  deployState,
  mobileOneNet,
  repVggNet,
} from "../../test/support/diagnosis-nets.ts";
import type { StateDict } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import { knownGraph, requireGraph } from "./deploy-graph.ts";
import type { CheckpointFile } from "./open.ts";
import { planCheckpoint } from "./plan-checkpoint.ts";

const net = await repVggNet("grouped", 5);
const training = checkpointFile("train.pth", net.state);
const other = checkpointFile("mobileone.pth", (await mobileOneNet(3)).state);

/** A RepVGG's names, but not its shapes: the last block's kernel is missing. */
function broken(): CheckpointFile {
  const tensors = new Map(net.state.tensors);
  for (const name of tensors.keys()) if (name.startsWith("stage3.2.")) tensors.delete(name);
  return checkpointFile("broken.pth", { tensors, modules: new Map() });
}

const operators = ({ graph }: Model, opType: string): number =>
  graph.nodes.filter((node) => node.opType === opType).length;

describe("knownGraph", () => {
  test("has the form of the keys", () => {
    const trained = knownGraph(training, undefined)!;
    const deployed = knownGraph(checkpointFile("deploy.pth", deployState(net)), undefined)!;
    // Two convolutions per block in training form, one in deploy form.
    expect(operators(trained, "Conv")).toBe(2 * net.blocks.length);
    expect(operators(deployed, "Conv")).toBe(net.blocks.length);
    expect(operators(deployed, "BatchNormalization")).toBe(0);
  });

  test("with a plan's tensors it is the deploy form, and these are its weights", async () => {
    const { tensors } = await planCheckpoint(training);
    const model = knownGraph(training, tensors)!;
    expect(operators(model, "Conv")).toBe(net.blocks.length);
    const weight = tensors.find(({ name }) => name === "stage1.0.rbr_reparam.weight")!.tensor;
    expect([...model.graph.initializers.values()]).toContain(weight);
  });

  test("takes opset, height and width, and the epsilon that was given", () => {
    const file: CheckpointFile = { ...training, reading: { epsilon: 0.25 } };
    const model = knownGraph(file, undefined, { height: 40, width: 48, opset: 13 })!;
    expect(model.opsets.get("")).toBe(13);
    expect(model.graph.inputs[0]?.shape?.slice(1)).toEqual([3, 40, 48]);
    const norm = model.graph.nodes.find(({ opType }) => opType === "BatchNormalization")!;
    expect(norm.attributes.get("epsilon")).toEqual({ type: "float", value: 0.25 });
    const open = knownGraph(training, undefined)!.graph.inputs[0]!.shape!;
    expect(open.slice(2).every((dim) => typeof dim !== "number")).toBe(true);
  });

  test("a wrapper's prefix is no part of the net", () => {
    const wrapped: StateDict = {
      tensors: new Map([...net.state.tensors].map(([name, value]) => [`module.${name}`, value])),
      modules: new Map(),
    };
    const file = { ...checkpointFile("ddp.pth", wrapped), prefix: "module." };
    const names = (model: Model | undefined) => [...model!.graph.initializers.keys()];
    expect(names(knownGraph(file, undefined))).toEqual(names(knownGraph(training, undefined)));
  });

  test("another family's net is not known; keys that begin like a RepVGG and are none are bad data", () => {
    expect(knownGraph(other, undefined)).toBeUndefined();
    expect(() => knownGraph(broken(), undefined)).toThrow(
      expect.objectContaining({ tag: "bad-data", where: expect.stringContaining("broken.pth") }),
    );
  });
});

describe("requireGraph", () => {
  test("is the known graph where there is one", () => {
    expect(requireGraph(training, undefined).graph.nodes).toHaveLength(
      knownGraph(training, undefined)!.graph.nodes.length,
    );
  });

  test.each([
    ["nothing is known of it", other, "but not the network around them"],
    ["its keys contradict a RepVGG", broken(), "missing"],
  ])("refuses where %s, with another way", (_, file, what) => {
    expect(() => requireGraph(file, undefined)).toThrow(
      expect.objectContaining({
        tag: "refused",
        what: expect.stringContaining(what),
        fix: expect.stringContaining(".safetensors"),
      }),
    );
  });
});
