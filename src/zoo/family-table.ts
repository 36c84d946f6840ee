/** @file The documentation of the built-in families, made from their rows. */

import type { BlockRow, FamilyNotes, FamilyRow } from "./family.ts";

/** docs/families.md: one table, then each family's quirks. */
export function formatFamilyTable(
  families: readonly FamilyRow[],
  notes: Readonly<Record<string, FamilyNotes>>,
): string {
  const rows = families.flatMap((family) =>
    family.blocks.map((block, i) => formatBlock(i === 0 ? family : undefined, block, family)),
  );
  const quirks = families.map(({ name, title }) => {
    const { source, quirks: lines } = notes[name]!;
    return [
      `### ${title} (\`${name}\`)`,
      "",
      `Source: ${source}.`,
      "",
      ...lines.map((line) => `- ${line}`),
    ].join("\n");
  });
  return `${[
    "# Block families",
    "",
    "Made from the rows in `src/zoo/families/` by `scripts/write-families.ts`; a test compares. The key that makes a prefix",
    "a candidate, the deploy keys of the origin, and the BatchNorm epsilon where the file does not say it (a pickled module",
    "does). `+ bn` marks plain convolution and BatchNorm pairs that the origin fuses as well. Another family: [recipes](recipes.md).",
    "",
    "| family | block | known by | fused weight | epsilon |",
    "|---|---|---|---|---|",
    ...rows,
    "",
    "## How a family is chosen",
    "",
    "Families that claim the same keys and would give different results are never chosen between silently. In this order:",
    "`--family` decides; a family that explains all that another explains and more wins; then the shape of the prefixes",
    "(`stage1.0` speaks for RepVGG); then, if the families mean the same for this file, it does not matter; then, where the",
    "file is compared with a deploy file, the family that would have given the names in it. Otherwise the command stops and",
    "lists them. `--family a,pattern=b` says it per prefix.",
    "",
    "A block with keys below its prefix that its row does not explain is reported and left alone: it may have a branch that",
    "would be lost. Branches without keys (a bare identity) are taken where input and output channels agree, and that is",
    "said; `--no-identity` leaves them out.",
    "",
    "## Quirks",
    "",
    quirks.join("\n\n"),
  ].join("\n")}\n`;
}

function formatBlock(first: FamilyRow | undefined, block: BlockRow, family: FamilyRow): string {
  const name = first ? `\`${first.name}\`` : "";
  const kind = block.companion ? `${block.kind} (+ bn)` : block.kind;
  return `| ${name} | ${kind} | \`${block.anchor}\` | \`${block.deploy.weight}\` | ${family.epsilon} |`;
}
