/** @file `reparam ui`: serves the web page on this machine, until Ctrl-C. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Command, InvalidArgumentError } from "commander";
import { jsonOption } from "./options.ts";
import { runCommand } from "./run-command.ts";

interface UiFlags {
  readonly port: number;
  readonly open?: boolean;
  readonly json?: boolean;
}

export function registerUi(program: Command): void {
  program
    .command("ui")
    .summary("the web page, served on this machine")
    .description(
      "Serves the page on 127.0.0.1 until Ctrl-C. Files dropped on it are read by the browser;\n" +
        "nothing leaves the machine.",
    )
    .option("--port <n>", "port (default: a free one)", portNumber, 0)
    .option("--open", "open it in the browser")
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  reparam ui --open\n  reparam ui --port 8080")
    .action((flags: UiFlags) => serve(flags));
}

function serve(flags: UiFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    const { servePage } = await import("./page-server.ts");
    const server = await servePage(pageFolder(), flags.port);
    context.print([server.url]);
    context.printJson({ schema: "reparam.ui/1", url: server.url });
    context.note("Ctrl-C stops it.");
    if (flags.open) openBrowser(server.url, () => context.note("No browser could be opened."));
    await new Promise<void>((resolve) => {
      context.signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await server.close();
    return 0;
  });
}

/** Beside the compiled command line; from the sources, where the build puts it. */
function pageFolder(): string {
  const built = fileURLToPath(new URL("../web", import.meta.url));
  return existsSync(built) ? built : fileURLToPath(new URL("../../dist/web", import.meta.url));
}

function openBrowser(url: string, onFailure: () => void): void {
  const [program, args]: [string, string[]] =
    process.platform === "darwin"
      ? ["open", [url]]
      : process.platform === "win32"
        ? ["explorer", [url]]
        : ["xdg-open", [url]];
  const child = spawn(program, args, { stdio: "ignore", detached: true });
  child.on("error", onFailure);
  child.unref();
}

function portNumber(text: string): number {
  const value = Number(text);
  if (/^\d{1,5}$/.test(text) && value <= 65535) return value;
  throw new InvalidArgumentError("Expected a port, 0 to 65535.");
}
