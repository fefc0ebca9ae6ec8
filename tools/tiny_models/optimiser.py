"""Muon for the stacked matrices, AdamW for the rest, and the schedule of both."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .network import Network

#: Coefficients of the quintic iteration that pulls all singular values towards one.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rates by step: up, flat, then down to nothing in a straight line."""

    steps: int
    warm_up: int = 60
    flat_until: float = 0.35

    def factor(self, step: int) -> float:
        """Return what the learning rates are multiplied with at a step."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        falling_from = self.flat_until * self.steps
        return min(1.0, max(0.0, (self.steps - step) / (self.steps - falling_from)))


def orthogonal(matrices: Tensor, rounds: int = 5) -> Tensor:
    """Return each matrix of a stack with its singular values set to about one."""
    a, b, c = _COEFFICIENTS
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(rounds):
        square = x @ x.mT
        x = a * x + (b * square + c * (square @ square)) @ x
    result: Tensor = (x.mT if tall else x).float()
    return result


class Optimiser:
    """Steps all parameters of a network."""

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        muon: float = 0.02,
        adam: float = 3e-3,
        decay: float = 0.03,
    ) -> None:
        self.schedule = schedule
        self.muon, self.decay = muon, decay
        self.matrices = [network.attention, network.feed_forward]
        self.momenta = [torch.zeros_like(matrix) for matrix in self.matrices]
        rest = [network.embedding, network.norms, network.last_norm]
        self.adam = torch.optim.AdamW(
            rest, lr=adam, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )
        self.adam_rate = adam

    def step(self, step: int) -> None:
        """Apply the gradients and forget them."""
        factor = self.schedule.factor(step)
        for group in self.adam.param_groups:
            group["lr"] = self.adam_rate * factor
        self.adam.step()
        with torch.no_grad():
            for matrix, momentum in zip(self.matrices, self.momenta, strict=True):
                self._turn(matrix, momentum, self.muon * factor)
        self.adam.zero_grad(set_to_none=True)

    def _turn(self, matrix: Tensor, momentum: Tensor, rate: float) -> None:
        gradient = matrix.grad
        assert gradient is not None, "step() comes after backward()"
        momentum.lerp_(gradient, 0.05)
        update = orthogonal(gradient.lerp(momentum, 0.95))
        scale = max(1.0, matrix.shape[-2] / matrix.shape[-1]) ** 0.5
        matrix.mul_(1 - rate * self.decay).add_(update, alpha=-rate * scale)
        matrix.grad = None
