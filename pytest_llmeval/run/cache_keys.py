"""Under which key an answer is kept: everything that could make it another one. Pure.

An answer that is not found is asked for, which costs a moment. One that is found and would not be
given today is a wrong number. So whatever is not known to change nothing is part of the key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_llmeval.engines.engine import EndpointFacts
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import Request, Sampling, Trial
from pytest_llmeval.servers.leases import SHAPES_NOTHING
from pytest_llmeval.servers.spec import ServerSpec

NO_SEED = 2**32 - 1
"""What llama.cpp takes for "any": each answer has a seed of its own."""

VERSION = 2
"""Of the key and of what is kept under it: a change of either lets all go that is kept."""

MODEL_LEAVES_OUT: Mapping[str, str] = {
    "name": "the config's word for it; requests carry sent_name",
    "gguf": "its digest is there",
    "lora": "their digests and scales are there",
    "executable": "what the server is made of is there",
    "port": "where it answers",
    "timeout": "how long one waits",
    "start_timeout": "how long one waits",
    "memory": "when it is loaded, not how",
    "price": "what its tokens cost",
}
"""What of a model's settings changes no answer, and why."""

SPEC_LEAVES_OUT: Mapping[str, str] = {
    **dict.fromkeys(SHAPES_NOTHING, "how the server is kept"),
    "name": "an alias, and the name of its log",
    "gguf": MODEL_LEAVES_OUT["gguf"],
    "lora": MODEL_LEAVES_OUT["lora"],
    "executable": MODEL_LEAVES_OUT["executable"],
    "port": MODEL_LEAVES_OUT["port"],
    "api_key": "who may ask",
}
"""What of a server's spec changes no answer, and why."""

FACTS_LEAVE_OUT: Mapping[str, str] = {
    "model_path": "its digest is there",
    "model_name": "a name",
    "served": "names",
}
"""What of an endpoint's word about itself changes no answer, and why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Serving:
    """Who answers: a model as it is served here and now.

    `weights` is the digest of weights and adapters. `made_of` are fingerprints of the files that
    the server is made of and reads besides, `machine` is what computes, `environ` the variables
    that tell server and drivers what to do. `code` is the digest of our own code between request
    and answer. `at_once` requests are under way together, which llama.cpp computes in one batch:
    sums come out in another order.
    """

    model: ModelConfig
    spec: ServerSpec
    facts: EndpointFacts
    weights: str
    made_of: Sequence[Sequence[Any]]
    machine: Mapping[str, Any]
    environ: Mapping[str, str]
    code: str
    at_once: int


def serving_hash(serving: Serving) -> bytes:
    """What tells a model as it is served from every other one."""
    return _hash(
        [
            VERSION,
            _without(serving.model, MODEL_LEAVES_OUT),
            _without(serving.spec, SPEC_LEAVES_OUT),
            _without(serving.facts, FACTS_LEAVE_OUT),
            serving.weights,
            serving.made_of,
            serving.machine,
            sorted(serving.environ.items()),
            serving.code,
            serving.at_once,
        ]
    )


def answer_key(serving: bytes, request: Request, trial: Trial, day: str) -> bytes:
    """The key of a trial's answer, of a model that is served so.

    Where chance decides, the answer belongs to its trial alone: another item that happens to ask
    the same is another draw. Where the model is told the date, `day` says which; else it is "".
    """
    drawn_for = "" if is_settled(request) else trial.id
    return _hash([serving.hex(), request, trial.repeat, drawn_for, day])


def is_settled(request: Request) -> bool:
    """Whether nothing of the answer is left to chance, as far as the request can say so."""
    sampling: Sampling = request.sampling
    has_seed = sampling.seed not in (None, NO_SEED)
    return bool(request.continuations) or sampling.temperature == 0 or has_seed


def _without(value: Any, left_out: Mapping[str, str]) -> dict[str, Any]:
    fields = (each.name for each in dataclasses.fields(value))
    return {name: getattr(value, name) for name in fields if name not in left_out}


def _hash(value: Any) -> bytes:
    return hashlib.sha256(_encode(value).encode("ascii")).digest()


def _fields(value: Any) -> Any:
    """What JSON has no word for. The order of keys is kept: templates and grammars follow it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _without(value, {})
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)  # a path


_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=_fields).encode
