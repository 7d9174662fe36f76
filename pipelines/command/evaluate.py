"""`mnemic eval`."""

from __future__ import annotations

import argparse
import json
from functools import partial

from mnemic.bank import open_bank
from mnemic.continued import shown as shown_continuation
from mnemic.errors import QueryError
from mnemic.facts import consistent
from mnemic.memories.kinds import is_known, kind
from mnemic.schema import LEVELS
from mnemic.terminal import say
from pipelines.evaluate.answer_words import answer_words, shown_answers
from pipelines.evaluate.bank import COSTS, PARTS, Evaluation, GatedSet, Perplexity, evaluate
from pipelines.evaluate.bootstrap import Comparison
from pipelines.evaluate.canaries import NEAREST, CanaryReport, Memorised, Seen, canary_report
from pipelines.evaluate.forgotten import forgotten
from pipelines.evaluate.forgotten import shown as shown_forgotten
from pipelines.evaluate.latents import shown_latents
from pipelines.evaluate.pages import page_costs, shown_pages
from pipelines.evaluate.questions import Skipped, read_questions
from pipelines.evaluate.recall import Recall, Recalls, evidence_recall
from pipelines.evaluate.rewrites import shown_edits
from pipelines.evaluate.topics import shown_topics
from pipelines.live import Working

SUMMARY = "the numbers: duplicates, perplexity with and without memory"
EXAMPLES = """  mnemic eval memory/python-environment
  mnemic eval memory/python-environment --speed
  mnemic eval memory/python-environment --blocks
  mnemic eval memory/notes --pages
  mnemic eval memory/python-environment --generate
  mnemic eval memory/chats --questions questions.jsonl
  mnemic eval memory/chats --questions locomo10.json --level turn --level event
  mnemic eval memory/python-environment --canaries
  mnemic eval memory/notes --forgotten              whether memories still know what was removed
  mnemic eval memory/python-environment --json"""

_ALONE = ("questions", "canaries", "forgotten", "pages")
_TOGETHER = ("speed", "blocks", "generate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument(
        "--questions",
        metavar="FILE",
        help="how much of the evidence of questions a search finds, and of their answers' words: LoCoMo's file, or "
        'JSON Lines of {"question": ..., "evidence": [ids of turns, sessions, events or documents, or locators], '
        '"tenant": ..., "answer": ...}',
    )
    parser.add_argument(
        "--level", choices=LEVELS, action="append", help="level that is searched (default: the smallest); repeatable"
    )
    parser.add_argument(
        "--speed", action="store_true", help="also tokens a second that the model generates alone and with each memory"
    )
    parser.add_argument(
        "--canaries",
        action="store_true",
        help="whether planted texts are whole, who finds them, and which memory knows them by heart; exit code 1 where "
        "one is lost or seen by another tenant",
    )
    parser.add_argument(
        "--forgotten", action="store_true", help="loss on removed documents, against twins that no memory has seen"
    )
    parser.add_argument(
        "--blocks",
        action="store_true",
        help="also perplexity with the blocks of a document's topic, of another, and with its topic blocked",
    )
    parser.add_argument(
        "--generate", action="store_true", help="also texts that the model continues alone and with each memory"
    )
    parser.add_argument(
        "--pages", action="store_true", help="what pages of keys and values lose against the text, and what they spare"
    )
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    _check_together(arguments)
    if arguments.canaries:
        return _canaries(arguments)
    if arguments.forgotten:
        with consistent("The rows and records", arguments.bank):
            outcomes = forgotten(open_bank(arguments.bank, arguments.release))
        as_json = [one.as_json() for one in outcomes]
        say(json.dumps(as_json) if arguments.json else shown_forgotten(outcomes, arguments.bank))
        return 0
    if arguments.pages:
        with consistent("The rows and records", arguments.bank), Working("reading events and their pages"):
            costs = page_costs(open_bank(arguments.bank, arguments.release))
        say(json.dumps(costs.as_json()) if arguments.json else shown_pages(costs))
        return 0
    if arguments.questions is None:
        with consistent("The rows and records", arguments.bank), Working("opening the bank") as doing:
            more = {name: getattr(arguments, name) for name in _TOGETHER}
            evaluation = evaluate(arguments.bank, release=arguments.release, **more, doing=doing)
        say(json.dumps(evaluation.as_json()) if arguments.json else shown(evaluation))
        return 0
    questions, skipped = read_questions(arguments.questions)
    named = open_bank(arguments.bank, arguments.release).release.name
    bank = open_bank(arguments.bank, named)  # measured is the release, and not what was remembered since
    with Working("encoding the questions") as doing:
        asking = partial(doing, "questions")
        recalls = [evidence_recall(bank, questions, level, asking) for level in arguments.level or [None]]
        words = answer_words(bank, questions, asking)
    if arguments.json:
        facts = {"bank": bank.path, "release": bank.release.name, "skipped": [vars(one) for one in skipped]}
        answers = {} if words is None else {"answers": words.as_json()}
        say(json.dumps({**facts, "recall": [one.as_json() for one in recalls], **answers}))
    else:
        say(f"{bank.path}  release {bank.release.name}")
        answers_shown = [] if words is None else [shown_answers(words)]
        say("\n\n".join([*(shown_recall(one) for one in recalls), *answers_shown, *_shown_skipped(skipped)]))
    return 0


