"""What a running server says of itself in GET /props, held against what was asked for (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_llmeval.servers.command import round_up
from pytest_llmeval.servers.spec import ServerSpec


def read_props(status: int, body: bytes) -> Mapping[str, Any]:
    """The object that GET /props gave; ValueError with a reason if it is none."""
    if status == 401:
        raise ValueError(
            "HTTP 401: it asks for a key, and a server of ours answers this machine only; "
            "remove `--api-key` from its `args`"
        )
    if status != 200:
        raise ValueError(f"HTTP {status}")
    try:
        props = json.loads(body)
    except RecursionError:
        props = None
    if isinstance(props, dict):
        return props
    raise ValueError("no JSON object")


def find_fault(props: Mapping[str, Any], spec: ServerSpec, trained: int | None) -> str | None:
    """What the server has otherwise than asked for, and the way out; None if all is well.

    `trained` is the context that the model was trained for: newer builds of llama.cpp give a slot
    no more. More context than asked for comes from rounding, or from slots that share theirs.
    """
    slots = props.get("total_slots")
    settings = props.get("default_generation_settings")
    context = settings.get("n_ctx") if isinstance(settings, dict) else None
    if not isinstance(slots, int) or not isinstance(context, int):
        return "the server's /props does not say its slots and context; is it llama.cpp's?"
    if slots != spec.slots:
        return (
            f"{spec.slots} slots were asked for and the server has {slots}: do its `args` say so?"
        )
    if context < spec.context:
        limit = f"the model was trained for {trained:,}; " if trained == context else ""
        return (
            f"a context of {spec.context:,} tokens per slot was asked for and the server gives "
            f"{context:,}: {limit}ask for a context of {context} or less"
        )
    if slots > 1 and context > round_up(spec.context):
        return (
            f"a context of {spec.context:,} tokens per slot was asked for and the server says "
            f"{context:,}, so its {slots} slots share one: remove `-kvu` or `-c` from its `args`"
        )
    return None
