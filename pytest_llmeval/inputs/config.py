"""The config: which models are asked, on what servers, under which samplings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from pytest_llmeval.errors import ConfigError
from pytest_llmeval.inputs.adapters import Adapter
from pytest_llmeval.inputs.credentials import find_secrets, refuse_secret
from pytest_llmeval.inputs.documents import Document, read_document
from pytest_llmeval.inputs.mistakes import Mistakes, did_you_mean, shown, unknown
from pytest_llmeval.inputs.models import (
    OFFERED_ENGINES,
    ModelConfig,
    ModelSection,
    ServerSection,
    key_mistakes,
    model_settings,
)
from pytest_llmeval.inputs.overrides import apply_overrides, parse_overrides
from pytest_llmeval.inputs.paths import expand_variables, located, located_executable
from pytest_llmeval.inputs.prices import Price
from pytest_llmeval.inputs.sampling import (
    ConfigSamplingSection,
    Repeats,
    SamplingSettings,
    read_samplings,
)
from pytest_llmeval.inputs.sections import (
    NAME,
    NAME_RULE,
    SIZE_SCHEMA,
    Section,
    Share,
    read_section,
    size_in_bytes,
)
from pytest_llmeval.inputs.urls import checked_url, checked_urls

CONFIG_FOLDER = "config"

_RESERVED_NAME = "gates"


class FailuresSection(Section):
    """How much of a run's machinery may break."""

    at_most: Share | None = Field(
        default=None,
        description="Share of trials that may fail before the run is red, such as 0.1%.",
    )


class ResumeSection(Section):
    """What --llm-resume does with a run that asked something else."""

    changed: Literal["refuse", "take_over"] = Field(
        default="refuse",
        description="Refuse it, or take its answers to what is still asked over into a new run.",
    )


LEAST_CACHE = 2**20
"""Bytes: the file takes some itself."""

CacheMode = Literal["read-write", "read", "refresh", "off"]
"""What a run does with answers that were given before: takes and keeps them, only takes them, asks
again and keeps what it is told, or neither.
"""


def _cache_size(value: Any) -> int:
    size = size_in_bytes(value)
    if size < LEAST_CACHE:
        raise ValueError(f"expected at least 1 MiB, found {shown(value)}; mode: off keeps nothing")
    return size


CacheSize = Annotated[int, PlainValidator(_cache_size), WithJsonSchema(SIZE_SCHEMA)]


class CacheSection(Section):
    """Answers that are kept from run to run, on this machine."""

    mode: CacheMode = Field(
        default="read-write",
        description="read-write takes and keeps answers, read only takes them, refresh asks all "
        "again and keeps the new ones, off does neither.",
    )
    size: CacheSize = Field(
        default=2**30, description="What they may take on the disk, such as 1 GiB."
    )


class DataSection(Section):
    """Where the files lie that suites name."""

    roots: list[Annotated[str, Field(min_length=1)]] = Field(
        default=[],
        description="Folders, beside the rootdir, below which a suite may name files.",
    )


class ConfigFile(Section):
    """The file given to --llm-config."""

    models: dict[str, ModelSection] = Field(
        min_length=1, description="Name (part of test names) and settings of every model."
    )
    server: ServerSection = Field(default=ServerSection(), description="Defaults for all models.")
    sampling: (
        ConfigSamplingSection | Annotated[dict[str, ConfigSamplingSection], Field(min_length=1)]
    ) = Field(
        default=ConfigSamplingSection(),
        description="How models write; or several with a name each, one condition each.",
    )
    repeats: Repeats = 1
    judge: str | None = Field(
        default=None, min_length=1, description="The model that judges answers, by its name."
    )
    failures: FailuresSection = FailuresSection()
    resume: ResumeSection = ResumeSection()
    cache: CacheSection = CacheSection()
    data: DataSection = DataSection()
    replay: str | None = Field(
        default=None,
        min_length=1,
        description="A run, or a cassette, whose recorded answers are taken; no model is asked.",
    )
    redact: Literal["predictions"] | None = Field(
        default=None,
        description="Take what looks like a secret out of what models write, too.",
    )
    telemetry: bool = Field(
        default=False, description="Sample GPU, CPU and memory twice a second during the run."
    )


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """What a run does with kept answers, and how many bytes these may take."""

    mode: CacheMode = "off"
    size: int = 2**30


