#!/usr/bin/env node
/** @file The `reparam` command: finds the command that was named, loads it, runs it. */

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { COMMANDS } from "./commands.ts";
import { ERROR_EXIT_CODES, EXIT_CODE_HELP } from "./exit-codes.ts";
import { reportError } from "./run-command.ts";

const { version } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
) as { version: string };

async function main(args: readonly string[]): Promise<void> {
  const named = args.find((word) => !word.startsWith("-")) ?? "";
  const program = new Command("reparam")
    .description(
      "Turns multi-branch networks (RepVGG, MobileOne, DBB, YOLO RepConv …) into\n" +
        "their deploy form, and proves that both are the same function.",
    )
    .version(version, "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .addHelpText("after", `\n${EXIT_CODE_HELP}`)
    .exitOverride()
    .configureOutput({
      outputError: (text, write) =>
        write(`${usageLine(text, Object.hasOwn(COMMANDS, named) ? named : "")}\n`),
    })
    .configureHelp({ showGlobalOptions: false });
  // Only the command that was called; all of them for the list of commands and for suggestions.
  const wanted = Object.hasOwn(COMMANDS, named) ? [named] : Object.keys(COMMANDS);
  for (const name of wanted) (await COMMANDS[name]!())(program);
  for (const command of program.commands) command.exitOverride().copyInheritedSettings(program);
  if (args.length === 0) program.help();
  await program.parseAsync(args, { from: "user" });
}

/** Commander's message as one line that says where the help is. */
function usageLine(text: string, command: string): string {
  const line = text.trim().replace(/\s*\n\s*/g, ". ");
  const help = ["reparam", command, "--help"].filter((part) => part !== "").join(" ");
  return `${/[.?!)]$/.test(line) ? line : `${line}.`} See ${help}.`;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  // Commander has printed its message (or the help) already.
  process.exitCode =
    error instanceof CommanderError
      ? error.exitCode === 0
        ? 0
        : ERROR_EXIT_CODES.usage
      : reportError(error);
}
