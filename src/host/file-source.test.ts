import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  rm,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isReparamError } from "../core/errors.ts";
import { openFile } from "./file-source.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "reparam-source-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const fileOf = async (bytes: Uint8Array): Promise<string> => {
  const path = join(folder, "model.bin");
  await writeFile(path, bytes);
  return path;
};

const errorOf = async (promise: Promise<unknown>): Promise<string> => {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return isReparamError(error) ? `${error.tag} | ${error.message}` : `not ours: ${error}`;
};

describe("openFile", () => {
  test("reads any range, the empty one too", async () => {
    const source = await openFile(await fileOf(Uint8Array.of(1, 2, 3, 4, 5)));
    expect(source.byteLength).toBe(5);
    expect([...(await source.slice(1, 4))]).toEqual([2, 3, 4]);
    expect([...(await source.slice(0, 5))]).toEqual([1, 2, 3, 4, 5]);
    expect((await source.slice(5, 5)).byteLength).toBe(0);
    await source.close();
    await source.close();
  });

  test.each([
    [-1, 2],
    [0, 6],
    [3, 2],
    [Number.NaN, 2],
  ])("a range outside the file is a bug of the caller: %d to %d", async (start, end) => {
    const source = await openFile(await fileOf(new Uint8Array(5)));
    expect(await errorOf(source.slice(start, end))).toMatch(/^internal \| .*of a file of 5/);
    await source.close();
  });

  test("a missing file is not-found", async () => {
    expect(await errorOf(openFile(join(folder, "none.pth")))).toMatch(
      /^not-found \| .*no such file/,
    );
  });

  test("a part of the path that is a file is named", async () => {
    const path = await fileOf(new Uint8Array(1));
    expect(await errorOf(openFile(join(path, "inner.pth")))).toMatch(/^cannot-read \|.*ENOTDIR/);
  });

  test("a folder is refused with what to do", async () => {
    await mkdir(join(folder, "sub"));
    expect(await errorOf(openFile(join(folder, "sub")))).toMatch(
      /^cannot-read \| .*it is a folder, expected a file\. Name a file inside it\.$/,
    );
  });

  test("an empty file is bad data", async () => {
    expect(await errorOf(openFile(await fileOf(new Uint8Array(0))))).toMatch(
      /^bad-data \| .*empty/,
    );
  });

  test.runIf(process.platform !== "win32")("a device is refused", async () => {
    expect(await errorOf(openFile("/dev/null"))).toMatch(/^cannot-read \| .*it is a device/);
  });

  test.runIf(process.platform !== "win32" && process.getuid?.() !== 0)(
    "a file without read permission is refused",
    async () => {
      const path = await fileOf(new Uint8Array(1));
      await chmod(path, 0);
      expect(await errorOf(openFile(path))).toMatch(
        /^cannot-read \| .*permission denied \(EACCES\)/,
      );
    },
  );

  test("a file cut short while it is open is an error, not zeros", async () => {
    const path = await fileOf(new Uint8Array(100));
    const source = await openFile(path);
    await truncate(path, 10);
    expect(await errorOf(source.slice(50, 100))).toMatch(
      /^cannot-read \| .*changed while.*at byte 50/,
    );
    await source.close();
  });

  test("a file that grows while it is open is an error", async () => {
    const path = await fileOf(new Uint8Array(100));
    const source = await openFile(path);
    await appendFile(path, "x");
    expect(await errorOf(source.slice(0, 10))).toMatch(/^cannot-read \| .*from 100 to 101 bytes/);
    await source.close();
  });

  test("a file rewritten in place is an error", async () => {
    const path = await fileOf(new Uint8Array(100));
    const source = await openFile(path);
    await utimes(path, 1, 1);
    expect(await errorOf(source.slice(0, 10))).toMatch(/^cannot-read \| .*modification time/);
    await source.close();
  });
});