@dataclass(frozen=True, slots=True)
class Config:
    """A config, complete: defaults filled in, paths absolute, variables expanded.

    `samplings` has the one key "" when the sampling has no name. `canonical` is the resolved config
    for the manifest, paths and variables as written, so that it holds no secret and is the same on
    every machine; `digest` is its sha256. `model_lines` says where the file writes each model,
    `telemetry` whether the machine is watched while it runs. `judge` is the model that judges where
    a suite names no other, None where nobody was named. `replay` names a recording that is
    played in place of asking. `resume_changed` says what becomes of a run that asked something
    else when it is to be resumed. With `redact_predictions` what models write is kept without what
    looks like a secret. `cache` says what becomes of answers that are kept from run to run, and
    `share_servers` whether a server may be one that another run uses too. `data_roots` are folders,
    beside the rootdir, below which suites may name files.
    """

    path: Path
    models: Mapping[str, ModelConfig]
    samplings: Mapping[str, SamplingSettings]
    failures_at_most: float | None
    canonical: Mapping[str, Any]
    digest: str
    model_lines: Mapping[str, int | None]
    telemetry: bool = False
    judge: str | None = None
    replay: str | None = None
    resume_changed: Literal["refuse", "take_over"] = "refuse"
    redact_predictions: bool = False
    cache: CachePolicy = CachePolicy()
    share_servers: bool = True
    data_roots: tuple[Path, ...] = ()


def find_config(name: str, root: Path) -> Path:
    """The config file called `name`: as given from `root`, then in its `config` folder.

    Raises ConfigError naming both places and the nearest name there is.
    """
    places = [root / name, root / CONFIG_FOLDER / name]
    for place in places:
        if place.is_file():
            return place
    folder = root / CONFIG_FOLDER
    known = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    looked = " and ".join(str(place) for place in places)
    raise ConfigError(f"no config {name!r}: looked for {looked}{did_you_mean(name, known)}")


def load_config(
    path: Path,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
    offered: Collection[str] = (),
) -> Config:
    """Read, override, check and resolve a config.

    `overrides` are the texts of --llm-set; those that choose prompts are none of the config's.
    `offered` are the engines that other packages offer.
    Raises ConfigError with every mistake of the file, a line each.
    """
    document = read_document(path, ConfigError)
    document = apply_overrides(document, parse_overrides(overrides).config)
    _refuse_secrets(document)
    mistakes = Mistakes(document, ConfigError)
    _check_names(document.data.get("models"), mistakes)
    # Flat or named: pydantic would complain about both forms at once.
    content = {key: value for key, value in document.data.items() if key != "sampling"}
    file = read_section(ConfigFile, content, (), mistakes, {OFFERED_ENGINES: offered})
    sampling = document.data.get("sampling", {})
    samplings = read_samplings(sampling, ("sampling",), file.repeats if file else 1, mistakes)
    settings = _settings(file, mistakes) if file else {}
    if file:
        _check_roles(file, mistakes)
    models = _resolved(settings, path, environment, mistakes)
    roots = _data_roots(file, path, environment, mistakes) if file else ()
    mistakes.raise_if_any()
    assert file is not None
    canonical = _canonical(settings, samplings, file)
    lines = {name: document.line_of(("models", name)) for name in models}
    at_most = file.failures.at_most
    digest, telemetry = _digest(canonical), file.telemetry
    return Config(
        path=path,
        models=models,
        samplings=samplings,
        failures_at_most=at_most,
        canonical=canonical,
        digest=digest,
        model_lines=lines,
        telemetry=telemetry,
        judge=file.judge,
        replay=file.replay,
        resume_changed=file.resume.changed,
        redact_predictions=file.redact == "predictions",
        cache=CachePolicy(file.cache.mode, file.cache.size),
        share_servers=file.server.shared,
        data_roots=roots,
    )


def _refuse_secrets(document: Document) -> None:
    """Before anything else, so that no other message can quote one."""
    mistakes = Mistakes(document, ConfigError)
    find_secrets(document.data, mistakes)
    mistakes.raise_if_any()


def _check_names(models: Any, mistakes: Mistakes) -> None:
    """Model names become node ids and folders, also where upper and lower case are the same."""
    seen: dict[str, str] = {}
    for name in models if isinstance(models, dict) else ():
        if not NAME.fullmatch(name):
            mistakes.add(("models", name), f"the model name {name!r} cannot be used: {NAME_RULE}")
        elif name == _RESERVED_NAME:
            mistakes.add(("models", name), f"the model name {name!r} is taken by the gates' tests")
        elif name.lower() in seen:
            other = seen[name.lower()]
            mistakes.add(("models", name), f"the names {other!r} and {name!r} differ by case only")
        seen.setdefault(name.lower(), name)


