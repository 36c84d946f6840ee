import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { planConversion, writeConversion } from "../../convert/conversion.ts";
import { type ModelFile, openModelFile } from "../../convert/open.ts";
import { memorySink } from "../../core/byte-sink.ts";
import { memorySource } from "../../core/byte-source.ts";
import { CAUSES } from "../../diagnose/causes.ts";
import type { Finding } from "../../diagnose/finding.ts";
import { type Verification, verify } from "../../verify/verify.ts";
import { renderReport } from "./report.ts";

const example = fileURLToPath(new URL("../../../examples/data/repvgg-small.pth", import.meta.url));
const hostile = '<script>alert("1")</script>&\u0007.pth';

let training: ModelFile;
let wrong: Verification;

async function deployOf(epsilon: number | undefined): Promise<ModelFile> {
  const bytes = readFileSync(example);
  const file = await openModelFile(memorySource("train.pth", bytes), { epsilon });
  const sink = memorySink();
  await writeConversion(await planConversion(file, "pytorch"), sink);
  return await openModelFile(memorySource("deploy.pth", sink.bytes()));
}

beforeAll(async () => {
  training = await openModelFile(memorySource("train.pth", readFileSync(example)));
  wrong = await verify(training, await deployOf(1e-3));
});

const facts = (path: string) => ({ path, sizeBytes: 1000 });

/** Anything that a browser would fetch or run. */
const REACHES_OUT = /<script|<link|<img|<iframe|\bsrc=|\bhref=|url\(|@import|https?:/i;

describe("a report", () => {
  test("of a comparison says the verdict in words, names every block and needs nothing else", () => {
    const result = {
      training: facts("a/train.pth"),
      deploy: facts("b/deploy.pth"),
      verification: wrong,
      golden: undefined,
    };
    const html = renderReport({ command: "verify", result });
    expect(html).toContain("The deploy model is a different function.");
    // One row per block of the example.
    expect(html.match(/class="tone-bad"><th scope="row"/g)).toHaveLength(8);
    expect(html).toContain('<th scope="row" class="name" title="stage2.1');
    expect(html).not.toMatch(REACHES_OUT);
    expect(renderReport({ command: "verify", result })).toBe(html);
  });

  test("of a diagnosis has each finding with its fix", () => {
    const finding: Finding = {
      cause: "bn-epsilon",
      detail: "deploy used 1e-3 <b>",
      blocks: ["stage0"],
      confidence: "proved",
      evidence: {},
      effect: undefined,
      fix: "Set bn.eps & convert again.",
    };
    const result = {
      training: facts("train.pth"),
      deploy: facts("deploy.pth"),
      verification: wrong,
      findings: [finding],
    };
    const html = renderReport({ command: "diagnose", result, causes: CAUSES });
    expect(html).toContain('data-cause="bn-epsilon"');
    expect(html).toContain("deploy used 1e-3 &lt;b&gt;");
    expect(html).toContain("Set bn.eps &amp; convert again.");
  });

  test("of a conversion lists what was fused", async () => {
    const conversion = await planConversion(training, "pytorch");
    const html = renderReport({
      command: "convert",
      result: {
        input: facts("train.pth"),
        output: facts("deploy.pth"),
        conversion,
        layout: undefined,
        written: { nonFinite: [{ name: "linear.weight", index: 7 }] },
        verification: await verify(training, await deployOf(undefined)),
        published: true,
      },
    });
    expect(html).toContain("8 blocks fused");
    expect(html).toContain("[24, 24, 3, 3]");
    expect(html).toContain("linear.weight: element 7 is NaN or an infinity");
    expect(html).toContain("EXACT-FOLD");
    expect(html).not.toMatch(REACHES_OUT);
  });

  test("writes names of files as text, whatever they hold", () => {
    const html = renderReport({
      command: "verify",
      result: {
        training: facts(hostile),
        deploy: facts("deploy.pth"),
        verification: wrong,
        golden: undefined,
      },
    });
    expect(html).not.toContain("<script");
    expect(html).toContain("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;\ufffd.pth");
  });
});
