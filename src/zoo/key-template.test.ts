import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  isCovered,
  joinKey,
  matchPrefixPattern,
  substitute,
  templateMatcher,
} from "./key-template.ts";

describe("templateMatcher", () => {
  test("finds the prefix and the numbers", () => {
    const { tail } = templateMatcher("dil_conv_k{k}_{r}.weight");
    expect(tail("a.b.dil_conv_k5_2.weight")).toEqual({
      prefix: "a.b",
      variables: new Map([
        ["k", 5],
        ["r", 2],
      ]),
    });
    expect(tail("dil_conv_k5_2.weight")?.prefix).toBe("");
  });

  test("only whole parts count as an end", () => {
    const { tail } = templateMatcher("conv.weight");
    expect(tail("a.myconv.weight")).toBeUndefined();
    expect(tail("a.conv.weights")).toBeUndefined();
  });

  test("numbers have one spelling", () => {
    const { whole } = templateMatcher("conv.{n}.weight");
    expect(whole("conv.01.weight")).toBeUndefined();
    expect(whole("conv.1234567.weight")).toBeUndefined();
    expect(whole("conv.10.weight")?.get("n")).toBe(10);
    expect(whole("a.conv.10.weight")).toBeUndefined();
  });

  test("a variable that occurs twice is one number", () => {
    const { whole } = templateMatcher("a{n}.b{n}");
    expect(whole("a3.b3")?.get("n")).toBe(3);
    expect(whole("a3.b4")).toBeUndefined();
  });

  test("undoes substitution, whatever the text around", () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(999_999), fc.string(), (head, n, last) => {
        const plain = (text: string) => text.replace(/[{}.\d]/g, "_");
        const template = `a${plain(head)}.{n}.${plain(last)}`;
        const key = substitute(template, new Map([["n", n]]));
        expect(templateMatcher(template).whole(key)?.get("n")).toBe(n);
      }),
      { seed: 20261123 },
    );
  });
});

test("matchPrefixPattern counts the parts it matches at the end", () => {
  expect(matchPrefixPattern("stage#.#", "module.stage2.11")).toBe(2);
  expect(matchPrefixPattern("stage#.#", "module.stage2.x")).toBe(0);
  expect(matchPrefixPattern("stage#", "stage")).toBe(0);
  expect(matchPrefixPattern("^#.#", "0.1")).toBe(2);
  expect(matchPrefixPattern("^#.#", "a.0.1")).toBe(0);
  expect(matchPrefixPattern("Rep_p#.*", "neck.Rep_p3.conv1")).toBe(2);
});

test("joinKey and isCovered", () => {
  expect(joinKey("", "weight")).toBe("weight");
  expect(joinKey("a.b", "weight")).toBe("a.b.weight");
  expect(isCovered("se.down.weight", ["se.**"])).toBe(true);
  expect(isCovered("sea.weight", ["se.**"])).toBe(false);
  expect(isCovered("gamma", ["gamma"])).toBe(true);
});
