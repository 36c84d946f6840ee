/** @file The net's figure and the block that is looked at. */

import { useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { chosenBlock } from "../page-state.ts";
import { createTask } from "../task.ts";
import type { BlockView, FileView, NetView, Subject } from "../worker/protocol.ts";
import { callWorker } from "../worker-client.ts";
import { BlockDetail } from "./block-detail.tsx";
import { NetFigure } from "./net-figure.tsx";
import { TaskStatus } from "./task-status.tsx";

export function NetSection({
  view,
  subject,
}: {
  view: FileView;
  subject: Subject;
}): JSX.Element | null {
  const { net, block } = useMemo(() => {
    const drawing = createTask<NetView>();
    void drawing.run((options) => callWorker("net", { subject }, options));
    return { net: drawing, block: createTask<BlockView>() };
  }, [subject]);
  useSignalEffect(() => {
    const chosen = view.inspection.blocks[chosenBlock.value ?? -1];
    if (!chosen || chosen.branches.length === 0) block.reset();
    else void block.run((options) => callWorker("block", { subject, name: chosen.name }, options));
  });
  if (view.inspection.blocks.length === 0) return null;
  const [drawn, taken] = [net.state.value, block.state.value];
  return (
    <section aria-labelledby="net">
      <h2 id="net">The network</h2>
      <TaskStatus task={net} label="Drawing" />
      {drawn.type === "done" && <NetFigure net={drawn.result} />}
      <TaskStatus task={block} label="Taking the block apart" />
      {taken.type === "done" && <BlockDetail block={taken.result} />}
    </section>
  );
}
