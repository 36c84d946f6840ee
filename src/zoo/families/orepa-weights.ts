/** @file OREPA's online-made kernels: every branch is linear in its weights, scaled by its row of `vector`. */

import type { Stone } from "../family.ts";

/**
 * The six (five in RepVGG form) branches of a block whose weights are called `<at>weight_<tag>_…`.
 * `rows`: the rows of `vector` for origin, avg, prior, 1x1_kxk, 1x1 and gconv.
 */
export function orepaBranches(at: string, tag: string, rows: readonly number[]): Stone {
  const key = (name: string) => `${at}weight_${tag}_${name}`;
  const [origin = 0, avg = 0, prior = 0, chain = 0, pointwise = -1, separable = 0] = rows;
  const row = (index: number) => ({ scale: { row: `${at}vector`, index } });
  const idKey = key("1x1_kxk_idconv1");
  const branches: Stone[] = [
    { sequence: [{ conv: { weight: key("origin") } }, row(origin)] },
    {
      sequence: [{ conv: { weight: { multiply: [key("avg_conv"), key("avg_avg")] } } }, row(avg)],
    },
    {
      sequence: [
        {
          conv: {
            weight: { multiply: [key("pfir_conv"), { unsqueeze: key("prior"), axis: 1 }] },
          },
        },
        row(prior),
      ],
    },
    {
      sequence: [
        { conv: { weight: { add: [idKey, `${at}id_tensor`] } }, when: idKey },
        { conv: { weight: key("1x1_kxk_conv1") }, unless: idKey },
        { conv: { weight: key("1x1_kxk_conv2") } },
        row(chain),
      ],
    },
    {
      sequence: [
        { conv: { weight: key("gconv_dw") }, group: "depthwise" },
        { conv: { weight: key("gconv_pw") }, group: "own", rows: "interleaved" },
        row(separable),
      ],
    },
  ];
  if (pointwise >= 0) {
    branches.push({ sequence: [{ conv: { weight: key("1x1") } }, row(pointwise)] });
  }
  return { sum: branches };
}
