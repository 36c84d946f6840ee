/**
 * @file The commands and where their modules are. A module is loaded when its command is called (or for the list of
 * all), and loads what it needs when it runs: start-up time counts.
 */

import type { Command } from "commander";

type Register = (program: Command) => void;

/** In the order of the help. */
export const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  inspect: async () => (await import("./inspect.ts")).registerInspect,
  convert: async () => (await import("./convert.ts")).registerConvert,
  verify: async () => (await import("./verify.ts")).registerVerify,
  diagnose: async () => (await import("./diagnose.ts")).registerDiagnose,
  plan: async () => (await import("./plan.ts")).registerPlan,
  insert: async () => (await import("./insert.ts")).registerInsert,
  create: async () => (await import("./create.ts")).registerCreate,
  train: async () => (await import("./train.ts")).registerTrain,
  demo: async () => (await import("./demo.ts")).registerDemo,
  ui: async () => (await import("./ui.ts")).registerUi,
};
