/** @file Every container of the large test data is read, and its values are those of the plain checkpoint. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { type ByteSource, memorySource } from "../src/core/byte-source.ts";
import { decodeFloat64 } from "../src/core/dtype.ts";
import { isReparamError } from "../src/core/errors.ts";
import { elementCount, readFloat64, type StateDict } from "../src/core/tensor.ts";
import { chooseStateDict, readCheckpoint } from "../src/formats/checkpoint.ts";
import { readNpy } from "../src/formats/npy/read-npy.ts";
import { splitPrefix } from "../src/formats/wrappers.ts";
import { dataFolder } from "./data-folder.ts";

const folder = dataFolder();
if (folder === undefined) console.log("acceptance-formats: not run, no data folder (REPARAM_DATA)");

interface Variant {
  readonly file: string;
  readonly state: string | readonly string[];
  readonly strip: string;
  readonly same_values: string;
  readonly also?: { readonly state: readonly string[]; readonly strip?: string };
}

function source(path: string): ByteSource {
  return memorySource(basename(path), readFileSync(path));
}

function filesUnder(root: string, endings: RegExp): string[] {
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((name) => endings.test(name))
    .map((name) => join(root, name))
    .sort();
}

function statePath(state: Variant["state"]): string {
  if (typeof state === "string") return "";
  return state.filter((part) => part !== "<module>").join(".");
}

async function values(state: StateDict): Promise<Map<string, Float64Array>> {
  const result = new Map<string, Float64Array>();
  for (const [name, lazy] of state.tensors) result.set(name, await readFloat64(lazy));
  return result;
}

describe.runIf(folder !== undefined)("containers", () => {
  const wrappers = join(folder ?? "", "fixtures/wrappers");
  const caseFile = join(wrappers, "case.json");
  const variants: Variant[] = existsSync(caseFile)
    ? JSON.parse(readFileSync(caseFile, "utf8")).variants
    : [];

  test("the case lists its containers", () => {
    expect(variants.length).toBeGreaterThan(40);
  });

  test.each(variants.map((v) => [v.file, v] as const))("%s", async (file, variant) => {
    const plain = await readCheckpoint(source(join(wrappers, "train.pth")));
    const expected = await values(chooseStateDict(plain).state);
    const checkpoint = await readCheckpoint(source(join(wrappers, file)));
    const path = statePath(variant.state);
    const paths = checkpoint.candidates.map((candidate) => candidate.path);
    if (variant.also) {
      expect([...paths].sort()).toEqual([path, statePath(variant.also.state)].sort());
      expect(() => chooseStateDict(checkpoint)).toThrow("--key");
    } else expect(paths).toEqual([path]);
    const { state } = chooseStateDict(checkpoint, path);
    const { prefix } = splitPrefix(state.tensors.keys());
    expect(prefix).toBe(variant.strip);
    if (variant.same_values.startsWith("deploy") || variant.same_values.startsWith("first")) return;
    let compared = 0;
    for (const [name, want] of expected) {
      const lazy = state.tensors.get(prefix + name);
      if (!lazy && name.endsWith("num_batches_tracked")) continue;
      expect(lazy, name).toBeDefined();
      const got = await readFloat64(lazy!);
      compared += got.length;
      if (variant.same_values === "exact") expect(got, name).toEqual(want);
      else expectRounded(name, got, want);
    }
    // 96 keys in train.pth; every variant holds all its weights.
    expect(compared).toBeGreaterThan(7000);
  });
});

/** Rounded once to float16 or bfloat16: within 2^-8 relatively (bfloat16's unit roundoff), or float16's smallest step. */
function expectRounded(name: string, got: Float64Array, want: Float64Array): void {
  expect(got.length, name).toBe(want.length);
  got.forEach((value, i) => {
    const bound = Math.max(Math.abs(want[i]!) * 2 ** -8, 2 ** -24);
    expect(Math.abs(value - want[i]!), `${name}[${i}]`).toBeLessThanOrEqual(bound);
  });
}

describe.runIf(folder !== undefined)("every file", () => {
  const roots = ["fixtures", "real"].map((name) => join(folder ?? "", name));
  const all = roots.flatMap((root) =>
    existsSync(root) ? filesUnder(root, /\.(pth|pt|ckpt|tar|pkl|th|safetensors|npy)$/) : [],
  );

  test("there are many", () => {
    expect(all.length).toBeGreaterThan(100);
  });

  test("is read or refused with a reason", async () => {
    const refused: string[] = [];
    for (const path of all) {
      try {
        if (path.endsWith(".npy")) {
          const lazy = await readNpy(source(path));
          const bytes = await lazy.read();
          expect(decodeFloat64(bytes, lazy.dtype).length).toBe(elementCount(lazy.shape));
          continue;
        }
        const checkpoint = await readCheckpoint(source(path));
        expect(checkpoint.candidates.length, path).toBeGreaterThan(0);
        for (const { state } of checkpoint.candidates) {
          for (const lazy of state.tensors.values()) await lazy.read();
        }
      } catch (error) {
        if (!isReparamError(error, "bad-data")) throw error;
        refused.push(`${basename(path)}: ${error.message}`);
      }
    }
    expect(refused).toEqual([]);
  });
});
