/** @file The part of the state that can be shared as an address: the example, and the block that is looked at. */

import { effect } from "@preact/signals";
import { openExample } from "./drop.ts";
import { chosenBlock, example } from "./page-state.ts";

/** `#example=pair&block=3` */
export function startHashState(): void {
  const read = (): void => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const kind = wanted.get("example");
    const block = wanted.get("block");
    void (async () => {
      if ((kind === "file" || kind === "pair") && kind !== example.value) await openExample(kind);
      if (block !== null && /^\d{1,6}$/.test(block)) chosenBlock.value = Number(block);
    })();
  };
  read();
  addEventListener("hashchange", read);
  effect(() => {
    const shared = new URLSearchParams();
    if (example.value === undefined) {
      // Nothing of a dropped file goes into the address; the one we came with stays until something is opened.
      if (chosenBlock.value === undefined) return;
    } else {
      shared.set("example", example.value);
      if (chosenBlock.value !== undefined) shared.set("block", String(chosenBlock.value));
    }
    const hash = shared.toString();
    history.replaceState(null, "", hash === "" ? location.pathname : `#${hash}`);
  });
}
