"""What opens an object store: every name known, every bound set, no secret shown."""

import pickle

import pytest

from mnemic.dataset import Store
from mnemic.dataset.options import BOUNDS, opening
from mnemic.errors import BankError

ENDPOINT = "http://127.0.0.1:9000"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in (
        "AWS_ENDPOINT",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ALLOW_HTTP",
        "TIMEOUT",
        "READ_TIMEOUT",
    ):
        monkeypatch.delenv(name, raising=False)


def refused(root: str = "s3://bucket/bank", **options: str) -> str:
    with pytest.raises(BankError) as caught:
        Store(root, options)
    return str(caught.value)


def test_a_local_bank_needs_nothing():
    assert Store("memory/notes").storage_options is None


def test_an_object_store_is_waited_for_within_bounds_and_options_go_first():
    assert dict(opening("s3://bucket/bank", {"read_timeout": "60s"})) == {**BOUNDS, "read_timeout": "60s"}
    assert dict(opening("gs://bucket/bank", {"google_service_account": "file"}))["connect_timeout"] == "5s"


def test_bounds_of_the_environment_count_where_they_are_bounds(monkeypatch):
    monkeypatch.setenv("READ_TIMEOUT", "60s")
    monkeypatch.setenv("TIMEOUT", "never")
    options = opening("s3://bucket/bank", None)
    assert "read_timeout" not in options, "Lance reads it from there itself"
    assert options["timeout"] == BOUNDS["timeout"]


def test_an_option_has_one_name_and_beats_every_variable_of_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere")
    options = opening("s3://bucket/bank", {"ENDPOINT_URL": ENDPOINT, "token": "t"})
    assert options["aws_endpoint"] == options["aws_endpoint_url_s3"] == ENDPOINT
    assert options["aws_session_token"] == "t"


def test_an_endpoint_without_encryption_is_allowed_by_saying_http(monkeypatch):
    assert opening("s3://bucket/bank", {"aws_endpoint": ENDPOINT})["allow_http"] == "true"
    assert "allow_http" not in opening("s3://bucket/bank", {"aws_endpoint": "https://host"})
    monkeypatch.setenv("AWS_ENDPOINT_URL", ENDPOINT)
    assert opening("s3://bucket/bank", None)["allow_http"] == "true"


def test_what_opens_a_store_opens_it_again():
    """Workers open the bank with the options that the driver resolved."""
    options = opening("s3://bucket/bank", {"aws_endpoint": ENDPOINT, "aws_secret_access_key": "hush"})
    assert opening("s3://bucket/bank", pickle.loads(pickle.dumps(options))) == options


def test_mistakes_are_told_without_their_values(monkeypatch):
    assert "`aws_endpiont` is no option of an object store: did you mean `aws_endpoint`?" in refused(
        aws_endpiont="hush"
    )
    assert "write it as http://host:port" in refused(aws_endpoint="hush:9000")
    assert "holds a user or a password" in refused(aws_endpoint="http://me:hush@host")
    assert "there twice, under two names" in refused(aws_endpoint=ENDPOINT, endpoint_url="http://hush")
    assert "a line break" in refused(aws_secret_access_key="hu\nsh")
    for error in (refused(aws_endpiont="hush"), refused(aws_endpoint="http://me:hush@host"), refused(region="hu\nsh")):
        assert "hush" not in error and "hu\n" not in error
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    assert "AWS_ENDPOINT_URL is no address" in refused()


def test_an_address_that_lance_would_take_for_a_folder_is_refused():
    for root in ("s3://my bucket/bank", "s3:///bank"):
        assert "Write it as s3://bucket/bank" in refused(root)


def test_values_are_not_shown():
    store = Store("s3://bucket/bank", {"aws_secret_access_key": "hush"})
    options = store["documents"].storage_options
    assert options["aws_secret_access_key"] == "hush"
    assert "hush" not in f"{options} {options!r} {store.storage_options} {[options]} {vars(store)}"
