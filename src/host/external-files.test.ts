import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isReparamError } from "../core/errors.ts";
import { createExternalFiles } from "./external-files.ts";

let root = "";
let model = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "reparam-external-"));
  await mkdir(join(root, "models", "data"), { recursive: true });
  model = join(root, "models", "model.onnx");
  await writeFile(model, "model");
  await writeFile(join(root, "models", "data", "weights.bin"), "inside");
  await writeFile(join(root, "secret.bin"), "outside");
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function errorOf(location: string): Promise<string> {
  const files = createExternalFiles(model);
  const error: unknown = await files.open(location).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  await files.close();
  return isReparamError(error) ? `${error.tag} | ${error.message}` : `not ours: ${error}`;
}

describe("createExternalFiles", () => {
  test("opens a file in a folder below the model, once", async () => {
    const files = createExternalFiles(model);
    const source = await files.open("data/weights.bin");
    expect(await files.open("data/weights.bin")).toBe(source);
    expect(new TextDecoder().decode(await source.slice(0, 6))).toBe("inside");
    await files.close();
  });

  test.each([
    "../secret.bin",
    "data/../../secret.bin",
    "/etc/passwd",
    "C:/x",
    "data\\weights.bin",
    "",
  ])("refuses the location %j", async (location) => {
    expect(await errorOf(location)).toMatch(/^bad-data \| .*inside the model's folder/);
  });

  test("a missing file is named as the model names it", async () => {
    expect(await errorOf("data/none.bin")).toMatch(
      /^not-found \| .*"data\/none\.bin" does not exist/,
    );
  });

  test("a folder is no data file", async () => {
    expect(await errorOf("data")).toMatch(/^cannot-read \| .*it is a folder/);
  });

  test.runIf(process.platform !== "win32")("a link out of the folder is refused", async () => {
    await symlink(join(root, "secret.bin"), join(root, "models", "link.bin"));
    await symlink(root, join(root, "models", "up"));
    expect(await errorOf("link.bin")).toMatch(/^bad-data \| .*leads outside/);
    expect(await errorOf("up/secret.bin")).toMatch(/^bad-data \| .*leads outside/);
  });

  test.runIf(process.platform !== "win32")("a link within the folder is followed", async () => {
    await symlink(join("data", "weights.bin"), join(root, "models", "link.bin"));
    const files = createExternalFiles(model);
    expect((await files.open("link.bin")).byteLength).toBe(6);
    await files.close();
  });

  test("the number of files is limited", async () => {
    const files = createExternalFiles(model);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 257 }, (_, i) => files.open(`data/${i}.bin`)),
    );
    const last = outcomes[256];
    expect(last?.status === "rejected" && String(last.reason)).toMatch(/more than 256 external/);
    expect(String(outcomes[255]?.status === "rejected" && outcomes[255].reason)).toMatch(
      /not exist/,
    );
    await files.close();
  });
});
