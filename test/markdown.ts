/** @file Just enough Markdown for the checks of the documentation: links, headings, fenced blocks, simple shell lines. */

export interface FencedBlock {
  /** Words after the fence: language first, e.g. `["ts", "run"]`. */
  readonly info: readonly string[];
  readonly text: string;
  /** 1-based line of the opening fence. */
  readonly line: number;
}

export interface Page {
  readonly blocks: readonly FencedBlock[];
  /** The page without fenced blocks and inline code. */
  readonly prose: string;
}

export function parsePage(markdown: string): Page {
  const blocks: FencedBlock[] = [];
  const prose: string[] = [];
  let open: { info: string[]; lines: string[]; line: number; fence: string } | undefined;
  for (const [index, line] of markdown.replaceAll("\r\n", "\n").split("\n").entries()) {
    const fence = /^\s*(`{3,}|~{3,})\s*(.*)$/.exec(line);
    if (open === undefined && fence !== null) {
      const info = fence[2]!.split(/\s+/).filter((word) => word !== "");
      open = { info, lines: [], line: index + 1, fence: fence[1]! };
    } else if (open !== undefined && fence?.[1]?.startsWith(open.fence) && fence[2] === "") {
      blocks.push({ info: open.info, text: open.lines.join("\n"), line: open.line });
      open = undefined;
    } else if (open !== undefined) open.lines.push(line);
    else prose.push(line.replace(/`[^`]*`/g, (code) => (line.startsWith("#") ? code : "")));
  }
  return { blocks, prose: prose.join("\n") };
}

/** Targets of links and images, without titles. */
export function linksOf(prose: string): string[] {
  const inline = [...prose.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g)];
  const reference = [...prose.matchAll(/^\[[^\]]+\]:\s+(\S+)/gm)];
  return [...inline, ...reference].map((match) => match[1]!);
}

/** The anchors of a page's headings, as code hosts make them: lower case, punctuation dropped, spaces to hyphens. */
export function anchorsOf(prose: string): string[] {
  const seen = new Map<string, number>();
  return [...prose.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)].map((match) => {
    const text = match[1]!.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = text.replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count === 0 ? slug : `${slug}-${count}`;
  });
}

export interface ShellCommand {
  readonly words: readonly string[];
  /** From a trailing `# exit N`; 0 by default. */
  readonly exitCode: number;
}

/**
 * The commands of a `sh run` block: one a line, `\` continues a line, `# exit N` at its end says how it must exit.
 * If a line starts with `$ `, only such lines are commands and the rest shows output. Quotes group words; nothing is
 * expanded, and what would need a shell (pipes, redirections, variables, globs) is an error.
 */
export function shellCommands(text: string): ShellCommand[] {
  const lines = text.replace(/\\\n\s*/g, " ").split("\n");
  const prompted = lines.some((line) => line.startsWith("$ "));
  const commands: ShellCommand[] = [];
  for (const line of lines) {
    if (prompted && !line.startsWith("$ ")) continue;
    const [command, comment = ""] = (prompted ? line.slice(2) : line).split(/(?:^|\s)#\s?/, 2);
    if (command!.trim() === "") continue;
    const exitCode = Number(/^exit (\d+)\b/.exec(comment)?.[1] ?? 0);
    commands.push({ words: splitWords(command!), exitCode });
  }
  return commands;
}

function splitWords(command: string): string[] {
  return [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map((match) => {
    const bare = match[3];
    if (bare !== undefined && /[|&;<>$`*?()"']/.test(bare)) {
      throw new Error(`needs a shell: ${command.trim()}`);
    }
    return match[1] ?? match[2] ?? bare!;
  });
}
