"""Training of blocks: against the model itself, against one optimiser for all, and against an undisturbed training."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.attach.feedforward import Projections
from mnemic.blocks.layout import CONTROL, SHARED
from operators.blocks.frozen import FrozenModel
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import packed
from operators.blocks.student import BlockStudent, TrainedBlocks, TrainedBlocksConfig
from operators.blocks.training import BlockTraining, ModelShape
from operators.train.loop import _BETAS, _EPSILON, make_optimisers
from operators.train.loss import head_loss

LENGTH = 24
LAYERS = (2, 3)
JOBS = {"0": {"0": 4, "0.1": 2}, "1": {"1": 4, "1.0": 2, "1.2": 2}}
LEAVES = {"0": (("0",), ("0", "0.1")), "1": (("1", "1.0"), ("1", "1.2"))}


def loaded(folder, family="llama"):
    return languagemodel.load(save_tiny_model(folder, family), "float32")[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return loaded(tmp_path_factory.mktemp("model"))


def text(job: str, seed: int = 0):
    """Documents of both paths of a job."""
    draw = np.random.default_rng((seed, int(job)))
    return packed(
        {path: [draw.integers(1, 320, size).astype(np.int32) for size in (9, 31, 14, 5, 20)] for path in LEAVES[job]},
        LENGTH,
    )


def settings(**changes):
    return TrainBlocks(**{"sequence": LENGTH, "epochs": 2, "batch": 48, "warmup": 2, "dtype": "float32", **changes})


def trained(model, job, own, sequences=None, state=None, epochs=None):
    """The last checkpoint, and the blocks."""
    frozen, sequences = FrozenModel(model, LAYERS), text(job) if sequences is None else sequences
    training = BlockTraining(own, frozen, JOBS[job], sequences, state)
    with frozen.states(sequences) as states:
        *_, last = itertools.islice(training.epochs(states, lambda done, total: None), epochs)
    return last, training


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "gpt_neox", "gemma"])
def test_what_a_packed_sequence_reads_is_what_its_documents_read_alone(tmp_path, family):
    model = loaded(tmp_path, family)
    sequences = text("0")
    frozen = FrozenModel(model, LAYERS)
    every = np.arange(len(sequences))
    with frozen.states(sequences) as states, torch.no_grad():
        hidden = frozen.above(states.of(every), sequences, every)
        again = frozen.above(states.of(every), sequences, every)
        whole = FrozenModel(model, (0,))
        with whole.states(sequences) as below:
            apart = [whole.above(below.of(one), sequences, one) for one in every[:, None]]
    assert torch.equal(hidden, again)
    assert torch.allclose(hidden, torch.cat(apart), atol=1e-5)
    for number in every:
        for part in range(sequences.part[number].max() + 1):
            place = np.flatnonzero(sequences.part[number] == part)
            ids = torch.from_numpy(sequences.tokens[number, place].astype(np.int64))[None]
            alone = model.base_model(input_ids=ids).last_hidden_state[0]
            assert torch.allclose(hidden[number, place], alone, atol=2e-5)


def test_kept_states_are_those_of_a_whole_pass_bit_for_bit(model):
    sequences, frozen, every = text("1"), FrozenModel(model, LAYERS), np.arange(2)
    whole = FrozenModel(model, LAYERS)
    whole.first, whole._below, whole._above = 0, None, model.base_model
    with frozen.states(sequences) as states, whole.states(sequences) as ids, torch.no_grad():
        for number in every[:, None]:
            expected = whole.above(ids.of(number), sequences, number)
            assert torch.equal(frozen.above(states.of(number), sequences, number), expected)
            assert torch.equal(frozen.above(states.of(number), sequences, number), expected)


def test_untrained_blocks_leave_the_loss_as_it_is_bit_for_bit(model):
    frozen, sequences = FrozenModel(model, LAYERS), text("0")
    training = BlockTraining(settings(), frozen, JOBS["0"], sequences)
    with frozen.states(sequences) as states, torch.no_grad():
        student = BlockStudent(settings(), training.memory, frozen, sequences, states)
        for inputs, labels in student.passes(np.arange(len(sequences))):
            hidden = frozen.above(states.of(inputs), sequences, inputs)
            hidden = hidden[torch.from_numpy(sequences.predicting[inputs])]
            assert torch.equal(student.trunk(inputs), hidden)
            assert len(labels.ids) == len(hidden)


def test_rows_split_off_from_the_model_give_what_the_model_gives(tmp_path):
    model = loaded(tmp_path)
    frozen, sequences = FrozenModel(model, LAYERS), text("0")
    every = np.flatnonzero([path == ("0",) for path in sequences.paths])
    with frozen.states(sequences) as states, torch.no_grad():
        expected = frozen.above(states.of(every), sequences, every)[torch.from_numpy(sequences.predicting[every])]
        training = BlockTraining(settings(), frozen, JOBS["0"], sequences)
        student = BlockStudent(settings(), training.memory, frozen, sequences, states)
        block = training.memory.block("0")
        for place, layer in enumerate(LAYERS):
            projections = Projections.of(languagemodel.blocks(model)[layer])
            block[place] = torch.stack([part[:4] for part in projections.rows()])
            for part in (projections.up, projections.gate):
                part.weight.data[:4] = 0
            projections.down.weight.data[:, :4] = 0
        training.memory.take("0", block)
        assert torch.allclose(student.trunk(every), expected, atol=2e-5)
        training.memory.take("0", torch.zeros_like(block))
        assert not torch.allclose(student.trunk(every), expected, atol=1e-3)


def one_for_all(frozen, own):
    """All blocks in one module under one optimiser, whose step sums the losses of the jobs that have a step left."""
    rows = {path: count for blocks in JOBS.values() for path, count in blocks.items()}
    memory = TrainedBlocks(TrainedBlocksConfig(rows, list(LAYERS), 32, True))
    memory.start(frozen.model, own.seed)
    groups = {
        job: {"params": [one for name, one in memory.matrices.items() if name[0] == job], "lr": 0.0} for job in JOBS
    }
    optimiser = torch.optim.AdamW(
        [*groups.values()], betas=_BETAS, eps=_EPSILON, weight_decay=own.weight_decay, fused=True
    )
    sequences = {job: text(job) for job in JOBS}
    with frozen.states(sequences["0"]) as zero, frozen.states(sequences["1"]) as one:
        states = {"0": zero, "1": one}
        students = {job: BlockStudent(own, memory, frozen, sequences[job], states[job]) for job in JOBS}
        for epoch in range(own.epochs):
            batches = {}
            for job, student in students.items():
                order = np.random.default_rng((own.seed, epoch)).permutation(student.units)
                batches[job] = student.batches(order, own.batch)
            for index in range(max(map(len, batches.values()))):
                optimiser.zero_grad(set_to_none=True)
                losses = []
                for place, job in enumerate(JOBS):
                    if index >= len(batches[job]):
                        continue
                    steps = len(batches[job]) * own.epochs
                    step = epoch * len(batches[job]) + index
                    share = (1 - step / steps) * min(1.0, (step + 1) / own.warmup)
                    optimiser.param_groups[place]["lr"] = own.learning_rate * share
                    student, batch = students[job], batches[job][index]
                    for inputs, labels in student.passes(batch):
                        loss, _ = head_loss(student.trunk(inputs), frozen.head, labels.ids, labels.target)
                        losses.append(loss * (len(labels.ids) / student.rows_in(batch)))
                torch.stack(losses).sum().backward()
                optimiser.step()
    return memory, optimiser


def test_jobs_apart_are_one_job_bit_for_bit(model):
    own = settings(learning_rate=0.01)
    whole, optimiser = one_for_all(FrozenModel(model, LAYERS), own)
    for job, blocks in JOBS.items():
        _, training = trained(model, job, own)
        for path in blocks:
            assert torch.equal(training.memory.block(path), whole.block(path)), path
            assert training.memory.block(path)[:, -1].abs().max() > 0
            own_weights = [one for name, one in whole.matrices.items() if name.startswith(f"{path.replace('.', '-')}/")]
            steps = {int(optimiser.state[weight]["step"]) for weight in own_weights}
            assert steps == {training.memory.steps_of(path)}, path


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_only_blocks_of_the_text_move_and_each_counts_its_own_steps(model, optimiser):
    own = settings(optimiser=optimiser, matrix_rate=0.02)
    frozen, sequences = FrozenModel(model, LAYERS), text("1")
    training = BlockTraining(own, frozen, JOBS["1"], sequences)
    with frozen.states(sequences) as states:
        student = BlockStudent(own, training.memory, frozen, sequences, states)
        optimisers = make_optimisers(own, student, "cpu")
        before = {path: training.memory.block(path) for path in JOBS["1"]}
        batch = np.flatnonzero([path == ("1", "1.0") for path in sequences.paths])
        for inputs, labels in student.passes(batch):
            head_loss(student.trunk(inputs), frozen.head, labels.ids, labels.target)[0].backward()
        for one in optimisers:
            one.step()
    moved = {path for path in JOBS["1"] if not torch.equal(training.memory.block(path), before[path])}
    assert moved == {"1", "1.0"}
    names = {weight: name for name, weight in training.memory.matrices.items()}
    touched = {names[weight] for one in optimisers for weight in one.state}
    assert touched and not any(name.startswith("1-2/") for name in touched)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_training_that_was_broken_off_ends_with_the_same_bytes(model, optimiser):
    own = settings(optimiser=optimiser, epochs=3)
    whole, _ = trained(model, "1", own)
    first, _ = trained(model, "1", own, epochs=1)
    second, _ = trained(model, "1", own, state=first.state, epochs=1)
    last, _ = trained(model, "1", own, state=second.state)
    assert last.epoch == whole.epoch == 3
    assert last.state == whole.state
    assert last.weights == whole.weights


def test_blocks_begin_with_the_block_of_all_topics_and_the_costs_of_both_add_up(model):
    frozen, sequences, own = FrozenModel(model, LAYERS), text("0"), settings(learning_rate=0.02)
    together = packed({(SHARED,): [sequences.tokens[sequences.part >= 0]]}, LENGTH)
    shared = BlockTraining(own, frozen, {SHARED: 4}, together)
    with frozen.states(together) as states:
        *_, last = shared.epochs(states, lambda done, total: None)
    training, fresh = (BlockTraining(own, frozen, JOBS["0"], sequences) for _ in range(2))
    training.begin_with(last.state)
    assert torch.equal(training.memory.block("0"), shared.memory.block(SHARED))
    assert torch.equal(training.memory.block("0.1"), fresh.memory.block("0.1"))
    wider, drawn = (BlockTraining(own, frozen, {CONTROL: 6}, together) for _ in range(2))
    wider.begin_with(last.state)
    assert torch.equal(wider.memory.block(CONTROL)[:, :, :4], shared.memory.block(SHARED))
    assert torch.equal(wider.memory.block(CONTROL)[:, :, 4:], drawn.memory.block(CONTROL)[:, :, 4:])
    with frozen.states(sequences) as states, torch.no_grad():
        begun, before = (BlockStudent(own, one.memory, frozen, sequences, states) for one in (training, fresh))
        hung = BlockStudent(own, shared.memory, frozen, replace(sequences, paths=((SHARED,),) * len(sequences)), states)
        for number in np.arange(len(sequences))[:, None]:
            assert torch.allclose(begun.trunk(number), hung.trunk(number), atol=1e-6)
            assert not torch.allclose(begun.trunk(number), before.trunk(number), atol=1e-4)
        cost = training.cost(states, 4 * ModelShape.of(model, LAYERS).row, own.epochs)
        assert cost == {"trained_tokens": 2.0 * hung.rows, "training_flops": pytest.approx(2 * hung.flops)}


def test_blocks_learn_the_text_of_their_topic(model):
    own = settings(epochs=12, learning_rate=0.02, batch=64)
    frozen, sequences = FrozenModel(model, LAYERS), text("0")
    training = BlockTraining(own, frozen, JOBS["0"], sequences)
    with frozen.states(sequences) as states:
        losses = [one.metrics["train_loss"] for one in training.epochs(states, lambda done, total: None)]
        shape = ModelShape.of(model, LAYERS)
        exact = training.rounding_loss(states, shape.layout(settings(stored="float32"), (4, 2)))
        rough = training.rounding_loss(states, shape.layout(settings(stored="int8"), (4, 2)))
    assert losses[-1] < losses[0] - 0.3
    assert exact == 0.0 and 0 < abs(rough) < 0.05
