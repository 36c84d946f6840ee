/**
 * @file The rooms of `src/` and what each may import: the table of docs/architecture.md as data.
 * `test/architecture.test.ts` holds the source and that page to it.
 */

export interface Room {
  readonly name: string;
  /** One line: what belongs here. */
  readonly holds: string;
  /** Rooms that it may import. */
  readonly rooms: readonly string[];
  /** Rooms of which it may import types only. */
  readonly types: readonly string[];
  /** npm packages that it may import. */
  readonly packages: readonly string[];
  /** Whether `node:*` modules may be imported. Everything else runs in a browser. */
  readonly node: boolean;
}

function room(
  name: string,
  holds: string,
  rooms: string,
  rest: { types?: string; packages?: string; node?: boolean } = {},
): Room {
  const words = (text = ""): string[] => text.split(" ").filter((word) => word !== "");
  return {
    name,
    holds,
    rooms: words(rooms),
    types: words(rest.types),
    packages: words(rest.packages),
    node: rest.node ?? false,
  };
}

const UP_TO_DIAGNOSE = "core ir algebra formats rewrite zoo runtime convert verify";
const ALL_SHARED = `${UP_TO_DIAGNOSE} diagnose train report`;

export const ROOMS: readonly Room[] = [
  room("core", "dtypes, tensors, byte sources and sinks, seeded numbers, the error class", ""),
  room("ir", "the graph: model, nodes, shape inference, validation, edits, printing", "core"),
  room("algebra", "affine values and their rules, float64 kernels, rounding counts", "core"),
  room("formats", "PyTorch, safetensors, ONNX, npy: bytes ⇄ checkpoint or model", "core ir", {
    packages: "@bufbuild/protobuf",
  }),
  room("rewrite", "affine regions, plan and apply, insertion, clean-up", "core ir algebra"),
  room("zoo", "block families and RepVGG nets as data, builders", "core ir algebra"),
  room("runtime", "an adapter over onnxruntime, float64 lowering, taps", "core ir formats", {
    packages: "onnxruntime-common",
  }),
  room(
    "convert",
    "checkpoint → checkpoint, checkpoint → ONNX, ONNX → ONNX",
    "core ir algebra formats rewrite zoo",
  ),
  room(
    "verify",
    "certificates, metrics, noise floor, verdict",
    "core ir algebra formats rewrite zoo runtime convert",
  ),
  room("diagnose", "hypotheses, least squares per block, findings", UP_TO_DIAGNOSE),
  room(
    "train",
    "gradient rules, losses, optimizers, schedules, the loop, data sets",
    "core ir formats rewrite runtime",
  ),
  room("report", "one result model → text, JSON, HTML", "core ir", {
    types: "formats rewrite zoo convert verify diagnose train",
  }),
  room(
    "host",
    "Node's files and onnxruntime-node; whole jobs from file to file",
    "core ir formats rewrite zoo runtime convert verify diagnose train",
    {
      types: "report",
      packages: "onnxruntime-common onnxruntime-node sharp",
      node: true,
    },
  ),
  room("cli", "one file per command, terminal output", `${ALL_SHARED} host`, {
    packages: "commander",
    node: true,
  }),
];

/** Files directly under `src/`: the two public entry points. */
export const ENTRY_POINTS: readonly Room[] = [
  room("index.ts", "the browser-safe public API, an explicit list", ALL_SHARED),
  room("node.ts", "index.ts and what needs Node", `${ALL_SHARED} host index.ts`, { node: true }),
];

/** What the page (`web/`, beside `src/`) may import from npm; of `src/` it may import every room that needs no Node. */
export const PAGE_PACKAGES: readonly string[] = [
  "@dagrejs/dagre",
  "@preact/signals",
  "onnxruntime-web",
  "preact",
];

/** The table as it stands in docs/architecture.md. */
export function formatRoomTable(): string {
  const list = (words: readonly string[]): string => words.join(" ") || "–";
  const imports = (r: Room): string =>
    r.types.length === 0 ? list(r.rooms) : `${list(r.rooms)}; types of ${list(r.types)}`;
  const row = (r: Room, label: string): string =>
    `| \`${label}\` | ${r.holds} | ${imports(r)} | ${list([...r.packages, ...(r.node ? ["node:*"] : [])])} |`;
  return [
    "| room | what belongs here | may import | from outside |",
    "|---|---|---|---|",
    ...ROOMS.map((r) => row(r, `${r.name}/`)),
    ...ENTRY_POINTS.map((r) => row(r, r.name)),
  ].join("\n");
}
