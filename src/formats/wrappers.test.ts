import { expect, test } from "vitest";
import { splitPrefix } from "./wrappers.ts";

test.each<[string[], string]>([
  [["stage0.conv.weight", "linear.bias"], ""],
  [["module.stage0.weight", "module.linear.bias"], "module."],
  [["module._orig_mod.a.weight", "module._orig_mod.b"], "module._orig_mod."],
  [["network.a", "network.b", "network.c", "criterion.weight"], "network."],
  [["backbone.a", "backbone.b", "backbone.c", "head.weight"], "backbone."],
  [["backbone.a", "neck.b", "head.weight"], ""], // a third is not the net
  [["modules.a", "model1.b"], ""], // only whole parts of a name count
  [[], ""],
])("%j has the prefix %j", (names, prefix) => {
  expect(splitPrefix(names)).toEqual({ prefix });
});
