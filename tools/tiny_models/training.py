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

from .corpus import documents, sample
from .network import Network, Shape
from .optimiser import Optimiser, Schedule
from .packing import Batch, Layout, batches
from .tokenizer import Tokenizer, learn_merges

#: Documents the tokenizer is learned from.
TOKENIZER_SAMPLE: Final = 30_000


@dataclass(frozen=True, slots=True)
class Run:
    """What a run depends on; its schedule is in steps, so that it repeats.

    The shares of the documents have moved to their end values when `settled` of the run is done.
    """

    steps: int
    seed: int = 7
    save_at: tuple[int, ...] = ()
    settled: float = 0.3
    layout: Layout = field(default_factory=Layout)


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
    for done in _steps(network, tokenizer, run, say):
        if done in run.save_at or done == run.steps:
            save(network, folder / f"step-{done:05d}.pt")


def _steps(
    network: Network, tokenizer: Tokenizer, run: Run, say: Callable[[str], None]
) -> Iterator[int]:
    """Train step by step; yields how many are done."""
    optimiser = Optimiser(network, Schedule(run.steps))
    done = 0
    mixed = documents(run.seed, lambda: min(1.0, done / (run.settled * run.steps)))
    stream = batches(tokenizer, mixed, run.layout, run.seed)
    loss_of = torch.compile(_loss_of(network))
    smooth = 0.0
    for step in range(run.steps):
        done = step
        loss = loss_of(*_tensors(next(stream)))
        torch.autograd.backward(loss)
        optimiser.step(step)
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            used = time.process_time()
            say(f"step {step + 1} of {run.steps}, loss {smooth:.4f}, {used:.0f} CPU seconds")
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
