from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import ServerStartError
from pytest_llmeval.servers.command import (
    EMBEDDED,
    build_command,
    build_environment,
    find_executable,
    find_program,
    round_up,
)
from pytest_llmeval.servers.spec import LoraAdapter, ServerSpec


def spec(**changes: Any) -> ServerSpec:
    asked: dict[str, Any] = {
        "name": "qwen3-q4",
        "kind": "llama-server",
        "gguf": Path("qwen3.gguf"),
        "slots": 4,
        "context": 8192,
        "log_path": Path("qwen3.log"),
    }
    return ServerSpec(**{**asked, **changes})


def command(**changes: Any) -> str:
    return " ".join(build_command(spec(**changes), 1234, ("llama-server",)))


PLAIN = "llama-server -m qwen3.gguf --alias qwen3-q4 --host 127.0.0.1 --port 1234 -np 4 -c 32768"


def test_the_plain_command_says_model_address_slots_and_their_context() -> None:
    assert command() == PLAIN


def test_gpu_layers_and_threads_are_said_only_when_asked_for() -> None:
    assert command(gpu_layers=20, threads=6) == f"{PLAIN} -ngl 20 -t 6"
    assert command(gpu_layers=0) == f"{PLAIN} -ngl 0"


def test_all_gpu_layers_are_a_number_that_old_builds_know() -> None:
    assert command(gpu_layers="all") == f"{PLAIN} -ngl 999"


def test_adapters_are_loaded_one_by_one_and_their_scales_set_later() -> None:
    lora = (LoraAdapter(Path("a.gguf")), LoraAdapter(Path("b, c.gguf"), 0.5))
    assert command(lora=lora) == f'{PLAIN} --lora a.gguf --lora "b, c.gguf"'


def test_a_batch_of_a_server_of_embeddings_holds_what_a_slot_can() -> None:
    batch = "-b 8192 -ub 8192"
    assert command(embeddings=True) == f"{PLAIN} --embeddings {batch}"
    assert (
        command(embeddings=True, pooling="mean") == f"{PLAIN} --embeddings --pooling mean {batch}"
    )


def test_arguments_of_ones_own_come_last_and_untouched() -> None:
    args = ("-fa", "on", "--chat-template-file", "my template.jinja")
    built = build_command(spec(args=args), 1234, ("llama-server",))
    assert built[-4:] == args


def test_the_embedded_engine_takes_the_same_flags() -> None:
    embedded = spec(kind="embedded")
    assert find_program(embedded, {}) == EMBEDDED
    built = build_command(embedded, 1234, EMBEDDED)
    assert built[: len(EMBEDDED)] == EMBEDDED
    assert " ".join(built[len(EMBEDDED) :]) == PLAIN.partition(" ")[2]


@pytest.mark.parametrize(("context", "rounded"), [(1, 256), (256, 256), (257, 512), (8192, 8192)])
def test_context_is_rounded_up_to_what_a_slot_can_have(context: int, rounded: int) -> None:
    assert round_up(context) == rounded


def test_a_server_inherits_everything_but_a_key_it_would_ask_us_for() -> None:
    ours = {"A": "1", "LLAMA_ARG_THREADS": "2", "LLAMA_API_KEY": "x", "LLAMA_ARG_API_KEY": "y"}
    assert build_environment(spec(), ours) == {"A": "1", "LLAMA_ARG_THREADS": "2"}


def test_a_missing_executable_says_where_it_was_looked_for_and_the_ways_out(tmp_path: Path) -> None:
    path = os.pathsep.join([str(tmp_path), "", str(tmp_path / "bin")])
    with pytest.raises(ServerStartError) as caught:
        find_program(spec(), {"PATH": path})
    words = str(caught.value)
    assert "model qwen3-q4 needs llama-server" in words
    assert "no executable `llama-server` in the 2 folders of PATH" in words
    for way_out in (
        "llama.cpp releases",
        "brew install llama.cpp",
        "winget install llama.cpp",
        "`executable:`",
        "`engine: embedded`",
    ):
        assert way_out in words


def test_a_named_path_is_looked_at_and_nowhere_else(tmp_path: Path) -> None:
    missing = str(tmp_path / "llama-server")
    with pytest.raises(ServerStartError, match="does not exist"):
        find_executable(missing, "", model="m")
    Path(missing).mkdir()
    with pytest.raises(ServerStartError, match="is no executable file"):
        find_executable(missing, "", model="m")


def test_an_executable_is_found_by_its_path() -> None:
    assert find_executable(sys.executable, "", model="m") == sys.executable
