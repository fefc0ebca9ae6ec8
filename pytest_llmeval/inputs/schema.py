"""JSON Schemas of config and suite files, for editors (2020-12)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pytest_llmeval.inputs.config import ConfigFile
from pytest_llmeval.inputs.engine_keys import COMMON_KEYS, ENGINES, OFFERED, EngineKeys
from pytest_llmeval.inputs.gate_forms import MEASURED
from pytest_llmeval.inputs.sections import NAME, file_schema
from pytest_llmeval.inputs.suite_file import SuiteFile


def config_schema(offered: Collection[str] = ()) -> dict[str, Any]:
    """The schema of the file given to --llm-config; `offered` are engines of other packages."""
    schema = file_schema(ConfigFile, "llmeval config")
    name = {"pattern": f"^{NAME.pattern}$"}
    schema["properties"]["models"]["propertyNames"] = name
    engines = {**ENGINES, **dict.fromkeys(sorted(set(offered) - set(ENGINES)), OFFERED)}
    model = schema["$defs"]["ModelSection"]
    model["properties"]["engine"]["enum"] = list(engines)
    model["allOf"] = [
        {
            "if": {"properties": {"engine": {"const": engine}}, "required": ["engine"]},
            "then": _keys_schema(keys),
        }
        for engine, keys in engines.items()
    ]
    return schema


def _keys_schema(keys: EngineKeys) -> dict[str, Any]:
    own = {
        "required": list(keys.required),
        "propertyNames": {"enum": [*COMMON_KEYS, *keys.required, *keys.optional]},
    }
    return own if keys.adopted is None else {"anyOf": [own, _keys_schema(keys.adopted)]}


def suite_schema() -> dict[str, Any]:
    """The schema of a suite file."""
    schema = file_schema(SuiteFile, "llmeval suite")
    schema["properties"]["prompts"]["propertyNames"] = {"pattern": f"^{NAME.pattern}$"}
    schema["oneOf"] = [{"required": ["prompt"]}, {"required": ["prompts"]}]
    schema["$defs"]["GateSection"]["oneOf"] = [
        {"required": ["at_least"]},
        {"required": ["not_worse_than", "margin"]},
        {"required": ["at_most"], "properties": {"metric": {"enum": list(MEASURED)}}},
    ]
    return schema
