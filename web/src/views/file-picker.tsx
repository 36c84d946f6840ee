/** @file A button that asks for one file. */

import type { JSX } from "preact";

interface Props {
  readonly label: string;
  /** For screen readers, where the label alone is not enough. */
  readonly detail?: string;
  readonly accept: string;
  readonly onFile: (file: File) => void;
}

export function FilePicker({ label, detail, accept, onFile }: Props): JSX.Element {
  return (
    <label class="button">
      {label}
      {detail !== undefined && <span class="visually-hidden"> {detail}</span>}
      <input
        type="file"
        accept={accept}
        onChange={(event) => {
          const [file] = event.currentTarget.files ?? [];
          if (file) onFile(file);
          // The same file may be chosen again after it was changed.
          event.currentTarget.value = "";
        }}
      />
    </label>
  );
}
