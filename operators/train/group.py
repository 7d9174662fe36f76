"""Processes that train one memory together, or one process that does the shares of all of them.

Every process holds the whole memory and takes its share of every batch; gradients are summed before each step, so all
of them step alike and the batch is the same whatever their number. Small messages keep them together: the measurements
of the first process are those of all, since on two kinds of processors theirs might differ, and with them the decision
when to stop. A process that the others no longer hear raises `LostMember` within minutes, and never waits on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from operators.contracts import LostMember, Member

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

MEETING = timedelta(minutes=3)
"""How long members wait for all to come."""

SILENCE = timedelta(minutes=15)
"""How long a member waits for another one while they work; a validation of the first is waited for by all."""

ItemT = TypeVar("ItemT", bound="np.generic")


class Group(Protocol):
    """What a training asks of those that it trains with."""

    @property
    def first(self) -> bool:
        """Whether this process measures and tells for all."""

    def shares(self, members: NDArray[ItemT]) -> Iterator[NDArray[ItemT]]:
        """The shares of a batch that this process takes."""

    def start_alike(self, memory: torch.nn.Module) -> None:
        """Give all processes the weights of the first."""

    def add(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Make every gradient the sum of what all processes have; of one that has none, 0."""

    def total(self, sums: torch.Tensor) -> torch.Tensor:
        """The sum of what all processes hold."""

    def agree(self, numbers: list[float]) -> list[float]:
        """The numbers of the first process."""


@dataclass(frozen=True)
class Alone:
    """One process, which takes the shares of ``size`` one after another."""

    size: int = 1
    first: bool = True

    def shares(self, members: NDArray[ItemT]) -> Iterator[NDArray[ItemT]]:
        return (members[rank :: self.size] for rank in range(self.size) if rank < len(members))

    def start_alike(self, memory: torch.nn.Module) -> None:
        return None

    def add(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        return None

    def total(self, sums: torch.Tensor) -> torch.Tensor:
        return sums

    def agree(self, numbers: list[float]) -> list[float]:
        return numbers


@dataclass(frozen=True)
class Together:
    """One of several processes, in torch's default process group."""

    member: Member
    device: str

    @property
    def first(self) -> bool:
        return self.member.rank == 0

    def shares(self, members: NDArray[ItemT]) -> Iterator[NDArray[ItemT]]:
        own = members[self.member.rank :: self.member.size]
        return iter([own] if len(own) else [])

    def start_alike(self, memory: torch.nn.Module) -> None:
        import torch.distributed as dist

        with _heard():
            for parameter in memory.parameters():
                if parameter.requires_grad:  # what is frozen comes from one model for all
                    dist.broadcast(parameter.detach(), 0)

    def add(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        import torch

        held = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
        flat = self.total(torch.cat([gradient.reshape(-1) for gradient in held]))
        sizes = [gradient.numel() for gradient in held]
        for parameter, summed in zip(parameters, torch.split(flat, sizes), strict=True):
            parameter.grad = summed.view_as(parameter)

    def total(self, sums: torch.Tensor) -> torch.Tensor:
        import torch.distributed as dist

        with _heard():
            dist.all_reduce(sums)
        return sums

    def agree(self, numbers: list[float]) -> list[float]:
        import torch
        import torch.distributed as dist

        told = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        with _heard():
            dist.broadcast(told, 0)
        agreed: list[float] = told.tolist()
        return agreed


@contextlib.contextmanager
def joined(member: Member, device: str) -> Iterator[Group]:
    """The group of ``member`` while the block runs: by NCCL on GPUs, by gloo on processors."""
    if not member.meeting:
        yield Alone(member.size)
        return
    import torch.distributed as dist

    if member.meeting.startswith("tcp://127."):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with _heard():
        dist.init_process_group(
            "nccl" if device.startswith("cuda") else "gloo",
            init_method=member.meeting,
            rank=member.rank,
            world_size=member.size,
            timeout=MEETING,
        )
    try:
        with _heard():
            dist.barrier()  # all have come; from here on one may be busy for longer
        dist.distributed_c10d._set_pg_timeout(SILENCE, dist.group.WORLD)
        yield Together(member, device)
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Raise `LostMember` for whatever goes wrong between the members of a group."""
    try:
        yield
    except RuntimeError as error:  # torch's errors of communication are this or derive from it
        raise LostMember(
            f"The processes of the training lost one another ({str(error).splitlines()[0][:200]}). What was committed "
            "is kept: look after the machines and the network between them, and run the same build again."
        ) from error
