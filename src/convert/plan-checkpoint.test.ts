/** @file What becomes of each tensor of a checkpoint, by shapes alone: fused, passed, dropped, or a reason why not. */

import { describe, expect, test } from "vitest";
import { checkpointFile, deployState, repVggNet } from "../../test/support/diagnosis-nets.ts";
import { float32Tensor, type LazyTensor, lazyTensor, type StateDict } from "../core/tensor.ts";
import { planCheckpoint } from "./plan-checkpoint.ts";

const net = await repVggNet("grouped", 5);
const zeros = (...shape: number[]): LazyTensor =>
  lazyTensor(float32Tensor(shape, new Float32Array(shape.reduce((a, b) => a * b, 1))));

function stateOf(tensors: Iterable<readonly [string, LazyTensor]>): StateDict {
  return { tensors: new Map(tensors), modules: new Map() };
}

/** The training net's state, its names changed or (undefined) left out. */
function renamed(rename: (name: string) => string | undefined): StateDict {
  return stateOf(
    [...net.state.tensors].flatMap(([name, value]) => {
      const to = rename(name);
      return to === undefined ? [] : [[to, value] as const];
    }),
  );
}

describe("planCheckpoint", () => {
  test("a training form: every block once, everything else passed in its place", async () => {
    const plan = await planCheckpoint(checkpointFile("train.pth", net.state));
    expect(plan.form).toBe("training");
    expect(plan.blocks).toHaveLength(net.blocks.length);
    expect(plan.tensors.map(({ name }) => name)).toEqual([...deployState(net).tensors.keys()]);
    expect(plan.passed).toEqual(["linear.weight", "linear.bias"]);
    expect([plan.dropped, plan.notes]).toEqual([[], []]);
  });

  test("reads no weight", async () => {
    const unread = stateOf(
      [...net.state.tensors].map(([name, value]) => [
        name,
        { ...value, read: () => Promise.reject(new Error(`${name} was read`)) },
      ]),
    );
    await expect(planCheckpoint(checkpointFile("big.pth", unread))).resolves.toMatchObject({
      form: "training",
    });
  });

  test("tensors that pass are the file's own, not copies", async () => {
    const { tensors } = await planCheckpoint(checkpointFile("train.pth", net.state));
    const passed = tensors.find(({ name }) => name === "linear.weight");
    expect(passed?.tensor).toBe(net.state.tensors.get("linear.weight"));
  });

  test("a block that lacks a branch's batch norm is no block: passed through, and said", async () => {
    const state = renamed((name) => (name.startsWith("stage2.1.rbr_1x1.bn.") ? undefined : name));
    const plan = await planCheckpoint(checkpointFile("cut.pth", state));
    expect(plan.blocks).toHaveLength(net.blocks.length - 1);
    expect(plan.passed).toContain("stage2.1.rbr_dense.conv.weight");
    expect(plan.notes.join()).toMatch(/stage2\.1: looks like a .* but lacks .*passed through/);
  });

  test("auxiliary heads are dropped where the origin drops them, and named", async () => {
    const state = stateOf([...net.state.tensors, ["stage1_aux.0.conv.weight", zeros(4, 8, 1, 1)]]);
    const file = checkpointFile("plus.pth", state);
    const plan = await planCheckpoint({ ...file, reading: { family: "repvggplus" } });
    expect(plan.dropped).toEqual(["stage1_aux.0.conv.weight"]);
    expect(plan.tensors.map(({ name }) => name)).not.toContain("stage1_aux.0.conv.weight");
    const other = await planCheckpoint({ ...file, reading: { family: "repvgg" } });
    expect(other.dropped).toEqual([]);
    expect(other.passed).toContain("stage1_aux.0.conv.weight");
  });

  test("names in a deploy file decide between families; other names decide nothing", async () => {
    // Under these names RepVGG, zcls and YOLOv6 are alike, and two of them have another epsilon or other deploy names.
    const state = renamed((name) => name.replace(/^stage/, "0."));
    const file = checkpointFile("open.pth", state);
    await expect(planCheckpoint(file)).rejects.toMatchObject({ tag: "ambiguous" });
    const fused = [...state.tensors.keys()].filter((name) =>
      name.endsWith(".rbr_dense.conv.weight"),
    );
    const paths = fused.map((name) => name.replace(".rbr_dense.conv.weight", ""));
    const deployKeys = new Set(paths.flatMap((path) => [`${path}.weight`, `${path}.bias`]));
    const first = paths[0]!;
    const plan = await planCheckpoint({ ...file, deployKeys });
    expect(plan.blocks[0]!.weightName).toBe(`${first}.weight`);
    expect(plan.notes.join()).toContain("family zcls-repvgg: of those that the keys fit");
    const wrong = new Set([...deployKeys].map((name) => `other.${name}`));
    await expect(planCheckpoint({ ...file, deployKeys: wrong })).rejects.toThrow("the keys fit");
  });

  test("no known block at all: refused, with the number of tensors and what to do", async () => {
    const file = checkpointFile("plain.pth", stateOf([["encoder.weight", zeros(4, 4)]]));
    await expect(planCheckpoint(file)).rejects.toMatchObject({
      tag: "refused",
      where: "plain.pth",
      what: expect.stringContaining("none of its 1 tensors"),
      fix: expect.stringContaining("--recipe"),
    });
  });

  test("shapes that contradict each other are bad data, with the block's name", async () => {
    const name = "stage1.0.rbr_1x1.conv.weight";
    const [outC = 0, inC = 0] = net.state.tensors.get(name)!.shape;
    const state = stateOf([...net.state.tensors, [name, zeros(outC + 1, inC, 1, 1)]]);
    const failed = planCheckpoint(checkpointFile("shape.pth", state));
    await expect(failed).rejects.toMatchObject({ tag: "bad-data" });
    await expect(failed).rejects.toThrow("stage1.0");
  });
});
