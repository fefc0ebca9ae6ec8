"""A model as it was served, for the manifest; and whether it is served otherwise by now."""

from __future__ import annotations

from pathlib import Path

from pytest_llmeval.engines.balanced import changes, file_name
from pytest_llmeval.engines.engine import EndpointFacts
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.results.manifest import ModelFacts
from pytest_llmeval.run.backing import what_computes
from pytest_llmeval.run.models import LiveModel

MOST_NAMES = 8
"""So many models, with their aliases, may be listed by an endpoint that serves one."""


def facts_of(model: LiveModel, config: ModelConfig) -> ModelFacts:
    """An open model as the manifest has it."""
    facts = model.facts
    return ModelFacts(
        name=model.name,
        engine=config.engine,
        digest=model.digest,
        size=size_of(config.gguf),
        server=facts.build if facts else None,
        template_digest=facts.template_sha256 if facts else None,
        slots=facts.slots if facts else None,
        context=facts.context if facts else None,
        computes=what_computes(config),
        adapters=model.adapters,
        preflight=model.checks,
        file=file_name(facts.model_path) if facts else None,
        served=facts.served if facts and len(facts.served) <= MOST_NAMES else (),
    )


def size_of(path: Path | None) -> int | None:
    """Bytes of a model file; a dry run does without the file."""
    return path.stat().st_size if path is not None and path.exists() else None


def served_otherwise(before: ModelFacts, now: ModelFacts) -> list[str]:
    """Say in words what of a model is served otherwise; what only one side knows is no difference.

    Of weights, file and name the first counts that both know.
    """
    by_file = before.digest is None or now.digest is None
    by_name = by_file and (before.file is None or now.file is None)
    was, is_ = (
        EndpointFacts(
            model_path=each.file if by_file else None,
            served=each.served if by_name else (),
            build=each.server,
            template_sha256=each.template_digest,
        )
        for each in (before, now)
    )
    return changes(was, is_)
