import { expect, test } from "vitest";
import { float32Tensor, lazyTensor } from "../core/tensor.ts";
import { createGraphBuilder } from "./builder.ts";
import { editGraph } from "./edit.ts";
import type { Graph, Node } from "./graph.ts";
import { createNameScope } from "./names.ts";
import { formatGraph } from "./print.ts";

const one = lazyTensor(float32Tensor([1], [1]));

/** y = Relu(a + c) with a = Identity(x), and an If whose branch reads a. */
function sample(): Graph {
  const body = createGraphBuilder({ name: "body" });
  const inner = body.node("Neg", ["a"], {}, "inner");
  body.output(inner, "float32", undefined);
  const g = createGraphBuilder({ name: "sample" });
  const x = g.input("x", "float32", [1]);
  const test = g.input("t", "bool", []);
  const c = g.initializer("c", one);
  const a = g.node("Identity", [x], {}, "a");
  const sum = g.node("Add", [a, c], {}, "sum");
  g.valueInfo(sum, "float32", [1]);
  g.output(g.node("Relu", [sum], {}, "y"), "float32", [1]);
  const branch = body.buildGraph();
  g.output(g.node("If", [test], { then_branch: branch, else_branch: branch }, "z"), "float32", [1]);
  return g.buildGraph();
}

const nodeOf = (graph: Graph, name: string): Node =>
  graph.nodes.find((node) => node.outputs[0] === name)!;

test("uses are replaced in nodes and in subgraphs, then the node can go", () => {
  const graph = sample();
  const edited = editGraph(graph, {
    removeNodes: [nodeOf(graph, "a")],
    replaceAllUses: new Map([["a", "x"]]),
  });
  expect(nodeOf(edited, "sum").inputs).toEqual(["x", "c"]);
  const branch = nodeOf(edited, "z").attributes.get("then_branch");
  expect(branch?.type === "graph" && branch.value.nodes[0]!.inputs).toEqual(["x"]);
  expect(nodeOf(graph, "sum").inputs).toEqual(["a", "c"]); // the old graph is untouched
});

test("a replaced node's new value loses the old declared type", () => {
  const graph = sample();
  const old = nodeOf(graph, "sum");
  const mul: Node = { ...old, opType: "Mul" };
  const edited = editGraph(graph, { removeNodes: [old], insertBefore: new Map([[old, [mul]]]) });
  expect(edited.nodes.map((node) => node.opType)).toEqual(["Identity", "Mul", "Relu", "If"]);
  expect(graph.valueInfos.has("sum")).toBe(true);
  expect(edited.valueInfos.has("sum")).toBe(false);
});

test("constants are added and removed", () => {
  const graph = sample();
  const sum = nodeOf(graph, "sum");
  const edited = editGraph(graph, {
    removeNodes: [sum],
    insertBefore: new Map([[sum, [{ ...sum, inputs: ["a", "d"] }]]]),
    removeInitializers: ["c"],
    addInitializers: new Map([["d", one]]),
  });
  expect([...edited.initializers.keys()]).toEqual(["d"]);
});

test.each<[string, (graph: Graph) => Parameters<typeof editGraph>[1], string]>([
  [
    "a value that is read",
    (g) => ({ removeNodes: [nodeOf(g, "a")] }),
    'it reads "a", which nothing makes',
  ],
  [
    "a constant that is read",
    () => ({ removeInitializers: ["c"] }),
    'it reads "c", which nothing makes',
  ],
  [
    "a graph output",
    (g) => ({ removeNodes: [nodeOf(g, "y")] }),
    'graph output "y", which nothing makes',
  ],
  ["a missing constant", () => ({ removeInitializers: ["q"] }), "q is not an initializer"],
])("removing %s is refused", (_, edit, message) => {
  const graph = sample();
  expect(() => editGraph(graph, edit(graph))).toThrow(message);
});

test.each<[string, (graph: Graph) => Parameters<typeof editGraph>[1], string]>([
  [
    "a node of another graph",
    () => ({ removeNodes: [nodeOf(sample(), "a")] }),
    "is not in the graph",
  ],
  ["a second maker", (g) => ({ append: [nodeOf(g, "a")] }), 'output "a" is already made elsewhere'],
  [
    "a reader before its maker",
    (g) => ({
      removeNodes: [nodeOf(g, "y")],
      insertBefore: new Map([[nodeOf(g, "a"), [nodeOf(g, "y")]]]),
    }),
    "before that is made",
  ],
  ["an existing constant", () => ({ addInitializers: new Map([["c", one]]) }), "c already exists"],
  ["uses of an output", () => ({ replaceAllUses: new Map([["y", "sum"]]) }), "y is a graph output"],
  [
    "a chain of replacements",
    () => ({
      replaceAllUses: new Map([
        ["a", "sum"],
        ["sum", "x"],
      ]),
    }),
    "sum is both replaced and a replacement",
  ],
  [
    "a name that means something else in a subgraph",
    () => ({
      replaceAllUses: new Map([["a", "inner"]]),
      addInitializers: new Map([["inner", one]]),
    }),
    "inner has another meaning inside subgraph body",
  ],
])("%s is refused", (_, edit, message) => {
  const graph = sample();
  expect(() => editGraph(graph, edit(graph))).toThrow(message);
});

test("fresh names avoid everything in the graph, subgraphs included", () => {
  const names = createNameScope(sample());
  expect([names.fresh("inner"), names.fresh("c"), names.fresh("c"), names.fresh("new")]).toEqual([
    "inner_1",
    "c_1",
    "c_2",
    "new",
  ]);
});

test("a graph prints as one line per node", () => {
  const model = { ...createGraphBuilder().build(), graph: sample() };
  expect(formatGraph(model)).toBe(`graph sample (IR 8; onnx 17)
  input x: float32[1]
  input t: bool[]
  a = Identity(x)
  sum = Add(a, c: float32[1])
  y = Relu(sum)
  z = If(t) {then_branch: graph body, else_branch: graph body}
    then_branch:
      inner = Neg(a)
      output inner: float32[…]
    else_branch:
      inner = Neg(a)
      output inner: float32[…]
  output y: float32[1]
  output z: float32[1]`);
});