def _check_together(arguments: argparse.Namespace) -> None:
    """Raise ``QueryError`` where one option would leave out another in silence."""
    together = [name for name in (*_ALONE, *_TOGETHER) if getattr(arguments, name)]
    if len(together) > 1 and together[0] in _ALONE:
        options = [f"--{name}" for name in together]
        raise QueryError(f"{' and '.join(options)} are evaluations of their own. Run `mnemic eval` once for each.")
    if arguments.level and not arguments.questions:
        raise QueryError("--level is of a search for evidence. Give --questions FILE too.")


def _canaries(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank, arguments.release)
    with consistent("The rows and records", arguments.bank):
        report = canary_report(bank)
    if arguments.json:
        say(json.dumps({"bank": bank.path, "release": bank.release.name, **report.as_json()}))
    else:
        say(f"{bank.path}  release {bank.release.name}\n\n{shown_canaries(report)}")
    return 1 if report.faults else 0


def shown_recall(recalls: Recalls) -> str:
    """Recall of evidence as lines for a person."""
    level = "leaves: turns, passages and undivided events" if recalls.level == "leaf" else f"{recalls.level}s"
    lines = [f"{recalls.questions:,} questions, searched are {level}", ""]
    lines += [_shown_line("under", one) for one in recalls.under_words]
    lines += [_shown_line("best", one) for one in recalls.at_k]
    categories = sorted(recalls.under_words[0].categories)
    if categories:
        lines += ["", "  by category            " + "  ".join(f"{one.name:>11}" for one in recalls.under_words)]
        for category in categories:
            values = "  ".join(f"{one.categories[category]:>10.1%} " for one in recalls.under_words)
            lines.append(f"  {category:<22} {values}")
    if recalls.left_out:
        lines += ["", f"left out: {recalls.left_out:,} questions whose evidence the bank does not hold"]
    if recalls.unknown:
        shown_ids = ", ".join(recalls.unknown[:5]) + (", ..." if len(recalls.unknown) > 5 else "")
        lines += [f"unknown evidence: {len(recalls.unknown):,} ids ({shown_ids})"]
    return "\n".join(lines)


def _shown_line(what: str, one: Recall) -> str:
    recall = one.recall
    return (
        f"  evidence found {what:>5} {one.name:<12} {recall.value:6.1%}   95 % {recall.low:.1%} to {recall.high:.1%}, "
        f"{one.words:,.0f} words"
    )


def _shown_skipped(skipped: list[Skipped]) -> list[str]:
    if not skipped:
        return []
    lines = [f"skipped of the file: {len(skipped):,}"]
    lines += [f"  {one.place}: {one.reason}" for one in skipped[:5]]
    return ["\n".join(lines)]


def _shares(evaluation: Evaluation) -> list[tuple[str, float]]:
    """Of how often a text may repeat, the shares that are not nothing."""
    return [(n, share) for n, share in evaluation.repetition["share_over"].items() if share > 0]


