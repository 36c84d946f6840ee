/** @file Where files come in: dropped anywhere on the page, or picked. */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { openDrop, openExample } from "../drop.ts";
import { deploy, openInSlot, training } from "../page-state.ts";
import { FileSlot } from "./file-slot.tsx";

export function DropZone(): JSX.Element {
  const over = useSignal(false);
  useEffect(() => {
    let depth = 0;
    const enter = (event: DragEvent): void => {
      event.preventDefault();
      if (event.type === "dragenter") depth++;
      over.value = true;
    };
    const leave = (): void => {
      depth--;
      if (depth <= 0) over.value = false;
    };
    const drop = (event: DragEvent): void => {
      event.preventDefault();
      depth = 0;
      over.value = false;
      const slot = (event.target as Element | null)?.closest<HTMLElement>("[data-slot]");
      void openDrop([...(event.dataTransfer?.files ?? [])], slot?.dataset["slot"]);
    };
    document.addEventListener("dragenter", enter);
    document.addEventListener("dragover", enter);
    document.addEventListener("dragleave", leave);
    document.addEventListener("drop", drop);
    return () => {
      document.removeEventListener("dragenter", enter);
      document.removeEventListener("dragover", enter);
      document.removeEventListener("dragleave", leave);
      document.removeEventListener("drop", drop);
    };
  }, [over]);
  const empty = !training.subject.value && !deploy.subject.value;
  return (
    <section aria-label="Files" class={over.value ? "files over" : "files"}>
      <FileSlot
        name="training"
        title="Training form"
        hint="The checkpoint or ONNX model with all its branches."
        slot={training}
        onFile={(file) => void openInSlot("training", file)}
      />
      <FileSlot
        name="deploy"
        title="Deploy form"
        hint="Optional: a converted model to compare with."
        slot={deploy}
        onFile={(file) => void openInSlot("deploy", file)}
      />
      {empty && (
        <p class="files-note">
          Drop files anywhere on this page: <code>.pth</code> <code>.pt</code> <code>.ckpt</code>{" "}
          <code>.safetensors</code> <code>.onnx</code>, up to 2 GB, or the <code>run.jsonl</code> of
          a training run. They are read here and sent nowhere.{" "}
          <button type="button" class="link" onClick={() => void openExample("file")}>
            Show an example
          </button>{" "}
          or{" "}
          <button type="button" class="link" onClick={() => void openExample("pair")}>
            a conversion that went wrong
          </button>
          .
        </p>
      )}
    </section>
  );
}
