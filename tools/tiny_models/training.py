"""One training run from a seed to its checkpoints."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .corpus import Shares, documents, sample
from .network import Network, Shape
from .optimiser import Optimiser, Schedule
from .packing import Batch, Layout, batches
from .tokenizer import Tokenizer, learn_merges

#: Documents the tokenizer is learned from.
TOKENIZER_SAMPLE: Final = 30_000


@dataclass(frozen=True, slots=True)
class Stage:
    """Some steps on one mix of documents, with a schedule of their own."""

    steps: int
    shares: Shares
    muon: float = 0.02
    adam: float = 3e-3


@dataclass(frozen=True, slots=True)
class Run:
    """What a run depends on; the schedules are in steps, so that it repeats.

    Steps count through all stages, also in `save_at`.
    """

    stages: tuple[Stage, ...]
    seed: int = 7
    save_at: tuple[int, ...] = ()
    layout: Layout = field(default_factory=Layout)

    @property
    def steps(self) -> int:
        """Return the steps of all stages."""
        return sum(stage.steps for stage in self.stages)


def train(run: Run, folder: Path, say: Callable[[str], None] = print) -> None:
    """Train on one thread and write tokenizer.json and step-NNNNN.pt into the folder."""
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(learn_merges(sample(TOKENIZER_SAMPLE, run.seed)))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer.merges), encoding="utf-8")
    network = Network(Shape(len(tokenizer.tokens)), run.seed, run.layout.length)
    size = sum(parameter.numel() for parameter in network.parameters().values())
    say(f"{size} parameters, {len(tokenizer.tokens)} tokens")
    first = 0
    for number, stage in enumerate(run.stages):
        for done in _steps(network, tokenizer, stage, run, run.seed + number, say):
            if first + done in run.save_at or first + done == run.steps:
                save(network, folder / f"step-{first + done:05d}.pt")
        first += stage.steps


def _steps(
    network: Network,
    tokenizer: Tokenizer,
    stage: Stage,
    run: Run,
    seed: int,
    say: Callable[[str], None],
) -> Iterator[int]:
    """Train one stage; yields how many of its steps are done."""
    optimiser = Optimiser(network, Schedule(stage.steps), stage.muon, stage.adam)
    done = 0
    mixed = documents(seed, stage.shares, lambda: done / stage.steps)
    stream = batches(tokenizer, mixed, run.layout, seed)
    loss_of = torch.compile(_loss_of(network))
    began, smooth = time.monotonic(), 0.0
    for step in range(stage.steps):
        done = step
        loss = loss_of(*_tensors(next(stream)))
        torch.autograd.backward(loss)
        optimiser.step(step)
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            say(f"step {step + 1} loss {smooth:.4f} after {time.monotonic() - began:.0f} s")
        yield step + 1


def _loss_of(network: Network) -> Callable[..., Tensor]:
    def loss(
        ids: Tensor, document: Tensor, wanted: Tensor, targets: Tensor, weights: Tensor
    ) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = network.logits(ids, document, wanted)
        each = cross_entropy(logits, targets, reduction="none")
        return (each * weights).sum() / weights.sum()

    return loss


def _tensors(batch: Batch) -> tuple[Tensor, ...]:
    arrays = (batch.ids, batch.document, batch.wanted, batch.targets, batch.weights)
    return tuple(torch.from_numpy(array) for array in arrays)


def save(network: Network, path: Path) -> None:
    """Write the weights and the shape aside, then rename."""
    aside = path.with_suffix(".part")
    state = {name: tensor.detach() for name, tensor in network.parameters().items()}
    torch.save({"shape": network.shape.as_dict(), "state": state}, aside)
    aside.replace(path)
