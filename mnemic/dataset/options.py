"""Options that open an object store: their names, bounds on waiting, and secrets that stay out of sight.

Lance reads the usual variables of the environment by itself (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION or AWS_DEFAULT_REGION, AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_S3,
AWS_ALLOW_HTTP), and it commits by conditional put (`If-None-Match: *`) without being told; `aws_conditional_put` other
than `etag` makes it refuse to write. This module adds:

* Errors for an unknown option, which Lance ignores in silence, and for a malformed address, which kills it.
* An option beats the environment. Lance lets AWS_ENDPOINT_URL_S3 beat the option `aws_endpoint`.
* An endpoint that says `http://` needs no `allow_http`.
* Lance waits 30 s for each of the 24 requests that opening a dataset makes of a store that hangs: 12 minutes, three
  times. With `BOUNDS` the error comes after 15 s from a store that refuses connections, after 65 s from one that hangs
  or drops them, and after twice that where a commit was under way.

`read_timeout` bounds silence while reading, and the whole of an upload (5 MB): on a line slower than 5 MB/s set it
higher.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from mnemic.errors import BankError

BOUNDS = {
    "connect_timeout": "5s",
    "read_timeout": "10s",
    "timeout": "120s",
    "client_max_retries": "3",
    "client_retry_timeout": "10",
}
"""How long Lance waits: for a connection, for a byte, for a whole request; how often and how long it tries again."""

S3_OPTIONS = frozenset(
    """
    access_key_id secret_access_key session_token provider_scheme skip_signature
    endpoint region virtual_hosted_style_request s3_express request_payer
    conditional_put copy_if_not_exists checksum_algorithm unsigned_payload disable_tagging
    server_side_encryption sse_kms_key_id sse_bucket_key_enabled sse_customer_key_base64
    """.split()  # noqa: SIM905 - a table is read more easily without quotes
)
"""Options of S3, without the `aws_` before them."""

CLIENT_OPTIONS = frozenset(
    """
    connect_timeout read_timeout timeout client_max_retries client_retry_timeout download_retry_count
    allow_http allow_invalid_certificates proxy_url proxy_ca_certificate proxy_excludes user_agent
    http1_only http2_only pool_idle_timeout pool_max_idle_per_host randomize_addresses block_size
    """.split()  # noqa: SIM905
)
ALIASES = {
    "token": "session_token",
    "default_region": "region",
    "endpoint_url": "endpoint",
    "endpoint_url_s3": "endpoint",
}
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Variables that name an endpoint; the first one wins."""

_DURATION = re.compile(r"\d+(\.\d+)?\s*(ms|s|m|h)?")


class Options(dict[str, str]):
    """Options by name. Its `repr` has the names alone: a log or a traceback with variables cannot tell secrets."""

    def __repr__(self) -> str:
        return f"Options({', '.join(sorted(self))})"

    __str__ = __repr__


def canonical(name: str) -> str:
    """The one name of an option of S3 (`endpoint_url` is `aws_endpoint`). Raises `ValueError` for one that is none."""
    short = name.lower().removeprefix("aws_")
    short = ALIASES.get(short, short)
    if short in S3_OPTIONS:
        return f"aws_{short}"
    if short in CLIENT_OPTIONS or short.startswith(("lance_", "headers.")):
        return short
    options = [*(f"aws_{option}" for option in S3_OPTIONS), *CLIENT_OPTIONS]
    near = difflib.get_close_matches(name.lower(), sorted(options), n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else "known are such as aws_endpoint, aws_region, aws_access_key_id."
    raise ValueError(f"`{name}` is no option of an object store: {hint}")


def checked(options: Mapping[str, str]) -> Options:
    """Options of S3 under their canonical names. Raises `ValueError` in a sentence, which tells no value."""
    options_checked = Options()
    for name, value in options.items():
        key = canonical(name)
        if options_checked.setdefault(key, value.strip()) != value.strip():
            raise ValueError(f"`{key}` is there twice, under two names; leave one of them out")
        if not options_checked[key].isprintable():
            raise ValueError(f"`{name}` holds a line break or another control character; check how it was copied")
    if "aws_endpoint" in options_checked:
        _check_endpoint("`aws_endpoint`", options_checked["aws_endpoint"])
    return options_checked


def opening(root: str, stated: Mapping[str, str] | None) -> Options | None:
    """The options that open the bank at ``root``: ``given``, those of the environment that matter, and `BOUNDS`.

    Raises `BankError` for an address or an option that cannot be used.
    """
    if "://" not in root:
        return Options(stated) if stated else None
    if not re.fullmatch(r"[a-z0-9+-]+://[^\s/?#]+(/[^\n]*)?", root):
        # Lance takes an address that it cannot read for a local folder of that name
        raise BankError(f"{root!r} is no address of a bank. Write it as s3://bucket/bank.")
    waiting = {name: value for name, value in BOUNDS.items() if not _in_environment(name)}
    if not root.startswith("s3://"):
        return Options({**waiting, **(stated or {})})
    try:
        options = checked(stated or {})
        endpoint = options.get("aws_endpoint", "")
        for variable in ENDPOINTS:
            if not endpoint and variable in os.environ:
                endpoint = os.environ[variable]
                _check_endpoint(variable, endpoint)
    except ValueError as error:
        sentence = str(error)
        end = "" if sentence.endswith((".", "?")) else "."
        raise BankError(f"The bank {root} cannot be opened: {sentence}{end}") from None
    if "aws_endpoint" in options:
        options["aws_endpoint_url_s3"] = endpoint
    if endpoint.startswith("http://") and not any(name in os.environ for name in ("AWS_ALLOW_HTTP", "ALLOW_HTTP")):
        options.setdefault("allow_http", "true")
    return Options({**waiting, **options})


def _check_endpoint(name: str, value: str) -> None:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", value):
        raise ValueError(f"{name} is no address; write it as http://host:port or https://host")
    if "@" in parts.netloc:
        raise ValueError(f"{name} holds a user or a password; give aws_access_key_id and aws_secret_access_key instead")


def _in_environment(name: str) -> bool:
    """Whether the environment sets a bound itself, as Lance reads it; TIMEOUT=none is somebody else's variable."""
    prefix = "OBJECT_STORE_" if name.startswith("client_") else ""
    return _DURATION.fullmatch(os.environ.get(f"{prefix}{name}".upper(), "")) is not None
