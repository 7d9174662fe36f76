"""Failures beneath a dataset, of the disk or an object store, and the sentence for each.

Lance tells errors of reading as `ValueError`, `OSError` or Arrow's errors, with the answer of the object store as text.
Nothing of that text is passed on but its status, code and message: options and bodies of requests stay out of a log.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pyarrow as pa

from mnemic.dataset.forks import using_lance
from mnemic.errors import BankError, MnemicError, NoSpace, Unreachable
from mnemic.terminal import one_line

_FULL = ("No space left", "os error 28", "Disk quota exceeded")
_MISSING = re.compile(r"Dataset at path .* was not found|Ref not found|Version not found", re.DOTALL)
_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AccessDenied")
_OPTIONS = ("Generic Config error", "builder error", "conditional put is disabled", "did not match any known pattern")
_SAFE = "Everything committed so far is kept"


_IN_CONDITION = "Error applying filter expression"
"""What Lance says where a condition fails on a row, as a division by zero does."""
_BROKEN = re.compile(r"LanceError\(IO\)|corrupt|failed to decode|Not found: ")
"""Of an error that Lance does not tell as one of Arrow: a file that is missing, or holds what Lance did not write."""


@contextmanager
def reading(uri: str, where: str | None = None) -> Iterator[None]:
    """Turn whatever Lance and Arrow say of a file that cannot be read into a `BankError`; all reading happens in here.

    As `readable_errors` besides. A dataset or version that does not exist stays what it is (`missing`), as does what is
    wrong with the condition ``where``: a `ValueError`. Lance may also panic at bytes that it did not write.
    """
    try:
        with readable_errors(uri):
            yield
    except MnemicError:
        raise
    except BaseException as error:
        if not is_damage(error, where):
            raise
        raise damaged(uri, error) from (None if "://" in uri else error)


def is_damage(error: BaseException, where: str | None = None) -> bool:
    """Whether an error of reading says that files are missing or hold what Lance did not write."""
    if type(error).__name__ == "PanicException":
        return True
    if not isinstance(error, Exception) or missing(error):
        return False
    if type(error) is ValueError and where is not None:
        return _BROKEN.search(str(error)) is not None
    if isinstance(error, pa.ArrowException) and where is not None and _IN_CONDITION in str(error):
        return False
    return isinstance(error, OSError | ValueError | RuntimeError | pa.ArrowException | MemoryError)


def damaged(uri: str, error: BaseException) -> BankError:
    """The sentence for a dataset that is there and cannot be read."""
    bank = uri.rpartition("/")[0] if uri.endswith(".lance") else uri
    if "://" in uri:
        file = re.search(r"\.lance/([\w/.-]+)", str(error))
        reason = f"{file[1]} is missing or broken" if file else "it holds what Lance did not write"
    else:
        text = re.sub(r"\b(External error|LanceError\(\w+\)|Generic \S+ error): ", "", str(error)).split(", /")[0]
        reason = one_line(text, 200) or type(error).__name__
    return BankError(
        f"{uri} is there and cannot be read ({reason}): its disk fails, or the bank is damaged. Nothing was changed. "
        f"`mnemic verify {bank}` names the files that are missing or other than they were. Bring them back from a "
        f"copy, open an earlier release with --release, or let `mnemic repair {bank}` go back to what can be read, and "
        "build again."
    )


@contextmanager
def readable_errors(uri: str) -> Iterator[None]:
    """Turn errors of the disk and of the object store that hold ``uri`` into sentences that say what to do.

    Everything that Lance is asked is asked within it, so it also refuses a process in which Lance cannot be used.
    """
    using_lance(uri)
    try:
        yield
    except MnemicError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        sentence = told(error, uri)
        if sentence is None:
            raise
        # Lance's own text quotes addresses and answers of an object store, and a worker's last lines go into the bank
        raise sentence from (None if "://" in uri else error)


def told(error: Exception, uri: str) -> MnemicError | None:
    """The error as a sentence; None where it is neither the disk's nor an object store's."""
    if disk_is_full(error):
        return NoSpace(
            f"No space is left on the disk that holds {uri}. {_SAFE}: "
            "free some space (`mnemic plan` lists the bytes per dataset) and run the same build again."
        )
    if "://" in uri:
        return None if missing(error) else _of_object_store(str(error), uri)
    if isinstance(error, OSError) and any(
        phrase in str(error) for phrase in ("Permission denied", "Read-only file system")
    ):
        return BankError(f"{uri} cannot be used: permission denied. Check its owner, or name another bank.")
    return None


def disk_is_full(error: Exception) -> bool:
    """Whether the operating system said so; Lance passes its words on, seldom its number."""
    return isinstance(error, OSError) and (error.errno == errno.ENOSPC or any(phrase in str(error) for phrase in _FULL))


def missing(error: BaseException) -> bool:
    """Whether Lance says that a dataset, version or tag does not exist, and not that it could not be read.

    "Not found" alone is not enough: it stands in the answer of an object store that has no such bucket, too.
    """
    return isinstance(error, FileNotFoundError) or _MISSING.match(str(error)) is not None


def _of_object_store(text: str, uri: str) -> MnemicError | None:
    bank = uri.rpartition("/")[0] if uri.endswith(".lance") else uri
    store = f"The object store that holds {bank}"
    status = _found(r"status code: (\d{3})", text)
    code = _found(r"<Code>(.*?)</Code>", text)
    if "Failed to get AWS credentials" in text:
        return BankError(
            f"No credentials for {bank} were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and "
            "AWS_SESSION_TOKEN where they are temporary), AWS_PROFILE, or `storage_options` in the recipe."
        )
    if code == "NoSuchBucket" or "Failed to resolve region" in text:
        return BankError(
            f"{store} has no bucket {bank.split('/')[2]}, or its region is not known. Check the bucket's name, "
            "AWS_ENDPOINT_URL and AWS_REGION (`aws_endpoint` and `aws_region` of the recipe's `storage_options`); "
            "mnemic makes no buckets."
        )
    if status in ("401", "403") or code in _REFUSED or "lacked the necessary privileges" in text:
        return BankError(
            f"{store} refused the access ({_answer(status, code, text)}). Check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or `storage_options` in the recipe, and that their owner may "
            f"list, read, write and delete there. {_SAFE}."
        )
    if any(phrase in text for phrase in _OPTIONS):
        return BankError(f"{store} cannot be opened with these options ({_reason(text)}). Mend `storage_options`.")
    if code == "NoSuchKey":
        return None  # a file of the bank is gone
    if (status.startswith(("3", "4")) and status not in ("408", "429")) or "redirect" in text:
        return BankError(
            f"{store} refused a request ({_answer(status, code, text)}). Check AWS_REGION and AWS_ENDPOINT_URL "
            f"(`aws_region` and `aws_endpoint` of `storage_options`). {_SAFE}."
        )
    if "Error performing" in text or "Generic S3 error" in text or "HTTP error" in text:
        return Unreachable(
            f"{store} does not answer ({_reason(text)}). {_SAFE}: run the same command again when it does."
        )
    return None


def _answer(status: str, code: str, text: str) -> str:
    """What the object store said: "403 InvalidAccessKeyId: The key does not exist"."""
    message = _found(r"<Message>(.*?)</Message>", text)
    reply = " ".join(part for part in (status, code) if part) or "no status"
    return one_line(f"{reply}: {message}" if message else reply, 200)


def _reason(text: str) -> str:
    """Which request failed how: "GET 127.0.0.1:9000 after 3 retries: error sending request"."""
    request = re.search(
        r"Error performing ([A-Z]+) (\S+) in (\S+?)(?:, after (\d+) retries)?[,\s].*?- (.*)", text, re.DOTALL
    )
    if request is None:
        reason = re.sub(r"\bLanceError\(\w+\): ", "", text).split(", /")[0]
        return one_line(re.sub(r'parse ".*" as', "parse a value as", reason, flags=re.DOTALL), 200)
    method, url, _, retries, detail = request.groups()
    host = urlsplit(url).netloc.rpartition("@")[2]
    detail = re.sub(r"^(HTTP error|Server returned non-2xx status code): ", "", detail).split(", /")[0].split(": <")[0]
    return one_line(f"{method} {host}{f' after {retries} retries' if retries else ''}: {detail.strip(' :')}", 200)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.DOTALL)
    return match[1].strip() if match else ""
