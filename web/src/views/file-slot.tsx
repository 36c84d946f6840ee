/** @file One file: picked, being read, known, or refused with the reason. */

import type { JSX } from "preact";
import { formatBytes } from "../../../src/report/format.ts";
import type { ModelSlot } from "../model-slot.ts";
import { ChoiceForm } from "./choice-form.tsx";
import { FilePicker } from "./file-picker.tsx";
import { TaskStatus } from "./task-status.tsx";

interface Props {
  readonly name: "training" | "deploy";
  readonly title: string;
  readonly hint: string;
  readonly slot: ModelSlot;
  readonly onFile: (file: File | undefined) => void;
}

const ACCEPTED = ".pth,.pt,.ckpt,.tar,.pkl,.th,.safetensors,.onnx";

export function FileSlot({ name, title, hint, slot, onFile }: Props): JSX.Element {
  const subject = slot.subject.value;
  return (
    <div class={`slot slot-${name}`} data-slot={name}>
      <h2 class="slot-title">{title}</h2>
      {subject ? (
        <p class="slot-file">
          <span class="key">{subject.file.name}</span>{" "}
          <span class="soft size">{formatBytes(subject.file.size)}</span>
        </p>
      ) : (
        <p class="soft">{hint}</p>
      )}
      <TaskStatus task={slot.inspection} label="Reading" />
      <ChoiceForm slot={slot} />
      <p class="slot-actions">
        <FilePicker
          label={subject ? "Another file" : "Choose a file"}
          detail={`for the ${title.toLowerCase()}`}
          accept={ACCEPTED}
          onFile={onFile}
        />
        {subject && (
          <button type="button" class="quiet" onClick={() => onFile(undefined)}>
            Remove
          </button>
        )}
      </p>
    </div>
  );
}
