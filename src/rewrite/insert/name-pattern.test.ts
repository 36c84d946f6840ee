import { expect, test } from "vitest";
import { namePattern } from "./name-pattern.ts";

test.each([
  ["layer1.*", "layer1.0.conv1", true],
  ["layer1.*", "layer10.conv1", false],
  ["*.conv1", "layer1.0.conv1", true],
  ["*.conv1", "conv1", false],
  ["layer*.0.*2", "layer3.0.conv2", true],
  ["a*b*c", "a-c-b", false],
  ["ab*ba", "aba", false], // the two ends may not share a letter
  ["stem, layer4.*", "layer4.1", true],
  ["a.c", "abc", false],
  ["*", "", true],
])("%s and %s: %s", (pattern, name, fits) => {
  expect(namePattern(pattern)(name)).toBe(fits);
});

test.each(["", "a,,b", "x".repeat(1001)])("%s is refused", (pattern) => {
  expect(() => namePattern(pattern)).toThrow("pattern");
});
