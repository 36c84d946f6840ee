/** Builds `dist/` whatever its state. Throws if the compiler reports an error. */
export function build(): Promise<void>;
/** Builds `dist/` if it is missing or older than the sources. */
export function ensureBuild(): Promise<void>;
