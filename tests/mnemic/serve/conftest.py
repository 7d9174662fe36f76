"""A bank of two tenants that is built once a run, and a server of it that all tests ask."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served_bank import TOKENS, served, served_recipe, write_tokens
from shared_folder import built_once

import mnemic


@pytest.fixture(scope="session")
def two_tenants(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of the bank, to be read."""

    def build(root: Path) -> str:
        recipe = served_recipe(root)
        mnemic.build(recipe, device="cpu")
        return str(recipe["bank"])

    return str(built_once(tmp_path_factory, "two-tenants", build))


@pytest.fixture(scope="session")
def server(two_tenants: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with served(two_tenants, write_tokens(tmp_path_factory.mktemp("tokens") / "tokens.txt")) as running:
        yield running


@pytest.fixture(scope="session")
def callers(server: Any) -> Iterator[dict[str, httpx.Client]]:
    """A client of HTTP for each tenant."""
    clients = {
        tenant: httpx.Client(
            base_url=server.address, headers={"Authorization": f"Bearer {token}"}, timeout=60, verify=False
        )
        for tenant, token in TOKENS.items()
    }
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture(scope="session")
def ids(two_tenants: str) -> dict[str, dict[str, str]]:
    """Of each tenant the ids of the document and of the smallest event with its secret."""
    from served_bank import SECRETS

    bank = mnemic.open_bank(two_tenants)
    rows = {}
    for tenant, secret in SECRETS.items():
        where = {"tenant": tenant}
        (document,) = {
            row["id"] for row in bank.table("documents", ["id", "text"], where).to_pylist() if secret in row["text"]
        }
        events = [row for row in bank.table("events", ["id", "text"], where).to_pylist() if secret in row["text"]]
        rows[tenant] = {"document": document, "event": min(events, key=lambda row: len(row["text"]))["id"]}
    return rows


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return write_tokens(tmp_path / "tokens.txt")
