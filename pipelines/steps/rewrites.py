"""The step `rewrites`: facts into the datasets `statements`, `edits` and `probes`, and the memory "edits".

1. One worker reads the facts and checks them; what is none is a reject.
2. Any worker finds what the solve is to reach for one fact and writes its statement, so a kill costs the facts under
   way. A statement names the state that it holds for: another strength solves anew, and searches for nothing.
3. One worker solves over all facts together, measures them beside the facts as text, and writes edits, probes, and last
   the memory, by whose row the step is done. In a bank of several tenants each one's facts are solved and measured for
   themselves, and so are those that no document says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from mnemic import languagemodel
from mnemic.dataset import Store
from mnemic.dataset.write import WrittenFragment, append, append_rows, write_records, write_whole
from mnemic.errors import ModelError, StepError
from mnemic.ids import hash_parts
from mnemic.memories.edits import NAME
from mnemic.quoting import quoted
from mnemic.rewrites.datasets import EDITS, PROBES, STATEMENTS, TENANT, divided
from mnemic.rewrites.moments import COLUMNS, factors
from mnemic.rewrites.statement import SolvableStatement, Statement, solved_together
from mnemic.schema import MEMORIES
from operators.contracts import REJECTED
from operators.rewrites.operator import Rewrites
from pipelines import faults
from pipelines.identity import Record
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.drawn_documents import beginnings, drawn_documents, texts_of
from pipelines.steps.fact_rows import CheckedFacts, checked_facts, corpus_of, has_tenants
from pipelines.steps.key_moments import refuse_layers
from pipelines.steps.memory_rows import (
    create_missing,
    drop,
    drop_other_states,
    final_row,
    finished_record,
    forget_versions,
)
from pipelines.steps.owners import owned_rows
from pipelines.steps.rejects import check_rejects, forget_rejects

_SCHEMAS = {"statements": STATEMENTS, NAME: EDITS, "probes": PROBES, "memories": MEMORIES}


@dataclass(frozen=True)
class WrittenEdits:
    """Rows of `edits`, `probes` and `memories`; written and not committed."""

    edits: tuple[WrittenFragment, ...]
    probes: tuple[WrittenFragment, ...]
    memory: pa.Table


@dataclass(frozen=True)
class RewritesStep(RecordedStep):
    operator: Rewrites
    after: tuple[str, ...]
    memory: str = NAME
    datasets: tuple[str, ...] = (NAME, "statements", "probes", "memories")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Datasets that the settings name."""
        return (self.operator.dataset,) if self.operator.dataset else ()

    def state(self, store: Store) -> Status:
        corpus = corpus_of(store, self.operator)
        if corpus is None:
            return Status("new")
        stored = finished_record(store["memories"].snapshot(), self.name, self.memory)
        if stored is None:
            return Status("new", unit="facts")
        changes = self.record.changes_from(stored)
        if changes:
            return Status("stale", unit="facts", reasons=tuple(changes))
        if stored["corpus"] != corpus or not self._whole(store, replace(self.record, corpus=corpus)):
            return Status("due", unit="facts", reasons=("the facts or the documents that it looks at changed",))
        return Status("done", unit="facts")

    def _whole(self, store: Store, record: Record) -> bool:
        """Whether the edits are of all statements: a removal takes both away."""
        edits, statements = store[NAME].snapshot(), store["statements"].snapshot()
        if edits is None or statements is None:
            return False
        rows = edits.table(["layer", "statements", "state"]).to_pylist()
        whose = [name for name in ("id", TENANT.name) if name in statements.schema.names]
        solves = solved_together(statements.table(whose).to_pylist())
        expected = [(layer, ids) for layer in self.operator.layers for ids in solves]
        there = sorted((row["layer"], row["statements"]) for row in rows)
        return there == expected and all(row["state"] == record.state for row in rows)

    def check(self, store: Store, max_rejects: float) -> None:
        statements = store["statements"].snapshot()
        check_rejects(store, self.record, lambda: 0 if statements is None else statements.count(), max_rejects)

    def run(self, context: Context) -> None:
        store = context.store
        corpus = corpus_of(store, self.operator)
        if corpus is None:
            raise StepError(
                f"`rewrites` reads its facts from {self.operator.dataset}, which this bank does not have; name another "
                "`dataset`, or the section that makes it."
            )
        record = replace(self.record, corpus=corpus)
        create_missing(context, record, {**_SCHEMAS, "statements": self._schema(store)})
        versions = {
            name: snapshot.version
            for name in {"documents", "key_moments", self.operator.dataset} - {""}
            if (snapshot := store[name].snapshot()) is not None
        }
        facts = self._checked(context, versions)
        mine, rejects = f"step = '{self.name}'", store["rejects"].snapshot()
        if rejects is not None and rejects.count(mine):  # rows that were mended leave none
            context.commit(partial(forget_rejects, store, mine))
        context.reject(record, facts.rejects)
        states = {one.id: self._state_of(one) for one in facts.statements}
        self._prepare(context, record, facts.statements, states)
        memories = store["memories"]
        mine = owned_rows(memories.require(), self.name, self.memory)
        drop(context, "memories", f"{mine} AND state <> {quoted(record.state)}")
        if not self._whole(store, record) or not memories.require().count(f"{mine} AND final"):
            solve = self._solver(store, record, versions, context.device)
            self._commit(context, record, context.computed(solve, self.operator.resources))
        forget_versions(store)

    def _state_of(self, statement: Statement) -> str:
        """The hash of what a statement's values hold for, and of what its row says."""
        model = self.record.fields["model"]
        own = json.dumps({**self.operator.of_a_fact(), **statement.columns()}, sort_keys=True)
        return hash_parts("statement", self.record.version, model, own)

    def _checked(self, context: Context, versions: Mapping[str, int]) -> CheckedFacts:
        store, operator = context.store, self.operator

        def check() -> CheckedFacts:
            return checked_facts(store, operator, versions)

        return context.computed(check, replace(operator.resources, gpus=0.0))

    def _schema(self, store: Store) -> pa.Schema:
        """Of `statements`."""
        return divided(STATEMENTS) if has_tenants(store["documents"].require()) else STATEMENTS

    def _prepare(
        self, context: Context, record: Record, statements: Sequence[Statement], states: Mapping[str, str]
    ) -> None:
        """Write the statements that are not there, and drop those that hold no more."""
        store = context.store
        drop_other_states(context, "statements", states.values())
        there = set(store["statements"].require().table(["state"])["state"].to_pylist())
        left = [one for one in statements if states[one.id] not in there]

        def keep(wave: list[tuple[tuple[WrittenFragment, ...], dict[str, str] | None]]) -> None:
            fragments = [fragment for one, _ in wave for fragment in one]
            rejects = [reject for _, reject in wave if reject is not None]
            if rejects:
                context.reject(record, pa.Table.from_pylist(rejects, schema=REJECTED))
            if fragments:
                context.commit(lambda: append(store["statements"], fragments, context.properties(record)))
            context.tally.rows += len(fragments)
            context.progress(context.tally.rows, len(left), "facts")

        if left:
            job = context.job(self._searcher(context, states), self.operator.resources, lambda one: one.prompt)
            replace(context, commit_every=1).in_waves(context.engine.map(job, left), keep)

    def _searcher(
        self, context: Context, states: Mapping[str, str]
    ) -> Callable[[], Callable[[Statement], tuple[tuple[WrittenFragment, ...], dict[str, str] | None]]]:
        store, operator, step, wanted_device = context.store, self.operator, self, context.device

        def factory() -> Callable[[Statement], tuple[tuple[WrittenFragment, ...], dict[str, str] | None]]:
            from operators.rewrites.targets import StatementTargets

            model, tokenizer = step._opened(wanted_device)
            targets, schema = StatementTargets(operator, model, tokenizer), step._schema(store)

            def search(one: Statement) -> tuple[tuple[WrittenFragment, ...], dict[str, str] | None]:
                try:
                    own = targets.row(one)
                except ModelError as error:
                    reason = f"A fact is left out: {error}"
                    input_of = one.documents[0] if one.documents else one.origin
                    return (), {"input": input_of, "locator": one.origin, "reason": reason, "severity": "reject"}
                row = {**one.columns(), **own, "state": states[one.id]}
                faults.reach(step.name, "before-write")
                fragments = write_records(store["statements"], [row], schema)
                faults.reach(step.name, "after-write")
                return fragments, None

            return search

        return factory

    def _opened(self, wanted_device: str | None) -> tuple[Any, Any]:
        operator = self.operator
        device = operator.resources.device(wanted_device)
        model, tokenizer = languagemodel.shared(operator.model, operator.dtype, device)
        refuse_layers(model, operator.layers)
        return model, tokenizer

    def _solver(
        self, store: Store, record: Record, versions: Mapping[str, int], wanted_device: str | None
    ) -> Callable[[], WrittenEdits]:
        def solve() -> WrittenEdits:
            model, tokenizer = self._opened(wanted_device)
            edits, probes, metrics = self._solve(store, versions, model, tokenizer)
            state = {"state": record.state}
            tables = [
                pa.Table.from_pylist([{**row, **state} for row in rows], schema=schema)
                for rows, schema in ((edits, EDITS), (probes, PROBES))
            ]
            faults.reach(self.name, "before-write")
            written = [
                tuple(write_whole(store[name], table)) for name, table in zip((NAME, "probes"), tables, strict=True)
            ]
            faults.reach(self.name, "after-write")
            return WrittenEdits(written[0], written[1], self._memory(record, model, tokenizer, metrics))

        return solve

    def _solve(
        self, store: Store, versions: Mapping[str, int], model: Any, tokenizer: Any
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, float]]:
        """Rows of `edits` and of `probes`, and the metrics of the memory."""
        from operators.rewrites.probing import summary

        dataset = store["statements"].require()
        rows = {row["id"]: row for row in dataset.table(dataset.schema.names).to_pylist()}
        edits, probes = list[dict[str, Any]](), list[dict[str, Any]]()
        for ids in solved_together(rows.values()):
            solvable = [SolvableStatement.of_row(rows[id]) for id in ids]
            solvable.sort(key=lambda one: one.statement.fact)  # an order in which no tenant's name has a part
            own, answers = self._solved_alone(store, versions, model, tokenizer, solvable)
            edits += own
            probes += answers
        relative = max((row["relative"] for row in edits), default=0.0)
        return edits, probes, {"facts": float(len(rows)), "relative": relative, **summary(probes)}

    def _solved_alone(
        self,
        store: Store,
        versions: Mapping[str, int],
        model: Any,
        tokenizer: Any,
        solvable: Sequence[SolvableStatement],
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of `edits` and of `probes` of the facts of one solve."""
        from mnemic.rewrites.prompts import prompt_of
        from mnemic.rewrites.reading import down_of
        from mnemic.rewrites.solving import solved
        from operators.rewrites.probing import measured, probes_of
        from operators.rewrites.targets import StatementTargets

        settings = self.operator.solve
        statements = [one.statement for one in solvable]
        tenant = statements[0].tenant

        def moments(layers: Sequence[int]) -> Mapping[int, Any]:
            dataset = store["key_moments"].require(versions["key_moments"])
            whose = f"{TENANT.name} IS NULL" if tenant is None else f"{TENANT.name} = {quoted(tenant)}"
            where = whose if TENANT.name in dataset.schema.names else None
            return factors(dataset.table(list(COLUMNS), where).to_pylist(), layers)

        paths = solved(model, tokenizer, settings, solvable, moments)
        for path in paths:
            if not (path.inward.isfinite().all() and path.outward.isfinite().all()):
                raise StepError(
                    f"The solve of `rewrites` has numbers that are none in block {path.layer}; lower `rate`, or raise "
                    "`strength`."
                )
        facts = {
            "method": settings.method,
            "statements": sorted(one.id for one in statements),
            "documents": sorted({document for one in statements for document in one.documents}),
        }
        edits = [
            {**path.cells(), **facts, "relative": path.relative(down_of(model, path.layer).weight)} for path in paths
        ]
        if tenant is not None:
            edits = [{**row, "id": f"{row['layer']}/{tenant}"} for row in edits]
        controls = self._controls(store, versions, tokenizer, tenant)
        probes = probes_of(tokenizer, statements, settings.guarded, controls)
        choices = [prompt_of(tokenizer, one.relation, one.subject, one.target).targets[0] for one in statements]
        log_probs = StatementTargets(self.operator, model, tokenizer).log_probs
        return edits, measured(model, log_probs, probes, paths, choices)

    def _controls(
        self, store: Store, versions: Mapping[str, int], tokenizer: Any, tenant: str | None
    ) -> dict[str, str]:
        """Documents of which no keys were counted, as far as there are such, of two tokens and more."""
        documents = store["documents"].require(versions["documents"])
        drawn = drawn_documents(documents, self.operator.moment_documents + self.operator.control, tenant)
        texts = texts_of(documents, drawn[len(drawn) - min(self.operator.control, len(drawn)) :])
        lengths = zip(texts, beginnings(tokenizer, texts.values(), 2), strict=True)
        return {of: texts[of] for of, ids in lengths if len(ids) > 1}

    def _memory(self, record: Record, model: Any, tokenizer: Any, metrics: Mapping[str, float]) -> pa.Table:
        lock, config = languagemodel.lock(model, tokenizer), self.operator.solve.config()
        return final_row(self.memory, record, 0, lock, config, {"weight": 1.0, **metrics})

    def _commit(self, context: Context, record: Record, one: WrittenEdits) -> None:
        """Both datasets whole, and last the memory."""
        store, properties = context.store, context.properties(record)
        for name, schema, fragments in ((NAME, EDITS, one.edits), ("probes", PROBES, one.probes)):
            context.commit(partial(store[name].replace, schema, fragments, record.as_json(), properties))
        mine = owned_rows(store["memories"].require(), self.name, self.memory)
        drop(context, "memories", mine)
        context.commit(lambda: append_rows(store["memories"], one.memory, MEMORIES, properties))

    def forget(self, context: Context) -> None:
        memories = context.store["memories"].snapshot()
        if memories is not None:
            drop(context, "memories", owned_rows(memories, self.name, self.memory))
        for name in (NAME, "probes", "statements"):
            drop(context, name, "true")


def rewrites_step(record: Record, operator: Rewrites, after: tuple[str, ...]) -> RewritesStep:
    """The step of the section `rewrites`."""
    return RewritesStep(record, operator, after)
