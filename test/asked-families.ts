/** @file Cases of the large test data whose keys alone do not say the family: what the user would have to say. */

const ASKED: Readonly<Record<string, string>> = {
  "qarepvgg-yolov6": "qarepvgg,rep2=qarepvgg-v2,rep3=qarepvgg-v2",
  "originbug-zcls-reflect": "zcls-repvgg",
  "yolov6-repvgg": "yolov6",
  "zcls-insert-acb": "zcls-acb",
  "zcls-insert-dbb": "zcls-dbb",
};

/** The `--family` of a case; undefined where none is needed. */
export function askedFamily(name: string): string | undefined {
  const inserted = name.startsWith("zcls-insert-small") || name.startsWith("zcls-insert-vgg6");
  return inserted ? "zcls-repvgg" : ASKED[name];
}
