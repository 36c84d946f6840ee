import { describe, expect, test } from "vitest";
import { certainInputs, formatBranches, groupBlocks, groupChannels } from "./block-groups.ts";
import { alignColumns, clip, formatBytes, formatNumber, shorten, wrap } from "./format.ts";

describe("numbers", () => {
  test.each([
    [0, "0"],
    [1, "1"],
    [-0.12345, "-0.123"],
    [123456, "123000"],
    [1e-5, "1e-5"],
    [2.5e-8, "2.5e-8"],
    [1.2345e12, "1.23e12"],
    [Number.POSITIVE_INFINITY, "∞"],
    [Number.NaN, "NaN"],
  ])("%f", (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });

  test.each([
    [0, "0 bytes"],
    [999, "999 bytes"],
    [1000, "1.00 kB"],
    // Not "1.00e+3 kB": rounding up changes the unit.
    [999_600, "1.00 MB"],
    [36_600_000, "36.6 MB"],
    [2.5e9, "2.50 GB"],
  ])("%i bytes", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

describe("text", () => {
  test("lines are filled to 80 characters and never cut a word", () => {
    const lines = wrap("word ".repeat(40).trim(), "  · ", "    ");
    expect(lines.every((line) => line.length <= 80)).toBe(true);
    expect(lines.map((line) => line.slice(0, 4))).toEqual(["  · ", "    ", "    "]);
    expect(lines.join(" ").match(/word/g)).toHaveLength(40);
    expect(wrap("x".repeat(100), "")).toEqual(["x".repeat(100)]);
  });

  test("names keep their end, texts their beginning", () => {
    expect(shorten("backbone.stage1.0", 8)).toBe("…tage1.0");
    expect(clip("3×3+bn ∥ 1×1+bn", 7)).toBe("3×3+bn…");
  });

  test("columns", () => {
    expect(
      alignColumns(
        [
          ["a", "10"],
          ["bbb", "5", "x"],
        ],
        "lr",
      ),
    ).toEqual(["a    10", "bbb   5  x"]);
  });
});

describe("groups of blocks", () => {
  const block = (name: string, outC = 8, inC = 8) => ({
    ...{ name, branches: ["3×3+bn"], weightShape: [outC, 8, 3, 3], group: 1, inC },
  });

  test("a stage is one line, a single block keeps its name", () => {
    const groups = groupBlocks(["stem", "s1.0", "s1.1", "s2.0"].map((name) => block(name)));
    expect(groups.map(({ label, blocks }) => [label, blocks.length])).toEqual([
      ["stem", 1],
      ["s1", 2],
      ["s2.0", 1],
    ]);
  });

  test("many stages are summed up by the first part of their names", () => {
    const names = Array.from({ length: 40 }, (_, i) => `net.part${i % 20}.conv${i}`);
    expect(groupBlocks(names.map((name) => block(name)))).toHaveLength(1);
  });

  test("input channels that nothing tells are left out", () => {
    const [first, second] = groupBlocks([block("a", 12), { ...block("b.c", 16), inC: undefined }]);
    expect(groupChannels(first!)).toBe("8 → 12");
    // The kernel reads 8 channels per group, the block before gives 12: the number of groups is open.
    expect(groupChannels(second!)).toBe("→ 16");
    expect(certainInputs(["3×3+bn", "bn"], 16, 1)).toBe(16);
    expect(certainInputs(["3×3+bn", "1×1+bn"], 2, 1)).toBeUndefined();
  });

  test("equal branches are counted", () => {
    expect(formatBranches(["3×3+bn", "3×3+bn", "bn"])).toBe("2 × 3×3+bn ∥ bn");
  });
});
