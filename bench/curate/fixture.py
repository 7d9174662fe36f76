"""The frozen comparison of `tests/operators/measure/test_parity.py`: texts of this repository, and what peers say.

python -m bench.curate.fixture texts OUT.parquet
PEER/bin/python -m bench.curate.datatrove OUT.parquet DATATROVE.json
PEER/bin/python -m bench.curate.datajuicer OUT.parquet DATAJUICER.json
python -m bench.curate.fixture freeze OUT.parquet DATATROVE.json DATAJUICER.json FIXTURE.json.gz
"""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.curate.corpus import mutated

COUNT = 400
PROSE = (
    "Der Speicher weiß, aus welchem Text er kommt. Wer ihn baut, kann ihn prüfen. ",
    "La mémoire sait d'où vient chaque phrase. Elle peut être vérifiée à tout moment. ",
    "La memoria sabe de qué texto viene. ¿Quién la construye puede comprobarla? ",
    "Pamięć wie, z jakiego tekstu pochodzi. Każdy może ją sprawdzić. ",
    "Память знает, из какого текста она взята. Её можно проверить. ",
    "Η μνήμη ξέρει από ποιο κείμενο προέρχεται. Μπορεί να ελεγχθεί. ",
    "记忆知道它来自哪一段文字。建造它的人可以检查它。",
    "記憶はどの文章から来たかを知っている。作った人はそれを確かめられる。",
    "หน่วยความจำรู้ว่ามาจากข้อความใด ผู้สร้างตรวจสอบได้ ",
    "الذاكرة تعرف من أي نص جاءت. يمكن لمن بناها أن يتحقق منها. ",
    "स्मृति जानती है कि वह किस पाठ से आई है। बनाने वाला इसे जाँच सकता है। ",
    "기억은 어느 글에서 왔는지 안다. 만든 사람은 그것을 확인할 수 있다. ",
)
CASES = (
    "\n",
    " \n\t\n ",
    "word",
    "Lorem ipsum dolor sit amet, and the words that have no end.\n" * 6,
    "We use cookies to make this page better for you.\nThe text of the page stands here, and it ends.\n" * 6,
    "You need JavaScript to see the rest of this page.\nThis is the first line, and that is all.\n" * 5,
    "function of { a brace } in the text.\nThe text of the page stands here, and it ends.\n" * 5,
    "- one of the items of a list\n- the other one\n" * 20,
    "The end of the line is open...\nThe other one is open too\u2026\n" * 10,
    "This sentence is cited. [12] The next one is not [citation needed], and that is it.\n" * 6,
    "The word is " + "x" * 1200 + " and that is the end of it.\n" * 3,
    "# # # # # # # # the and of to\n" * 8,
    "\U0001f600 \U0001f44d\U0001f3fd smile and wave with the hands of that person. " * 12,
    "A\r\nB\r\n\r\nC of the D and that have E.\r\n" * 12,
)


def texts() -> list[str]:
    """Pieces of the pages and the code of this repository, a fifth of them mutated, other languages, and odd cases."""
    root = Path(__file__).parent.parent.parent
    draw = random.Random(5)
    pages = [
        file.read_text()
        for pattern in ("*.md", "docs/*.md", "mnemic/*.py", "operators/*.py", "tests/mnemic/*.py")
        for file in sorted(root.glob(pattern))
    ]
    pieces: list[str] = []
    while len(pieces) < COUNT - len(PROSE) - len(CASES):
        page = draw.choice(pages)
        begin, size = draw.randrange(max(len(page) - 300, 1)), draw.randrange(200, 2500)
        piece = page[begin : begin + size]
        if draw.random() < 0.4:  # prose: code marks would have nearly all of them dropped by one rule
            piece = re.sub(r"[|`*_#\[\](){}=<>\"]", "", piece)
        if len(pieces) % 5 == 4:
            piece = mutated(piece, draw)
        if piece.strip():
            pieces.append(piece)
    return [*pieces, *(sentence * 8 for sentence in PROSE), *CASES]


def main() -> None:
    if sys.argv[1] == "texts":
        rows = texts()
        pq.write_table(pa.table({"id": [str(number) for number in range(len(rows))], "text": rows}), sys.argv[2])
        return
    _, _, documents, datatrove, datajuicer, out = sys.argv
    frozen = {
        "texts": pq.read_table(documents)["text"].to_pylist(),
        "reasons": json.loads(Path(datatrove).read_text())["reasons"],
        "values": json.loads(Path(datajuicer).read_text())["values"],
    }
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(frozen, ensure_ascii=False, separators=(",", ":")).encode()
    Path(out).write_bytes(gzip.compress(data, 9, mtime=0))


if __name__ == "__main__":
    main()
