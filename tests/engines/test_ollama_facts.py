"""What Ollama says of itself and of its models, read."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmeval.engines.ollama_facts import (
    is_cloud_name,
    loaded_context,
    manifest_digest,
    read_shown,
)

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("modelfile", "weights"),
    [
        (
            f"# FROM x\n\nFROM /store/blobs/sha256-{HEX}\nTEMPLATE {{{{ x }}}}",
            HEX,
        ),
        (f"FROM C:\\Users\\me\\blobs\\sha256-{HEX}\r\n", HEX),
        (f"FROM /blobs/sha256:{HEX}", HEX),
        ("FROM some-model-of-mlx", None),
        (f"FROM /blobs/sha256-{HEX}\nFROM /blobs/sha256-{HEX[::-1]}", None),  # the second sees
        (f"FROM /blobs/sha256-{HEX}\nADAPTER /blobs/sha256-{HEX[::-1]}", None),
        (f"FROM /blobs/sha256-{HEX[:-1]}", None),
        ("", None),
    ],
)
def test_weights_are_known_where_they_are_one_layer(modelfile: str, weights: str | None) -> None:
    assert read_shown({"modelfile": modelfile}).weights == weights


@pytest.mark.parametrize(
    ("parameters", "stops"),
    [
        ('stop                           "<|im_end|>"\ntemperature   0.6', ("<|im_end|>",)),
        ('stop "a \\"b\\" \\n \\x1b \\u00fc"', ('a "b" \n \x1b ü',)),
        ('stop "###"\nstop "User:"', ("###", "User:")),
        ("num_ctx 4096", ()),
        ("", ()),
    ],
)
def test_the_models_own_stop_texts_are_read_as_go_writes_them(
    parameters: str, stops: tuple[str, ...]
) -> None:
    assert read_shown({"parameters": parameters}).own_stops == stops


@pytest.mark.parametrize(
    ("info", "trained"),
    [
        ({"llama.context_length": 131072, "llama.block_count": 32}, 131072),
        ({"qwen2.rope.scaling.original_context_length": 1, "qwen2.context_length": 2}, 2),
        ({"llama.context_length": True}, None),
        ({"llama.context_length": 0}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_trained_context_is_that_of_the_architecture(info: Any, trained: int | None) -> None:
    assert read_shown({"model_info": info}).trained == trained


def test_what_a_model_can_is_taken_from_what_is_said() -> None:
    said = read_shown({"capabilities": ["completion", "thinking"]})
    assert (said.writes, said.thinks) == (True, True)
    assert not read_shown({"capabilities": ["embedding"]}).writes
    assert read_shown({}).writes


TAGS = {
    "models": [
        {"name": "llama3.1:latest", "digest": "sha256:" + HEX},
        {"name": "hf.co/Some/Model:Q4_K_M", "model": "hf.co/Some/Model:Q4_K_M", "digest": "22"},
        {"name": "qwen3:8b", "digest": "33", "context_length": 8192},
        "no entry",
    ]
}


@pytest.mark.parametrize(
    ("asked", "digest"),
    [
        ("llama3.1", HEX),
        ("library/llama3.1:latest", HEX),
        ("registry.ollama.ai/library/llama3.1", HEX),
        ("hf.co/some/model:q4_k_m", "22"),
        ("qwen3:8b", "33"),
        ("qwen3", None),
        ("qwen3:8", None),
    ],
)
def test_a_model_is_found_by_any_of_its_spellings(asked: str, digest: str | None) -> None:
    assert manifest_digest(TAGS, asked) == digest


def test_a_loaded_context_that_is_not_told_is_not_known() -> None:
    assert loaded_context(TAGS, "qwen3:8b") == 8192
    assert loaded_context(TAGS, "llama3.1") is None
    assert loaded_context({}, "llama3.1") is None


@pytest.mark.parametrize(
    ("name", "remote"),
    [
        ("gpt-oss:120b-cloud", True),
        ("qwen3:cloud", True),
        ("QWEN3:Cloud", True),
        ("cloud", False),
        ("my-cloud", False),
        ("cloud:7b", False),
        ("host:5000/my-cloud", False),
    ],
)
def test_names_that_ollama_passes_on_to_its_cloud_are_known(name: str, remote: bool) -> None:
    assert is_cloud_name(name) is remote
