"""What Ollama says of a model, in /api/show, /api/ps and /api/tags. Pure."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_llmeval.errors import Unsupported

REFUSES_LONG_PROMPTS = (0, 12, 6)
"""The first version that knows `truncate` and `shift`. Those before cut a prompt that is too long,
and whatever they are told, say nothing of it."""

_LAYER = re.compile(r"(?m)^FROM .*sha256[-:]([0-9a-f]{64})\s*$")
_FROM = re.compile(r"(?m)^FROM ")
_ADAPTER = re.compile(r"(?m)^ADAPTER ")
_STOP = re.compile(r'(?m)^stop\s+(".*")\s*$')
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Shown:
    """What /api/show says of a model: `trained` is the context it was trained for, `own_stops` the
    texts that end its answers, and `weights` the sha256 of its weights when they are one file.
    """

    weights: str | None
    template_sha256: str | None
    trained: int | None
    own_stops: tuple[str, ...]
    writes: bool
    thinks: bool
    elsewhere: bool


def read_shown(shown: Mapping[str, Any]) -> Shown:
    """Take in the body of /api/show; what it lacks is not known."""
    abilities = shown.get("capabilities")
    known = abilities if isinstance(abilities, list) else ["completion"]
    return Shown(
        weights=_weights(_text(shown, "modelfile")),
        template_sha256=_template_sha256(shown),
        trained=_trained_context(shown.get("model_info")),
        own_stops=_own_stops(_text(shown, "parameters")),
        writes="completion" in known,
        thinks="thinking" in known,
        elsewhere=bool(shown.get("remote_host") or shown.get("remote_model")),
    )


def manifest_digest(tags: Mapping[str, Any], model: str) -> str | None:
    """The digest of a model's manifest in /api/tags: it covers all that a model consists of."""
    digest = _entry(tags, model).get("digest")
    return digest.removeprefix("sha256:") if isinstance(digest, str) and digest else None


def loaded_context(running: Mapping[str, Any], model: str) -> int | None:
    """Tokens per slot with which a model is loaded, by /api/ps; None when it does not say so."""
    found = _entry(running, model).get("context_length")
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def is_cloud_name(model: str) -> bool:
    """Whether Ollama passes a name on to its cloud before it looks for a model of its own."""
    tag = model.rpartition(":")[2].lower() if ":" in model else ""
    return tag == "cloud" or ("/" not in tag and tag.endswith("-cloud"))


def refuse_version(version: str) -> None:
    """Raise `Unsupported` for a version that cuts prompts without a word."""
    found = _VERSION.match(version)
    parts = tuple(map(int, found.groups())) if found else REFUSES_LONG_PROMPTS
    if (0, 0, 0) < parts < REFUSES_LONG_PROMPTS:  # 0.0.0 is one that somebody built
        least = ".".join(map(str, REFUSES_LONG_PROMPTS))
        raise Unsupported(
            f"This is Ollama {version}, which cuts off prompts that are too long and says nothing "
            f"of it; from {least} on it can be told not to. Update it."
        )


def context_of(asked: int | None, usual: int, trained: int | None) -> int:
    """Tokens of context to ask for: as written, else the usual or all that the model knows.

    Raises `Unsupported` for more than it was trained for, of which Ollama would give less.
    """
    if asked is None:
        return min(usual, trained or usual)
    if trained is not None and asked > trained:
        raise Unsupported(
            f"A context of {asked:,} tokens was asked for and the model was trained for "
            f"{trained:,}: write `context: {trained}` or less."
        )
    return asked


def _entry(listing: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    models = listing.get("models")
    for entry in models if isinstance(models, list) else ():
        names = (entry.get("name"), entry.get("model")) if isinstance(entry, dict) else ()
        if any(isinstance(name, str) and _full(name) == _full(model) for name in names):
            return dict(entry)
    return {}


def _full(name: str) -> str:
    """A name as Ollama compares it: with its tag, without what stands before by default."""
    name = name.strip().lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _weights(modelfile: str) -> str | None:
    """The layer of a model's weights, which is the sha256 of their GGUF.

    With an adapter or a second file (of images) the weights are not this one alone.
    """
    layers = _LAYER.findall(modelfile)
    alone = len(layers) == len(_FROM.findall(modelfile)) == 1 and not _ADAPTER.search(modelfile)
    return layers[0] if alone else None


def _template_sha256(shown: Mapping[str, Any]) -> str | None:
    """The digest of the template, and of whatever else Ollama puts around the messages."""
    template = _text(shown, "template")
    around = {
        key: shown[key] for key in ("system", "messages", "renderer", "parser") if shown.get(key)
    }
    if around:
        template += "\0" + json.dumps(around, sort_keys=True)
    return (
        hashlib.sha256(template.encode("utf-8", "surrogatepass")).hexdigest() if template else None
    )


def _trained_context(info: Any) -> int | None:
    values = info.items() if isinstance(info, dict) else ()
    found = [value for key, value in values if key.endswith(".context_length")]
    whole = [value for value in found if isinstance(value, int) and not isinstance(value, bool)]
    return whole[0] if whole and whole[0] > 0 else None


def _own_stops(parameters: str) -> tuple[str, ...]:
    """The stop texts among a model's parameters, which are written as Go quotes them."""
    return tuple(_unquoted(quoted) for quoted in _STOP.findall(parameters))


def _unquoted(quoted: str) -> str:
    # Go's escapes are among Python's.
    try:
        return str(ast.literal_eval(quoted))
    except (ValueError, SyntaxError):
        return quoted.strip('"')


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""
