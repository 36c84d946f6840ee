import { describe, expect, test } from "vitest";
import type { OnnxFile } from "../convert/open.ts";
import { float32Tensor, type LazyTensor, lazyTensor } from "../core/tensor.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import { subgraphTensors } from "./subgraph-tensors.ts";
import { verify } from "./verify.ts";

const f32 = (...values: number[]): LazyTensor => lazyTensor(float32Tensor([values.length], values));

interface Numbers {
  readonly captured: number;
  readonly inner: number;
  readonly constant: number;
}

/** `x + captured` and so on inside the branches of an If, the second one nested in another. */
function withIf({ captured, inner, constant }: Numbers): OnnxFile {
  const g = createGraphBuilder({ opset: 17 });
  const x = g.input("x", "float32", [1]);
  g.initializer("captured", f32(captured));
  const condition = g.node("Cast", [x], { to: 9 }, "condition");
  const branch = (build: (b: ReturnType<typeof createGraphBuilder>) => string) => {
    const b = createGraphBuilder();
    b.output(build(b), "float32", [1]);
    return b.buildGraph();
  };
  const first = branch((b) =>
    b.node("Add", ["captured", b.initializer("inner", f32(inner))], {}, "first"),
  );
  const nested = branch((b) => b.node("Constant", [], { value: f32(constant) }, "constant"));
  const second = branch((b) =>
    b.node("If", ["condition"], { then_branch: first, else_branch: nested }, "deep"),
  );
  const y = g.node("If", [condition], { then_branch: first, else_branch: second }, "choose");
  g.output(y, "float32", [1]);
  return { kind: "onnx", name: "if.onnx", model: g.build(), reading: {} };
}

const SAME: Numbers = { captured: 1, inner: 2, constant: 3 };

test("constants of inner graphs are named by their place, captured ones keep their name", () => {
  const { graph } = withIf(SAME).model;
  expect([...subgraphTensors(graph.nodes, graph.initializers).keys()].sort()).toEqual([
    "captured",
    "choose.else_branch.deep.else_branch.constant",
    "choose.else_branch.deep.then_branch.inner",
    "choose.then_branch.inner",
  ]);
});

describe("a model whose weights stand in an If", () => {
  test("equals itself", async () => {
    const { verdict, weights } = await verify(withIf(SAME), withIf(SAME));
    expect(verdict.word).toBe("EXACT-FOLD");
    expect(weights.others.equal).toHaveLength(4);
  });

  test.each(["captured", "inner", "constant"] as const)(
    "another %s is a difference",
    async (which) => {
      const { verdict } = await verify(withIf(SAME), withIf({ ...SAME, [which]: 7 }));
      expect(verdict.word).toBe("DIFFERENT");
    },
  );
});