def _check_roles(file: ConfigFile, mistakes: Mistakes) -> None:
    """Somebody is asked, and who judges is there and can."""
    if all(section.role != "model" for section in file.models.values()):
        words = "no model has the role model, so that nothing would be asked; leave role out of one"
        mistakes.add(("models",), words)
    if file.judge is None:
        return
    section = file.models.get(file.judge)
    if section is None:
        mistakes.add(("judge",), unknown("model", file.judge, file.models))
    elif section.role == "embedder":
        words = f"judge: {file.judge} has the role embedder, which writes nothing; name another one"
        mistakes.add(("judge",), words)


def _settings(file: ConfigFile, mistakes: Mistakes) -> dict[str, dict[str, Any]]:
    settings = {}
    for name, section in file.models.items():
        wrong = key_mistakes(section)
        for key, message in wrong.items():
            mistakes.add(("models", name, key), message)
        if not wrong:
            settings[name] = model_settings(name, section, file.server)
    return settings


def _resolved(
    settings: Mapping[str, Mapping[str, Any]],
    path: Path,
    environment: Mapping[str, str],
    mistakes: Mistakes,
) -> dict[str, ModelConfig]:
    folder = path.absolute().parent

    def resolved(name: str, key: str, value: Any) -> Any:
        try:
            found = _resolve(key, value, folder, environment)
            if key == "sent_name":  # it is written into every request
                refuse_secret(found, environment.get(settings[name].get("api_key_env") or ""))
        except ValueError as problem:
            written = "name" if key == "sent_name" else key
            mistakes.add(("models", name, written), f"models.{name}.{written}: {problem}")
            return None
        return found

    return {
        name: ModelConfig(
            name, **{key: resolved(name, key, value) for key, value in values.items()}
        )
        for name, values in settings.items()
    }


def _data_roots(
    file: ConfigFile, path: Path, environment: Mapping[str, str], mistakes: Mistakes
) -> tuple[Path, ...]:
    """The folders under `data.roots`, which must be there: a typo would refuse every file."""
    roots = []
    for index, text in enumerate(file.data.roots):
        keys = ("data", "roots", index)
        try:
            root = located(expand_variables(text, environment), path.absolute().parent)
        except ValueError as problem:
            mistakes.add(keys, f"data.roots: {problem}")
            continue
        if not root.is_dir():
            mistakes.add(keys, f"data.roots: there is no folder {root}")
        roots.append(root)
    return tuple(roots)


def _resolve(key: str, value: Any, folder: Path, environment: Mapping[str, str]) -> Any:
    """The value with its variables expanded, and what its key makes of it."""
    expanded = _expanded(value, environment)
    if key in _MEANT:
        return _MEANT[key](expanded, folder)
    return tuple(expanded) if isinstance(expanded, list) else expanded


def _adapters(value: Any, folder: Path) -> tuple[Adapter, ...]:
    return tuple(Adapter(located(each["path"], folder), each["scale"]) for each in value)


def _tokenizer(value: Any, folder: Path) -> str:
    return value if value.startswith("tiktoken:") else str(located(value, folder))


_MEANT: Mapping[str, Callable[[Any, Path], Any]] = {
    "executable": located_executable,
    "gguf": located,
    "lora": _adapters,
    "price": lambda value, _: Price(**value),
    "script": located,
    "tokenizer": _tokenizer,
    "url": lambda value, _: checked_url(value),
    "urls": lambda value, _: checked_urls(value),
}
"""What the values of these keys mean, seen from the config's folder."""


def _expanded(value: Any, environment: Mapping[str, str]) -> Any:
    """A value with the variables expanded in every text in it."""
    if isinstance(value, str):
        return expand_variables(value, environment)
    if isinstance(value, list):
        return [_expanded(inner, environment) for inner in value]
    if isinstance(value, dict):
        return {key: _expanded(inner, environment) for key, inner in value.items()}
    return value


def _canonical(
    settings: Mapping[str, Mapping[str, Any]],
    samplings: Mapping[str, SamplingSettings],
    file: ConfigFile,
) -> dict[str, Any]:
    return {
        "models": {
            name: {key: value for key, value in values.items() if key != "asked_slots"}
            for name, values in settings.items()
        },
        "sampling": {
            name: {**asdict(settings.sampling), "repeats": settings.repeats}
            for name, settings in samplings.items()
        },
        "failures": {"at_most": file.failures.at_most},
        **({"judge": file.judge} if file.judge else {}),
        **({"redact": file.redact} if file.redact else {}),
    }


def _digest(canonical: Mapping[str, Any]) -> str:
    text = json.dumps(canonical, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
