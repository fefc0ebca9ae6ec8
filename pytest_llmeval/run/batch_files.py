"""Files of requests, read back so that they can be asked without the suites they came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_llmeval.engines.engine import refuse_request
from pytest_llmeval.engines.request_bodies import request_from_body, template_kwargs_of
from pytest_llmeval.errors import RunError, Unsupported
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import (
    Condition,
    Item,
    PromptVariant,
    Request,
    Sampling,
    Suite,
    Trial,
    parse_trial_id,
)

PATHS = {"chat": "/v1/chat/completions", "completion": "/v1/completions"}
"""The `url` of a request by its form; nothing else can be asked."""

_NO_PROMPT = PromptVariant("", (), "")
_NO_SAMPLING = Sampling(max_tokens=0)
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class WrittenRequest:
    """A request of a file: the model that its body names, what it asks, and what it gives the
    model's chat template beside that.
    """

    custom_id: str
    model: str | None
    request: Request
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)


def read_requests(path: Path, config: Config) -> list[WrittenRequest]:
    """Every request of a file, in order; an answer may be as long as the config's first sampling
    says where a request does not say it.

    Raises `RunError` with file and line for what is no request or cannot be asked, and for a
    `custom_id` that comes twice: nothing of the file is asked then.
    """
    longest = next(iter(config.samplings.values())).sampling.max_tokens
    found: dict[str, WrittenRequest] = {}
    for number, data in _lines(path):
        try:
            written = _written(data, longest)
        except Unsupported as error:
            raise RunError(f"{path}:{number}: {error}. Take the key or the line out") from None
        except (ValueError, KeyError, TypeError) as error:
            words = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise RunError(f"{path}:{number}: this is no request: {words}") from None
        if written.custom_id in found:
            raise RunError(
                f"{path}:{number}: the custom_id {written.custom_id!r} stands there twice, and "
                f"results are told apart by it alone"
            )
        found[written.custom_id] = written
    return list(found.values())


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise RunError(f"{path}:{number}: this is no JSON: {error}") from None


def _written(data: Any, longest: int) -> WrittenRequest:
    custom_id, body = data["custom_id"], data["body"]
    if not isinstance(custom_id, str) or not custom_id:
        raise ValueError("its custom_id is no text")
    request = request_from_body(body, max_tokens=longest)
    path = PATHS[request.form]
    if data.get("method", "POST") != "POST" or data.get("url", path) != path:
        raise ValueError(f"a body like this is for POST {path}, not {data.get('url')}")
    return WrittenRequest(custom_id, body.get("model"), request, template_kwargs_of(body))


def model_for(written: WrittenRequest, config: Config, path: Path) -> str:
    """Which model of the config a request is for: the one its body names, else the only one.

    Raises `RunError` where several could be meant.
    """
    meant = [
        name for name, model in config.models.items() if written.model in (name, model.sent_name)
    ]
    if len(meant) == 1:
        return meant[0]
    if len(config.models) == 1:
        return next(iter(config.models))
    told = f"names the model {written.model!r}, which is {'several' if meant else 'none'} of those"
    raise RunError(
        f"{path}: the request {written.custom_id} {told} of {config.path} "
        f"({', '.join(config.models)}). Give a config with the one model that is to answer, or "
        f"name it in the requests"
    )


def refuse_the_unaskable(model: ModelConfig, written: WrittenRequest, path: Path) -> None:
    """Raise `RunError` for a request that a model cannot honestly be asked as it is written."""
    try:
        refuse_request(model.engine, written.request)
    except Unsupported as error:
        raise RunError(f"{path}: the request {written.custom_id}: {error}") from None
    if written.template_kwargs != dict(model.chat_template_kwargs or {}):
        raise RunError(
            f"{path}: the request {written.custom_id} has other chat_template_kwargs "
            f"({dict(written.template_kwargs)}) than the model {model.name} of the config "
            f"({dict(model.chat_template_kwargs or {})}): write the same into the config"
        )


def trial_of(custom_id: str, model: str, id_: str | None = None) -> Trial:
    """A trial of which no more is known than what a request says: enough to be asked.

    `id_` takes the place of an id that is not unique among all that is asked at once.
    """
    try:
        parts = parse_trial_id(custom_id)
        suite, condition, name = parts.suite, parts.condition, parts.name
    except ValueError:  # somebody else's
        suite, condition, name = "", model, custom_id
    return Trial(
        suite=Suite(suite, "", (), "", (), ()),
        condition=Condition(condition, model, _NO_PROMPT, _NO_SAMPLING),
        item=Item(name, name, _NOTHING, None),
        repeat=1,
        name=name,
        id=id_ or custom_id,
    )
