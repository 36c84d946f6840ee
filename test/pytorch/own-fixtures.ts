/** @file The committed fixtures of test/fixtures, made by scripts/make-fixtures.py. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** What a case.json says. Arch fields are those of `test/pytorch/repvgg.py`. */
export interface FixtureRecord {
  readonly case: string;
  readonly epsilon: number;
  readonly checkpoint: {
    readonly format: "pytorch-zip" | "pytorch-legacy";
    readonly container: "state_dict" | "wrapper" | "module";
    /** Dotted place of the state dict in the file, `""` for the file itself. */
    readonly key: string;
    readonly prefix: string;
    readonly dtype: "float32" | "float16";
  };
  readonly trainKeys: number;
  readonly deployKeys: number;
  readonly input: readonly number[];
  readonly output: readonly number[];
}

export interface Fixture {
  readonly folder: string;
  /** Of the file names `deploy<suffix>.pth` and `y_train_f64<suffix>.npy`. */
  readonly suffix: "" | "-ema";
  readonly record: FixtureRecord;
}

/** Every case with a case.json, by name; a training script's wrapper counts twice, its EMA weights being a second net. */
export function ownFixtures(): Fixture[] {
  const root = fileURLToPath(new URL("../fixtures", import.meta.url));
  return readdirSync(root)
    .map((name) => join(root, name))
    .filter((folder) => existsSync(join(folder, "case.json")))
    .flatMap((folder) => {
      const record = JSON.parse(readFileSync(join(folder, "case.json"), "utf8")) as FixtureRecord;
      const fixture: Fixture = { folder, suffix: "", record };
      return record.checkpoint.container === "wrapper" ? [fixture, emaOf(fixture)] : [fixture];
    });
}

function emaOf({ folder, record }: Fixture): Fixture {
  const checkpoint = { ...record.checkpoint, key: "ema", prefix: "" };
  return {
    folder,
    suffix: "-ema",
    record: { ...record, case: `${record.case} (EMA)`, checkpoint },
  };
}
