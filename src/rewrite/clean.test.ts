import { expect, test } from "vitest";
import { difference } from "../../test/support/fuse-check.ts";
import { conv, float32, graphOf } from "../../test/support/graph-parts.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import type { Model } from "../ir/graph.ts";
import { cleanModel } from "./clean.ts";

const CONV = { inC: 4, outC: 4 };

test("Constant nodes become initializers, Identity nodes go, and so does what nobody reads", async () => {
  const model = graphOf((parts, x) => {
    const { g } = parts;
    g.node("Relu", [g.node("Neg", [x])]); // dead
    g.initializer("unused", float32([1], [1]));
    const constant = g.node("Constant", [], { value: float32([1], [3]) }, "three");
    const same = g.node("Identity", [g.node("Identity", [conv(parts, x, CONV)])]);
    return g.node("Mul", [same, constant]);
  });
  const { model: clean, modified } = cleanModel(model);
  expect(modified).toBe(true);
  expect(clean.graph.nodes.map((node) => node.opType)).toEqual(["Conv", "Mul"]);
  expect([...clean.graph.initializers.keys()]).toEqual(["conv.weight", "three"]);
  expect(await difference(model, clean, [3, 3])).toBe(0);
  expect(cleanModel(clean)).toEqual({ model: clean, modified: false });
});

test("an Identity that names an output or is captured stays", () => {
  const body = createGraphBuilder();
  body.output(body.node("Relu", ["inner"]), "float32", undefined);
  const branch = body.buildGraph();
  const model = graphOf(({ g }, x) => {
    g.node("Identity", [x], {}, "inner");
    const condition = g.input("condition", "bool", []);
    const chosen = g.node("If", [condition], { then_branch: branch, else_branch: branch });
    return [g.node("Identity", [x], {}, "named"), chosen];
  });
  const { graph } = cleanModel(model).model;
  expect(graph.nodes.map((node) => node.name)).toEqual(["inner", "If_1", "named"]);
});

test("a model without anything to tidy is returned as it is", () => {
  const model = graphOf((parts, x) => conv(parts, x, CONV));
  expect(cleanModel(model)).toEqual({ model, modified: false });
});

test("before IR version 4 a Constant becomes an input with its default", () => {
  const model = graphOf(({ g }, x) =>
    g.node("Mul", [x, g.node("Constant", [], { value: float32([1], [3]) }, "three")]),
  );
  const old: Model = { ...model, irVersion: 3 };
  const { graph } = cleanModel(old).model;
  expect(graph.inputs.map((input) => input.name)).toEqual(["x", "three"]);
});
