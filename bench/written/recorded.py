"""Written memory with recorded answers: GPT's facts of LoCoMo's conversations, as a language model would give them.

`python -m bench.written.recorded` measures, on the three conversations of `bench.data`:

* which of the 593 facts stand in the turns that they name, and how many would in other turns of the same speaker
* calls and tokens of all packs, by a server that answers each with the recorded facts of its turns
* evidence that a search finds where notes rank turns too, with a walk over their words, beside one without notes
* words of answers in the context where half of the budget is notes, beside turns alone
* words and word pairs of GPT's summaries of sessions that excerpts of as many words have, beside first turns and turns
  at random

Expected on machine C of LOG.md: 78.1, 1.7 and 3.0 % at a share of one half; 63 calls for 1,297 turns; .300 / .059; with
notes 76.0, 82.6 and 88.3 % of the evidence, of multi-hop questions 39.3 % in 250 words; 76.5, 82.8 and 87.2 % of the
words of answers, 72.0, 80.2 and 85.6 without. With `--quick` without evidence and answers, which are searched for.
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

import mnemic
from bench import data
from bench.report import Row, main
from bench.written.answers import answered, tell_shares
from mnemic.bank import Bank
from operators.written.grounding import Sources
from operators.written.mmr import choose
from pipelines.evaluate.answer_words import BUDGETS, word_shares
from pipelines.evaluate.questions import read_questions
from pipelines.evaluate.recall import evidence_recall

TURNS = 5882
"""Of LoCoMo's ten conversations, three of which are measured."""

EVIDENCE = {"250": (75.5, 77.0), "500": (82.0, 84.0), "1000": (87.5, 89.0)}
MULTI_HOP = (39.0, 42.0)
"""The same of multi-hop questions in 250 words."""

NOTED = {250: (74.0, 77.0), 500: (82.0, 85.0), 1000: (87.0, 90.0)}

SHARES = (0.7, 0.6, 0.5, 0.4)
_TURN = re.compile(r"D\d+:\d+")
Turn = dict[str, Any]
Fact = tuple[str, str, tuple[str, ...]]
"""Text, subject, and the ids of the turns that it names."""


def sessions(sample: dict[str, Any]) -> Iterator[tuple[str, list[Turn], list[Fact], str]]:
    """(name, turns as units, recorded facts, recorded summary) of each session."""
    conversation = sample["conversation"]
    for name in sorted((key for key in conversation if re.fullmatch(r"session_\d+", key)), key=len):
        day = re.sub(r".* on ", "", conversation[f"{name}_date_time"])
        time = datetime.strptime(day, "%d %B, %Y").replace(tzinfo=UTC)
        turns = [{**turn, "time": time} for turn in conversation[name]]
        facts = [
            (fact[0], speaker, tuple(_TURN.findall(json.dumps(fact[1]))))
            for speaker, of_speaker in sample["observation"].get(f"{name}_observation", {}).items()
            for fact in of_speaker
        ]
        yield name, turns, facts, sample["session_summary"].get(f"{name}_summary", "")


def grounded(samples: Sequence[dict[str, Any]]) -> None:
    """Print the share of facts that stand in their turns, in turns of another session, and in others of the same."""
    shares: list[list[float]] = [[], [], []]
    draw = random.Random(1)
    for sample in samples:
        by_id = {turn["dia_id"]: turn for _, turns, _, _ in sessions(sample) for turn in turns}
        speakers = {turn["speaker"] for turn in by_id.values()}
        for _, turns, facts, _ in sessions(sample):
            here = {turn["dia_id"] for turn in turns}
            for text, _, named in facts:
                own = [by_id[turn] for turn in named if turn in by_id]
                if not own:
                    continue
                like = [turn for turn in by_id.values() if turn["speaker"] == own[0]["speaker"]]
                other = [turn for turn in like if turn["dia_id"] not in here]
                same = [turn for turn in like if turn["dia_id"] in here and turn not in own] or other
                for place, units in enumerate((own, draw.choices(other, k=len(own)), draw.choices(same, k=len(own)))):
                    share, missing = Sources(units, speakers).grounded(text, 0.0)
                    shares[place].append(-1.0 if missing else share)
    print(f"facts that stand in their turns, in another session's, in others of the session ({len(shares[0])}):")
    for least in SHARES:
        figures = "  ".join(f"{100 * np.mean(np.array(one) >= least):5.1f} %" for one in shares)
        print(f"  share of long words {least}: {figures}", flush=True)


