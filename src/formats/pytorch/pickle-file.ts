/** @file What reading either PyTorch container gives: the unpickled object and where its storages are. */

import type { PickleValue } from "./pickle-value.ts";
import type { StorageLocator } from "./storage-locator.ts";

export interface PickleFile {
  readonly root: PickleValue;
  readonly locate: StorageLocator;
}
