import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createCurve,
  MAX_LINE_CHARACTERS,
  MAX_LOG_LINES,
  MAX_POINTS,
  parseCurve,
} from "./curve-view.ts";
import {
  formatChange,
  formatDuration,
  formatExponents,
  formatNumber,
  formatShort,
} from "./format.ts";
import { heatMap } from "./heat-map.ts";
import { lineChart } from "./line-chart.ts";
import { element, escapeText } from "./markup.ts";
import { MAX_BARS, omegaTable } from "./omega-table.ts";
import { linearScale, logScale } from "./scale.ts";
import type { BlockBar } from "./verdict-view.ts";

const bar = (name: string, omega: number): BlockBar => ({
  name,
  deployName: undefined,
  status: omega > 5 ? "different" : "rounding",
  omega,
  k: 5,
  ratio: omega / 5,
  lowered: undefined,
});

describe("markup", () => {
  test("holds any text as text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(element("p", { title: text }, escapeText(text))).toMatch(
          /^<p title="[^"<>]*">[^<>]*<\/p>$/s,
        );
      }),
      { seed: 6 },
    );
  });
});

describe("numbers", () => {
  test("read well at every size", () => {
    expect(
      [0, 0.94, 1234.5, 2.05e5, 9.9999e-8, Number.POSITIVE_INFINITY].map((n) => formatNumber(n)),
    ).toEqual(["0", "0.94", "1230", "2.05×10⁵", "1×10⁻⁷", "∞"]);
    expect(formatExponents("y moves 4.50e+5 times, of 1e-7 at most, at stage1e5")).toBe(
      "y moves 4.5×10⁵ times, of 1×10⁻⁷ at most, at stage1e5",
    );
    expect([940, 8.31e6, 1.52e9].map(formatShort)).toEqual(["940", "8.31 M", "1.52 G"]);
    expect([formatChange(8, 6), formatChange(4, 5), formatChange(3, 3)]).toEqual([
      "−25.0 %", // (6 − 8) / 8
      "+25.0 %",
      "same",
    ]);
    expect([12.34, 1500, 61_000].map(formatDuration)).toEqual(["12.3 ms", "1.50 s", "1 min 1 s"]);
  });
});

describe("scales", () => {
  const number = fc.double({ min: 1e-12, max: 1e12, noNaN: true });
  test("keep order and stay inside", () => {
    fc.assert(
      fc.property(fc.array(number, { minLength: 1, maxLength: 20 }), (values) => {
        for (const scale of [logScale(values), linearScale(values)]) {
          const sorted = [...values].sort((a, b) => a - b).map(scale.at);
          for (const [i, position] of sorted.entries()) {
            expect(position).toBeGreaterThanOrEqual(sorted[i - 1] ?? 0);
            expect(position).toBeLessThanOrEqual(1);
          }
          expect(scale.ticks.length).toBeLessThanOrEqual(13);
        }
      }),
      { seed: 6 },
    );
  });

  test("put decades at equal distances and survive nothing, zero and infinities", () => {
    const scale = logScale([0.1, 1000]);
    // Four decades: each is a quarter of the axis.
    expect([0.1, 1, 10, 100, 1000].map(scale.at)).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect(scale.at(0)).toBe(0);
    expect(scale.at(Number.POSITIVE_INFINITY)).toBe(1);
    expect(logScale([]).ticks.length).toBeGreaterThan(1);
    expect(linearScale([]).ticks.length).toBeGreaterThan(1);
    expect(linearScale([3, 3]).ticks.length).toBeGreaterThan(1);
    // Closer together than their ticks could be told apart: found by the property above, which did not end.
    expect(linearScale([1e12, 1e12 + 1e-4]).ticks.length).toBeLessThan(13);
  });
});

describe("the table of ω", () => {
  test("puts bar and limit where the axis has them", () => {
    // The axis runs from 0.1 to 100: ω = 100 is its end, k = 10 is two thirds of it.
    const html = omegaTable([{ ...bar("a", 100), k: 10 }], "");
    expect(html).toContain('class="bar" style="width:100%"');
    expect(html).toContain('class="limit" style="left:66.67%"');
  });

  test("shows the worst of many and says how many are left", () => {
    const blocks = Array.from({ length: MAX_BARS + 3 }, (_, i) => bar(`block${i}`, i + 1));
    const html = omegaTable(blocks, "");
    expect(html.match(/scope="row"/g)).toHaveLength(MAX_BARS);
    expect(html).toContain("3 blocks more lie below");
    expect(html).not.toContain(">block2<");
  });
});

describe("charts", () => {
  test("break the line where a value is not finite", () => {
    const points = [1, 2, Number.NaN, 4, 5].map((y, x) => ({ x, y }));
    const chart = lineChart({
      label: "c",
      series: [{ label: "s", look: "training", points }],
      xLabel: "x",
      yLabel: "y",
      yScale: "linear",
    });
    const path = /<path[^>]* d="([^"]*)"/.exec(chart)?.[1];
    expect(path?.match(/M/g)).toHaveLength(2);
    expect(chart.match(/<circle/g)).toHaveLength(4);
    expect(chart).not.toContain("NaN");
  });

  test("tell an absent tap from a weak one", () => {
    const html = heatMap({ label: "k", rows: 1, columns: 2, values: [0, 1e-9], strongest: 1 });
    expect(html.match(/heat absent/g)).toHaveLength(1);
  });
});

describe("a training log", () => {
  const step = (n: number): string =>
    JSON.stringify({ type: "step", step: n, loss: n, accuracy: 0 });

  test("is thinned by means", () => {
    const lines = Array.from({ length: 2 * MAX_POINTS }, (_, i) => step(i + 1));
    const { steps, totalSteps } = parseCurve("run.jsonl", lines.join("\n"));
    expect(steps).toHaveLength(MAX_POINTS);
    expect(totalSteps).toBe(2 * MAX_POINTS);
    expect(steps[0]?.loss).toBe(1.5); // (1 + 2) / 2
  });

  test("is refused by line", () => {
    expect(() => parseCurve("run.jsonl", `${step(1)}\n[1]`)).toThrow(
      "run.jsonl: line 2: is not a JSON object",
    );
    expect(() => parseCurve("run.jsonl", "{}")).toThrow("holds no step and no epoch");
    const long = "x".repeat(MAX_LINE_CHARACTERS + 1);
    expect(() => parseCurve("run.jsonl", long)).toThrow(`expected at most ${MAX_LINE_CHARACTERS}`);
  });

  test("has a limit on its lines", () => {
    const curve = createCurve("run.jsonl");
    expect(() => {
      for (let i = 0; i <= MAX_LOG_LINES; i++) curve.addLine("");
    }).toThrow(`more than ${MAX_LOG_LINES} lines`);
  });
});
