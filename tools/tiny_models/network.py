"""The network: a small llama with its matrices stacked, so that one call serves all layers."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, silu


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a network."""

    vocabulary: int
    layers: int = 5
    width: int = 128
    heads: int = 4
    inner: int = 384
    rope_base: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Return the width of one attention head."""
        return self.width // self.heads

    def as_dict(self) -> dict[str, float]:
        """Return the sizes as a checkpoint stores them."""
        return asdict(self)


class Network:
    """Embedding tied to the output, RMS norms, rotary attention, SwiGLU.

    `attention[layer]` holds q, k, v and o; `feed_forward[layer]` holds gate, up and the
    transposed down. Both are what Muon trains.
    """

    def __init__(self, shape: Shape, seed: int, context: int) -> None:
        self.shape = shape
        source = torch.Generator().manual_seed(seed)
        width, inner, layers = shape.width, shape.inner, shape.layers
        spread = 0.5 * width**-0.5
        self.embedding = torch.randn(shape.vocabulary, width, generator=source) * 0.05
        self.attention = torch.randn(layers, 4, width, width, generator=source) * spread
        self.feed_forward = torch.randn(layers, 3, inner, width, generator=source) * spread
        self.norms = torch.ones(layers, 2, width)
        self.last_norm = torch.ones(width)
        self.attention[:, 3] *= 0.3
        self.feed_forward[:, 2] *= 0.3
        for parameter in self.parameters().values():
            parameter.requires_grad_()
        self.cosines, self.sines = _rotations(shape, context)

    def parameters(self) -> dict[str, Tensor]:
        """Return everything that is trained, by name."""
        return {
            "embedding": self.embedding,
            "attention": self.attention,
            "feed_forward": self.feed_forward,
            "norms": self.norms,
            "last_norm": self.last_norm,
        }

    def logits(self, ids: Tensor, document: Tensor, wanted: Tensor) -> Tensor:
        """Return logits at the wanted positions (indices into the flattened batch).

        `document` numbers the document each position belongs to: positions only see
        earlier ones of their own.
        """
        length = ids.shape[1]
        same = document[:, None, :, None] == document[:, None, None, :]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        bias = torch.zeros(same.shape).masked_fill(~(same & causal), float("-inf"))
        x = self.embedding[ids]
        for layer in range(self.shape.layers):
            before, between = self.norms[layer]
            x = x + self._attend(self._normed(x, before), self.attention[layer], bias)
            x = x + _feed(self._normed(x, between), self.feed_forward[layer])
        x = self._normed(x.flatten(0, 1)[wanted], self.last_norm)
        return (x @ self.embedding.T).float()

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.shape.epsilon) * weight

    def _attend(self, x: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        rows, length, width = x.shape
        heads, head_width = self.shape.heads, self.shape.head_width
        mixed = linear(x, weights[:3].reshape(3 * width, width))
        q, k, v = mixed.view(rows, length, 3, heads, head_width).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self._rotated(q), self._rotated(k)
        scores = (q @ k.transpose(-1, -2)).float() * head_width**-0.5 + bias
        out = torch.softmax(scores, -1).to(v.dtype) @ v
        return linear(out.transpose(1, 2).reshape(rows, length, width), weights[3])

    def _rotated(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        length = x.shape[-2]
        cosines = self.cosines[:length].to(x.dtype)
        sines = self.sines[:length].to(x.dtype)
        turned = (first * cosines - second * sines, second * cosines + first * sines)
        return torch.cat(turned, -1)


def _feed(x: Tensor, weights: Tensor) -> Tensor:
    inner = weights.shape[1]
    gate, up = linear(x, weights[:2].reshape(2 * inner, -1)).chunk(2, -1)
    return (silu(gate) * up) @ weights[2]


def _rotations(shape: Shape, context: int) -> tuple[Tensor, Tensor]:
    half = shape.head_width // 2
    speeds = shape.rope_base ** (-torch.arange(half) / half)
    angles = torch.arange(context)[:, None] * speeds
    return angles.cos(), angles.sin()
