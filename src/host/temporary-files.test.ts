import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { registerTemporary, releaseTemporary } from "./temporary-files.ts";

let folder = "";
let path = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "reparam-temporary-"));
  path = join(folder, ".out.tmp");
  await writeFile(path, "half");
});
afterEach(async () => {
  vi.restoreAllMocks();
  releaseTemporary(path);
  await rm(folder, { recursive: true, force: true });
});

/** Our own listener for an event: the one that registering added. */
function addedListener(
  event: "exit" | "SIGINT",
  register: () => void,
): (argument: unknown) => void {
  const before = new Set(process.rawListeners(event));
  register();
  const added = process.rawListeners(event).filter((listener) => !before.has(listener));
  expect(added).toHaveLength(1);
  return added[0] as (argument: unknown) => void;
}

describe("temporary files", () => {
  test("are removed when the process exits", () => {
    addedListener("exit", () => registerTemporary(path))(0);
    expect(existsSync(path)).toBe(false);
  });

  test("are removed on SIGINT, which then ends the process as it would without us", () => {
    const others = process.listeners("SIGINT");
    for (const other of others) process.off("SIGINT", other);
    const kill = vi.spyOn(process, "kill").mockReturnValue(true);
    addedListener("SIGINT", () => registerTemporary(path))("SIGINT");
    for (const other of others) process.on("SIGINT", other);
    expect(existsSync(path)).toBe(false);
    expect(kill).toHaveBeenCalledWith(process.pid, "SIGINT");
  });

  test("are left to whoever else listens to SIGINT", () => {
    const kill = vi.spyOn(process, "kill").mockReturnValue(true);
    const other = (): void => {};
    process.on("SIGINT", other);
    addedListener("SIGINT", () => registerTemporary(path))("SIGINT");
    process.off("SIGINT", other);
    expect(existsSync(path)).toBe(true);
    expect(kill).not.toHaveBeenCalled();
  });

  test("no listener stays when no temporary file is left", () => {
    const before = process.listenerCount("exit");
    registerTemporary(path);
    releaseTemporary(path);
    expect(process.listenerCount("exit")).toBe(before);
    expect(existsSync(path)).toBe(true);
  });
});