def shown(evaluation: Evaluation) -> str:
    """An evaluation as lines for a person."""
    lines = [f"{evaluation.bank}  release {evaluation.release}  corpus {evaluation.digest}", ""]
    lines += [f"  {name:<20} {count:>12,}" for name, count in evaluation.funnel.items()]
    shares = [f"{share:.1%} more than {'once' if n == '1' else n + ' times'}" for n, share in _shares(evaluation)]
    lines += ["", f"repetition: of the text before deduplication {', '.join(shares)}"] if shares else []
    if evaluation.repeated is not None:
        repeated = evaluation.repeated
        lines += [] if shares else [""]
        lines.append(
            f"repeated spans: {repeated.share:.1%} of {repeated.tokens:,} tokens stand in {repeated.span} or more that "
            "another document has"
        )
    topics = [line for one in evaluation.blocks for line in ("", *shown_topics(one))]
    topics += shown_latents(evaluation.cartridges, evaluation.memory_tokens)
    topics += shown_edits(evaluation.edits)
    if not evaluation.weights and topics:
        return "\n".join(lines + topics)
    if not evaluation.weights:
        lines += ["", "no parametric memory: the recipe names no `language_model`, so there is no perplexity to tell"]
        return "\n".join(lines)
    weights = ", ".join(f"{_name(name)} {weight:g}" for name, weight in evaluation.weights.items())
    lines += ["", f"mixing weights chosen on validation text: {weights}"]
    lines += _shown_training(evaluation)
    if any(part.matches for part in evaluation.perplexities):
        lines.append(
            "suffix index: evaluated without held-out and validation documents and what contains half of one; attach "
            "uses all of it"
        )
    lines += [f"gate of {_set(name)}: {reason}" for name, reason in evaluation.gates.items()]
    if not evaluation.perplexities:
        lines.append("no text was held out for a test; give the recipe more text, or lower `split.min_characters`")
    for part in evaluation.perplexities:
        lines += ["", f"perplexity on {PARTS[part.part]} ({part.documents} documents, {part.tokens:,} tokens)"]
        lines.append(f"  {'base':<22} {part.base:8.2f}")
        lines += [_shown_comparison(name, comparison, part) for name, comparison in part.comparisons.items()]
        lines += [_shown_gated(name, one) for name, one in part.gated.items()]
        lines += _shown_frequencies(part)
        lines += _shown_matches(part)
    lines += topics
    if evaluation.speeds:
        lines += ["", "generating, one text at a time, here and now"]
    for speed in evaluation.speeds:
        name = "base" if speed.name == "base" else f"+ {_name(speed.name)}"
        lines.append(
            f"  {name:<22} {speed.tokens_per_second:8.1f} tokens/s, {speed.times_base:.2f} times the base's time, "
            f"{speed.bytes / 1e6:,.0f} MB"
        )
    lines += [line for one in evaluation.continuations for line in ("", shown_continuation(one))]
    return "\n".join(lines)


def _name(memory: str) -> str:
    """The title of the kind that a memory is named after; a memory with a name of its own is called by that."""
    return kind(memory).title if is_known(memory) else memory


def _shown_comparison(name: str, comparison: Comparison, part: Perplexity) -> str:
    own, ratio = comparison.perplexity, comparison.ratio
    line = (
        f"  + {_name(name):<20} {own.value:8.2f}   95 % {own.low:.2f} to {own.high:.2f}; "
        f"times base {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
    )
    share = part.recovered.get(name)
    if share is None:
        return line
    return line + f"; {share.value:.0%} of kNN-LM's gain ({share.low:.0%} to {share.high:.0%})"


def _set(name: str) -> str:
    """Memories that are weighed together: "MLP memory + kNN-LM"."""
    return " + ".join(map(_name, name.split("+")))


def _shown_gated(name: str, gated: GatedSet) -> str:
    own, ratio = gated.comparison.perplexity, gated.comparison.ratio
    line = (
        f"  + {_set(name) + ', gated':<44} {own.value:8.2f}   95 % {own.low:.2f} to {own.high:.2f}; "
        f"times base {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
    )
    shares = ((gated.recovered, "kNN-LM's gain"), (gated.recovered_gated, "kNN-LM's gated"))
    phrases = [f"{share.value:.0%} of {what} ({share.low:.0%} to {share.high:.0%})" for share, what in shares if share]
    return "; ".join([line, *phrases])


def _shown_training(evaluation: Evaluation) -> list[str]:
    return [
        f"training of {_name(name)}: {cost['trained_tokens']:,.0f} tokens, {cost['training_flops']:.3g} operations, "
        f"{cost['parameters'] / 1e6:.1f} M parameters"
        for name, cost in evaluation.training.items()
        if len(cost) == len(COSTS)
    ]


