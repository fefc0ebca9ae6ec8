"""`llmeval doctor` on an embedder: it need not write, and is not asked to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.run.examining import ExaminedModel, examine_models

if TYPE_CHECKING:
    from tests.run.conftest import Workbench


def examined(bench: Workbench, tmp_path: Path, **models: Any) -> dict[str, ExaminedModel]:
    bench.config(models={"m": {"engine": "fake"}, **models})

    async def look() -> dict[str, ExaminedModel]:
        config = bench.settings().config
        found = examine_models(config, tmp_path, salt="x", say=lambda _: None)
        return {model.name: model async for model in found}

    return asyncio.run(look())


def test_an_embedder_is_asked_for_a_vector_and_for_nothing_else(
    bench: Workbench, tmp_path: Path
) -> None:
    model = examined(bench, tmp_path, **bench.real("tiny-s", role="embedder"))["tiny-s"]
    (check,) = model.checks
    assert (check.name, check.verdict) == ("alive", "ok")
    assert check.found == "it gives vectors of 128 numbers"
    assert not model.broken


@pytest.mark.parametrize("role", ["embedder", "judge"])
def test_one_that_cannot_be_started_is_trouble_whatever_its_role(
    bench: Workbench, tmp_path: Path, role: str
) -> None:
    gone = {"engine": "embedded", "gguf": "gone.gguf", "role": role}
    model = examined(bench, tmp_path, gone=gone)["gone"]
    assert model.broken
    assert "gone.gguf" in model.trouble
