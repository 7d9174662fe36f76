"""The process group that trains one memory, or one process that computes the shards of all.

Every process holds the whole memory and takes its shard of every batch. Gradients are summed before each step, so all
processes step alike and the batch is the same whatever their number. The measurements of rank 0 are those of all: on
two kinds of processors they might differ, and with them the decision when to stop. A process that cannot reach the
others raises `LostProcess` within minutes, and never waits on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from operators.contracts import LostProcess, ProcessRank

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

RENDEZVOUS_TIMEOUT = timedelta(minutes=3)
"""How long processes wait for all to come to the rendezvous."""

TIMEOUT = timedelta(minutes=15)
"""How long a process waits for another one while they work; all wait for a validation of rank 0."""


class HasWeights(Protocol):
    """What weights are sent of."""

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...


ItemT = TypeVar("ItemT", bound="np.generic")


class ProcessGroup(Protocol):
    """What a training asks of the processes that it runs in."""

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which measures and yields for all."""

    def shards(self, batch: NDArray[ItemT]) -> Iterator[NDArray[ItemT]]:
        """The shards of a batch, [n], that this process computes."""

    def broadcast_weights(self, memory: HasWeights) -> None:
        """Give all processes the weights of rank 0."""

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Make every gradient the sum over all processes; a missing one counts as 0."""

    def all_reduce(self, sums: torch.Tensor) -> torch.Tensor:
        """The sum of this tensor over all processes, of its shape and dtype."""

    def broadcast(self, numbers: list[float]) -> list[float]:
        """The numbers of rank 0."""


@dataclass(frozen=True)
class SingleProcess:
    """One process, which computes the shards of ``size`` ranks one after another."""

    size: int = 1
    first: bool = True

    def shards(self, batch: NDArray[ItemT]) -> Iterator[NDArray[ItemT]]:
        return (batch[rank :: self.size] for rank in range(self.size) if rank < len(batch))

    def broadcast_weights(self, memory: HasWeights) -> None:
        return None

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        return None

    def all_reduce(self, sums: torch.Tensor) -> torch.Tensor:
        return sums

    def broadcast(self, numbers: list[float]) -> list[float]:
        return numbers


@dataclass(frozen=True)
class TorchProcessGroup:
    """One of several processes, in torch's default process group."""

    process: ProcessRank
    device: str

    @property
    def first(self) -> bool:
        return self.process.rank == 0

    def shards(self, batch: NDArray[ItemT]) -> Iterator[NDArray[ItemT]]:
        shard = batch[self.process.rank :: self.process.size]
        return iter([shard] if len(shard) else [])

    def broadcast_weights(self, memory: HasWeights) -> None:
        import torch.distributed as dist

        with _lost_process_is_named():
            for parameter in memory.parameters():
                if parameter.requires_grad:  # what is frozen comes from one model for all
                    dist.broadcast(parameter.detach(), 0)

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        import torch

        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
        flat = self.all_reduce(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for parameter, summed in zip(parameters, torch.split(flat, sizes), strict=True):
            parameter.grad = summed.view_as(parameter)

    def all_reduce(self, sums: torch.Tensor) -> torch.Tensor:
        import torch.distributed as dist

        with _lost_process_is_named():
            dist.all_reduce(sums)
        return sums

    def broadcast(self, numbers: list[float]) -> list[float]:
        import torch
        import torch.distributed as dist

        values = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        with _lost_process_is_named():
            dist.broadcast(values, 0)
        agreed: list[float] = values.tolist()
        return agreed


@contextlib.contextmanager
def process_group(process: ProcessRank, device: str) -> Iterator[ProcessGroup]:
    """The group of ``process`` while the block runs: by NCCL on GPUs, by gloo on processors."""
    if not process.rendezvous:
        yield SingleProcess(process.size)
        return
    import torch.distributed as dist

    if process.rendezvous.startswith("tcp://127."):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with _lost_process_is_named():
        dist.init_process_group(
            "nccl" if device.startswith("cuda") else "gloo",
            init_method=process.rendezvous,
            rank=process.rank,
            world_size=process.size,
            timeout=RENDEZVOUS_TIMEOUT,
        )
    try:
        with _lost_process_is_named():
            dist.barrier()  # all have come; from here on one may be busy for longer
        dist.distributed_c10d._set_pg_timeout(TIMEOUT, dist.group.WORLD)
        yield TorchProcessGroup(process, device)
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _lost_process_is_named() -> Iterator[None]:
    """Raise `LostProcess` for whatever goes wrong between the processes of a group."""
    try:
        yield
    except RuntimeError as error:  # torch's errors of communication are this or derive from it
        raise LostProcess(
            f"The processes of the training lost one another ({str(error).splitlines()[0][:200]}). What was committed "
            "is kept: look after the machines and the network between them, and run the same build again."
        ) from error
