"""A command: `mnemic hello BANK`."""

from __future__ import annotations

import argparse

SUMMARY = "greet a bank, and tell the dates that its documents name"
EXAMPLES = "  mnemic hello memory/logs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")


def run(arguments: argparse.Namespace) -> int:
    import mnemic

    bank = mnemic.open_bank(arguments.bank)
    print(f"Hello, {bank.release.recipe['name']} {bank.release.name}!")
    if "dates" in bank.release.versions:
        days = sorted(day.isoformat() for day in bank.table("dates", ["date"])["date"].to_pylist())
        print(f"{len(days)} dates, from {days[0]} to {days[-1]}" if days else "no dates")
    return 0