def _shown_frequencies(part: Perplexity) -> list[str]:
    """Mean losses by how often the store has a token; lower than the base is what a memory is for."""
    if not part.frequencies:
        return []
    lines = ["  nats a token, by how often the store has it"]
    names = list(part.frequencies[0].losses)
    ends = [*(bucket.least - 1 for bucket in part.frequencies[1:]), None]
    heads = [_times(bucket.least, end) for bucket, end in zip(part.frequencies, ends, strict=True)]
    lines.append(f"    {'':<20} " + " ".join(f"{head:>11}" for head in heads))
    lines.append(f"    {'tokens':<20} " + " ".join(f"{bucket.tokens:>11,}" for bucket in part.frequencies))
    for name in names:
        values = " ".join(f"{bucket.losses[name]:>11.3f}" for bucket in part.frequencies)
        lines.append(f"    {'base' if name == 'base' else '+ ' + _name(name):<20} {values}")
    return lines


def _shown_matches(part: Perplexity) -> list[str]:
    """Mean losses by how much of what stands before a token stands in the suffix index too."""
    if not part.matches:
        return []
    lines = ["  nats a token, by how many tokens before it stand in the suffix index together"]
    ends = [*(bucket.least - 1 for bucket in part.matches[1:]), None]
    heads = [f"{b.least}+" if end is None else f"{b.least} to {end}" for b, end in zip(part.matches, ends, strict=True)]
    lines.append(f"    {'':<46} " + " ".join(f"{head:>8}" for head in heads))
    lines.append(f"    {'tokens':<46} " + " ".join(f"{bucket.tokens:>8,}" for bucket in part.matches))
    for name in part.matches[0].losses:
        memories, comma, gate = name.partition(", ")
        shown_name = "base" if name == "base" else f"+ {_set(memories)}{comma}{gate}"
        lines.append(f"    {shown_name:<46} " + " ".join(f"{one.losses[name]:>8.3f}" for one in part.matches))
    if part.copied is not None:
        lines.append(f"  {part.copied:.1%} of the tokens stand in spans of 8 and more that the index has too")
    return lines


def _times(least: int, most: int | None) -> str:
    if least == 0:
        return "never"
    return f"{least:,}+" if most is None else f"{least:,} to {most:,}"


def shown_canaries(report: CanaryReport) -> str:
    """A report as lines for a person."""
    whole = report.whole
    stored = "" if whole.stored is None else f", {whole.stored:,} stored for memories"
    lines = [f"canaries: {whole.documents:,} documents planted; {whole.standing:,} kept, {whole.uncut:,} uncut{stored}"]
    if report.search is not None:
        lines += _shown_seen(f"found among {NEAREST} by their first sentence", report.search)
    if report.word_for_word is not None:
        lines += _shown_seen("in the suffix index as often as planted", report.word_for_word)
    if report.memories:
        most = report.memories[0].most
        lines += ["", f"nats a token; exposure in bits, of at most {most:.1f} that the twins can show"]
        head = f"{'planted':>8} {'loss':>8} {'twins':>8}   {'AUC':>4} {'95 %':>12}   {'exposure':>8} {'most':>5}"
        lines.append(f"  {'':<22} {head}")
        lines += [_shown_memorised(one) for one in report.memories]
    lines += ["", *(f"fault: {fault}" for fault in report.faults)] if report.faults else []
    return "\n".join(lines)


def _shown_seen(what: str, seen: Seen) -> list[str]:
    others = f"; {seen.elsewhere:,} from {seen.tenants:,} other tenants" if seen.tenants else ""
    return [f"  {what}: {seen.there:,} of {seen.canaries:,}, {seen.twins:,} of their twins{others}"]


def _shown_memorised(one: Memorised) -> str:
    name = "base" if one.memory == "base" else f"+ {_name(one.memory)}"
    between = f"{one.auc.low:.2f} to {one.auc.high:.2f}"
    return (
        f"  {name:<22} {one.repeats:>7}x {one.loss:>8.3f} {one.twins_loss:>8.3f}   {one.auc.value:>4.2f} {between:>12}"
        f"   {one.exposure:>8.2f} {one.highest:>5.2f}"
    )
