"""Kinds of personal data, and the column of documents that says where they stand."""

from __future__ import annotations

import pyarrow as pa

PERSONAL_KINDS = ("email", "ip", "phone", "iban", "card", "key")
"""E-mail addresses, public network addresses, telephone numbers, bank accounts, payment cards, keys and tokens."""

PII = pa.list_(
    pa.struct(
        [
            pa.field("begin", pa.int64(), nullable=False),  # character range in the document: text[begin:end]
            pa.field("end", pa.int64(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
        ]
    )
)
"""The column `pii` of documents, in reading order; spans do not overlap."""
