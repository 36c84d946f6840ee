/** @file The confusion matrix of injected and answered causes, printed in one line. */

import type { CauseId } from "../../src/diagnose/causes.ts";

export interface Confusion {
  add(injected: CauseId, answered: readonly CauseId[]): void;
  print(): void;
}

export function createConfusion(level: string): Confusion {
  const rows = new Map<CauseId, Map<string, number>>();
  return {
    add: (injected, answered) => {
      const row = rows.get(injected) ?? new Map<string, number>();
      const answer = answered.join(" + ") || "nothing";
      rows.set(injected, row.set(answer, (row.get(answer) ?? 0) + 1));
    },
    print: () => {
      const off = [...rows].flatMap(([cause, row]) =>
        [...row]
          .filter(([answer]) => answer !== cause)
          .map(([answer, n]) => `${cause} → ${answer} ${n}×`),
      );
      const right = [...rows].map(([cause, row]) => `${cause} ${row.get(cause) ?? 0}`);
      console.log(
        `diagnosis of ${level}, injected → answered: diagonal ${right.join(", ")}; off it: ${off.join(", ") || "none"}`,
      );
    },
  };
}
