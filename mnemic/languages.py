"""The languages that lid.176 tells apart, by the codes that it gives them, and the column that holds its answer."""

from __future__ import annotations

import pyarrow as pa

_CODES = """
af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da de
diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id ie
ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn mr
mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah
sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu
xal xmf yi yo yue zh
"""

LANGUAGES = tuple(_CODES.split())

LANGUAGE = pa.struct(
    [
        pa.field("language", pa.string(), nullable=False),  # the most probable one
        pa.field("score", pa.float32(), nullable=False),  # its probability
        pa.field("second", pa.float32(), nullable=False),  # that of the next; 0 below .00001
    ]
)
"""The column `language` of documents, which the step of that name writes."""