class RecordedServer:
    """Answers chat completions with the recorded facts of the turns in a prompt."""

    def __init__(self, samples: Sequence[dict[str, Any]]) -> None:
        self.tokens, self.calls = 0, 0
        self._turns: dict[str, tuple[int, str]] = {}
        self._facts: dict[tuple[int, str], list[Fact]] = {}
        for number, sample in enumerate(samples):
            for _, turns, facts, _ in sessions(sample):
                for turn in turns:
                    self._turns.setdefault(_bare(turn["text"]), (number, turn["dia_id"]))
                for fact in facts:
                    for name in fact[2]:
                        self._facts.setdefault((number, name), []).append(fact)

    def facts(self, prompt: dict[str, Any]) -> dict[str, Any]:
        places = {self._turns.get(_bare(unit["text"])): unit["n"] for unit in prompt["units"]}
        facts = {}
        for place in (place for place in places if place is not None):
            for text, subject, named in self._facts.get(place, ()):
                n = [places[place[0], turn] for turn in named if (place[0], turn) in places][:8]
                facts[text] = {"text": text, "n": n, "subject": subject, "attribute": None, "value": None, "when": None}
        return {"facts": list(facts.values())[:60]}

    def answer(self, order: str, prompt: dict[str, Any]) -> dict[str, Any]:
        """What it answers to the system text ``order`` and a ``prompt``."""
        return self.facts(prompt)

    def __enter__(self) -> str:
        recorded = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Nothing."""

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][-1]["content"]
                text = json.dumps(recorded.answer(body["messages"][0]["content"], json.loads(prompt)))
                sizes = [sum(len(one["content"]) for one in body["messages"]) // 4, len(text) // 4]
                recorded.calls, recorded.tokens = recorded.calls + 1, recorded.tokens + sum(sizes)
                usage = {"prompt_tokens": sizes[0], "completion_tokens": sizes[1]}
                choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                reply = json.dumps({"choices": [choice], "usage": usage}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


def _bare(text: str) -> str:
    """What a turn says, without the caption of an image that a source adds."""
    return text.split(" [shares ", 1)[0].removeprefix("[shares ").strip()


def noted(file: Path, samples: Sequence[dict[str, Any]], quick: bool) -> list[Row]:
    """Calls and tokens of a build, evidence with and without notes, and words of answers where half is notes."""
    server = RecordedServer(samples)
    with tempfile.TemporaryDirectory() as folder, server as address:
        place = f"{folder}/bank"
        recipe = {
            "name": "recorded",
            "bank": place,
            "sources": [{"kind": "conversations", "path": str(file)}],
            "cluster": False,
            "notes": {"max_rejected": 1.0},
            "written": {"server": address, "name": "recorded", "concurrent": 1},
        }
        mnemic.build(recipe)
        bank = mnemic.open_bank(place)
        turns = bank.release.counts["units"]
        print(f"{bank.release.counts['packs']} packs: {server.calls} calls, {server.tokens:,} tokens at 4 characters")
        print(f"{bank.release.counts['notes']} notes", flush=True)
        metric = f"for ten conversations of {TURNS:,} turns, by {server.calls} for {turns:,}"
        share = TURNS / turns
        rows = [
            Row("calls", f"calls {metric}", server.calls * share, "calls", 300, 160, higher_is_better=False),
            Row("tokens", f"tokens {metric}", server.tokens * share / 1000, "k", 700, 450, higher_is_better=False),
        ]
        return rows if quick else [*rows, *_evidence(bank, file), *_answers(bank, file)]


def _evidence(bank: Bank, file: Path) -> list[Row]:
    """Evidence in words of turns that notes have ranked."""
    questions, _ = read_questions(file)
    with_notes, without = (evidence_recall(bank, questions, notes=notes) for notes in (True, False))
    rows = []
    for one, other in zip(with_notes.under_words, without.under_words, strict=True):
        gain = f"{100 * (one.recall.value - other.recall.value):+.1f}"
        kinds = "  ".join(f"{kind} {100 * share:.1f}" for kind, share in one.categories.items())
        print(
            f"evidence in {one.name}, ranked by notes too: {100 * one.recall.value:.1f} ({gain})  {kinds}", flush=True
        )
        budget = one.name.split()[0].replace(",", "")
        if budget in EVIDENCE:
            metric = f"evidence in {one.name} where notes rank turns, without notes {100 * other.recall.value:.1f}"
            rows.append(Row(f"evidence_noted_{budget}", metric, 100 * one.recall.value, "%", *EVIDENCE[budget]))
        if budget == "250":
            value = 100 * one.categories["multi-hop"]
            metric = f"evidence of multi-hop questions in {one.name} where notes rank turns"
            rows.append(Row("evidence_noted_multi_hop_250", metric, value, "%", *MULTI_HOP))
    return rows


def _answers(bank: Bank, file: Path) -> list[Row]:
    questions = answered(file)
    shares = word_shares(bank, questions)
    tell_shares(shares, np.array([question.category for question in questions]))
    means = 100 * shares["rows with notes"].mean(axis=0)
    return [
        Row(f"noted_{budget}", f"words of answers in {budget} words, half for notes", mean, "%", *NOTED[budget])
        for budget, mean in zip(BUDGETS, means.tolist(), strict=True)
    ]


def excerpts(samples: Sequence[dict[str, Any]]) -> None:
    """Print the recall of words and word pairs of GPT's summaries by as many words of excerpts."""
    recalls: dict[str, list[tuple[float, float]]] = {}
    draw = np.random.default_rng(0)
    for sample in samples:
        for _, turns, _, summary in sessions(sample):
            if not summary:
                continue
            words = len(summary.split())
            texts = [f"{turn['speaker']}: {turn['text']}" for turn in turns]
            ways = {
                "excerpt": " ".join(texts[place] for place in choose(texts, words)),
                "first turns": " ".join(" ".join(texts).split()[:words]),
                "at random": " ".join(" ".join(draw.permutation(texts)).split()[:words]),
            }
            for name, text in ways.items():
                recalls.setdefault(name, []).append((_recall(text, summary, 1), _recall(text, summary, 2)))
    for name, of_sessions in recalls.items():
        one, two = np.mean(of_sessions, axis=0)
        print(f"words of summaries, {name:<12} {one:.3f}  pairs {two:.3f}  ({len(of_sessions)} sessions)", flush=True)


def _recall(text: str, summary: str, size: int) -> float:
    found_in, expected = (_runs(one, size) for one in (text, summary))
    return sum((found_in & expected).values()) / max(1, sum(expected.values()))


def _runs(text: str, size: int) -> Counter[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return Counter(zip(*(words[start:] for start in range(size)), strict=False))


def rows(quick: bool) -> list[Row]:
    """Raises `bench.data.MissingData`."""
    file = data.path("locomo")
    samples = json.loads(file.read_text())
    grounded(samples)
    excerpts(samples)
    return noted(file, samples, quick)


if __name__ == "__main__":
    sys.exit(main("written.recorded", __doc__ or "", rows))
