"""Models that answer at an address already, and what every engine behind an address needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from pytest_llmeval.engines.anthropic import messages_headers
from pytest_llmeval.engines.balanced import BalancedEngine
from pytest_llmeval.engines.engine import Endpoint, Engine, make_engine
from pytest_llmeval.engines.fetch import fetch, post
from pytest_llmeval.engines.openai import base_and_version
from pytest_llmeval.engines.wire import fits_header
from pytest_llmeval.errors import ConfigError
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.inputs.engine_keys import ENGINES, keys_of
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.run.models import Backing
from pytest_llmeval.servers.health import Health, check_health

#: Seconds that a health check waits for an answer.
HEALTH_TIMEOUT = 5.0


def adopted_backing(model: ModelConfig, config: Config) -> Backing:
    """How a model is reached that somebody else serves at its `url`. Raises ConfigError."""
    url, key = model.url or "", api_key_of(model, config)
    several = partial(balanced_engine_of, model, key) if model.urls else None
    return Backing(
        make_server=None,
        make_engine=several or partial(engine_of, model, key),
        url=url,
        digest=no_digest,
        is_loading=partial(_is_any_loading, model, key) if url else None,
    )


def urls_of(model: ModelConfig) -> tuple[str, ...]:
    """Everywhere that an adopted model answers."""
    return model.urls or ((model.url,) if model.url else ())


def _is_any_loading(model: ModelConfig, key: str | None) -> bool:
    return any(health_of(model, url, key).state == "loading" for url in urls_of(model))


def balanced_engine_of(model: ModelConfig, api_key: str | None, _url: str) -> Engine:
    """The engine of a model that answers at several urls."""
    engines = [(url, engine_of(model, api_key, url)) for url in model.urls]
    return BalancedEngine(engines, model.slots, most=model.asked_slots)


def engine_of(model: ModelConfig, api_key: str | None, url: str) -> Engine:
    """The engine of a model that answers at a url."""
    return make_engine(model.engine, endpoint_of(model, api_key, url))


def endpoint_of(model: ModelConfig, api_key: str | None, url: str) -> Endpoint:
    """A url with all that the config says of the model that answers there."""
    return Endpoint(
        url,
        model=model.sent_name,
        api_key=api_key,
        timeout=model.timeout,
        settings=_settings_of(model),
    )


def _settings_of(model: ModelConfig) -> dict[str, Any]:
    """What only engines of the model's kind know: for one of another package, all its options."""
    if model.engine not in ENGINES:
        return dict(model.options or {})
    passed = keys_of(model.engine, ("url",) if model.url is not None else ()).passed
    values = {key: getattr(model, key) for key in passed}
    return {key: value for key, value in values.items() if value is not None}


def api_key_of(model: ModelConfig, config: Config) -> str | None:
    """The key that requests to a model carry; ConfigError when its variable holds none."""
    if model.api_key_env is None:
        return None
    key = os.environ.get(model.api_key_env)
    if not key:
        raise ConfigError(
            f"models: {model.name}: api_key_env names the environment variable "
            f"{model.api_key_env}, which is not set; set it to the key",
            path=config.path,
        )
    if not fits_header(key):
        raise ConfigError(
            f"models: {model.name}: the environment variable {model.api_key_env} holds characters "
            "that no HTTP header can carry, such as a line break or a blank at its end; set it to "
            "the key alone",
            path=config.path,
        )
    return key


def health_of(model: ModelConfig, url: str, key: str | None) -> Health:
    """The health of an endpoint of a model right now, as the servers room judges it."""
    ask = _fetch_with_messages_key if model.engine == "anthropic" else fetch_for_health
    base, _ = base_and_version(url)
    return check_health(ask, base, key)


def _fetch_with_messages_key(url: str, api_key: str | None) -> tuple[int, bytes]:
    return fetch(url, HEALTH_TIMEOUT, headers=messages_headers(api_key)).answer()


def fetch_for_health(url: str, api_key: str | None) -> tuple[int, bytes]:
    """What the servers room asks of the engines room."""
    return fetch(url, HEALTH_TIMEOUT, api_key).answer()


def post_to_server(url: str, body: bytes) -> tuple[int, bytes]:
    """What the servers room tells a server of ours."""
    return post(url, HEALTH_TIMEOUT, body).answer()


def no_digest(_cancelled: Callable[[], bool]) -> None:
    """Nothing: the weights are not ours to read."""
    return
