"""Which servers a run may have together with others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.run.assembly import may_share

MODEL = ModelConfig("m", "llama-server", "m", 2, exact=False, timeout=1, start_timeout=1)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here.gguf").write_bytes(b"")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "args", [(), ("--lora", "not-there.gguf"), ("--jinja",), ("--lora-scaled", "gone.gguf:0.5")]
)
def test_a_server_is_shared_by_default(args: tuple[str, ...]) -> None:
    assert may_share(replace(MODEL, args=args), {"OTHER": "here.gguf"})


@pytest.mark.parametrize(
    "word", ["here.gguf", "--lora=here.gguf", "here.gguf:0.5", "gone.gguf,here.gguf"]
)
def test_a_server_that_reads_a_file_of_this_folder_is_not_shared(word: str, tmp_path: Path) -> None:
    assert not may_share(replace(MODEL, args=("--lora", word)), {})
    assert not may_share(MODEL, {"LLAMA_ARG_LORA": word})
    elsewhere = word.replace("here.gguf", str(tmp_path / "here.gguf"))
    assert may_share(replace(MODEL, args=("--lora", elsewhere)), {"LLAMA_ARG_LORA": elsewhere})
