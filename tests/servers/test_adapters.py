"""LoRA adapters: what is asked of a server, what it must have loaded, and what they change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import ModelFileError, ServerStartError
from pytest_llmeval.servers.adapters import (
    as_argument,
    find_adapter_fault,
    read_adapters,
    scales_body,
)
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import LoraAdapter
from tests.adapters import write_adapter

MakeServer = Callable[..., Server]
Post = Callable[[str, bytes], "tuple[int, bytes]"]

MODELS = Path(__file__).parents[2] / "models"
STYLE, TONE = LoraAdapter(Path("style.gguf")), LoraAdapter(Path("tone.gguf"), 0.3)


def told(*adapters: tuple[str, Any]) -> list[dict[str, Any]]:
    """Write down what GET /lora-adapters gives."""
    return [
        {"id": number, "path": path, "scale": scale, "task_name": "", "prompt_prefix": ""}
        for number, (path, scale) in enumerate(adapters)
    ]


# Decisions ----------------------------------------------------------------------------------------


def test_a_path_is_said_as_it_is_unless_a_row_of_csv_would_cut_it() -> None:
    assert as_argument(STYLE) == "style.gguf"
    assert as_argument(LoraAdapter(Path("a, b.gguf"))) == '"a, b.gguf"'
    assert as_argument(LoraAdapter(Path('a,"b".gguf'))) == '"a,""b"".gguf"'


def test_scales_are_told_for_all_adapters_when_one_is_not_1() -> None:
    assert scales_body([STYLE]) is None
    body = scales_body([STYLE, TONE])
    assert body is not None
    assert json.loads(body) == [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 0.3}]


def test_a_server_that_has_them_all_with_their_scales_is_without_fault() -> None:
    loaded = told(("style.gguf", 1.0), ("tone.gguf", 0.30000001192092896))
    assert find_adapter_fault(loaded, [STYLE, TONE]) is None


@pytest.mark.parametrize(
    ("loaded", "fault"),
    [
        ([], "tone.gguf was asked for and the server has not loaded it; it has none"),
        ([("a.gguf", 0.3)], "has not loaded it; it has a.gguf"),
        ([("tone.gguf", 1.0)], "with the scale 0.3 and the server applies it with 1.0"),
        ([("tone.gguf", None)], "with the scale 0.3 and the server applies it with None"),
        ([("tone.gguf", 0.3), ("a.gguf", 1.0)], "has loaded the adapter a.gguf too: name it with"),
    ],
    ids=["none", "another", "scale", "no scale", "too many"],
)
def test_every_difference_is_named(loaded: list[tuple[str, Any]], fault: str) -> None:
    found = find_adapter_fault(told(*loaded), [TONE])
    assert found is not None
    assert fault in found


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"{}", "HTTP 404"),
        (200, b"{}", "no JSON list of objects"),
        (200, b"[1]", "no JSON list of objects"),
        (200, b"[" * 100_000, "no JSON list of objects"),
    ],
    ids=range(4),
)
def test_what_is_no_list_of_adapters_is_refused(status: int, body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_adapters(status, body)


# Real servers -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """An adapter to the model of the tests, in a folder whose name has what flags stumble over."""
    return write_adapter(tmp_path_factory.mktemp("a, b=c") / "style.gguf", model)


@pytest.fixture(params=["embedded", "llama-server"])
def make(request: pytest.FixtureRequest, make_server: MakeServer) -> MakeServer:
    """Make servers of both kinds."""
    kind: dict[str, Any] = {"kind": request.param}
    if request.param == "llama-server":
        kind["executable"] = str(request.getfixturevalue("real_llama_server"))
    return lambda **spec: make_server(**kind, **spec)


def logprobs(server: Server, post: Post) -> list[float]:
    """Read what the model gives as the likeliest beginnings of an answer."""
    # Half a character, as a model of random weights may write it, comes without any.
    body = {"prompt": "a", "n_predict": 1, "n_probs": 5, "grammar": "root ::= [a-z]"}
    status, answer = post(f"{server.url}/completion", json.dumps(body).encode())
    assert status == 200
    (token,) = json.loads(answer)["completion_probabilities"]
    return [each["logprob"] for each in token["top_logprobs"]]


def test_an_adapter_changes_answers_and_its_scale_how_much(
    make: MakeServer, tmp_path: Path, post: Post
) -> None:
    trained = MODELS / "tiny-s.gguf"
    adapter = write_adapter(tmp_path / "style.gguf", trained)
    found = []
    for lora in ((), (LoraAdapter(adapter, 1e-9),), (LoraAdapter(adapter),)):
        server = make(gguf=trained, lora=lora)
        server.start()
        found.append(logprobs(server, post))
        server.stop()
    without, with_nothing_of_it, with_all_of_it = found
    assert with_nothing_of_it == pytest.approx(without, abs=1e-6)
    assert with_all_of_it != pytest.approx(without, abs=0.1)


def test_a_restarted_server_has_its_adapters_with_their_scales_again(
    make: MakeServer, adapter: Path, fetch: Callable[[str, str | None], tuple[int, bytes]]
) -> None:
    server = make(lora=(LoraAdapter(adapter, -0.5),), outside={"sleep": lambda _: None})
    server.start()
    server.restart()
    (loaded,) = json.loads(fetch(f"{server.url}/lora-adapters", None)[1])
    assert (loaded["path"], loaded["scale"]) == (str(adapter), -0.5)


def test_an_adapter_of_another_model_cannot_be_loaded_and_the_server_says_why(
    make: MakeServer, tmp_path: Path
) -> None:
    other = write_adapter(tmp_path / "other.gguf", MODELS / "tiny-l.gguf")
    server = make(lora=(LoraAdapter(other),))
    with pytest.raises(ServerStartError, match="ended while it started") as told:
        server.start()
    assert str(other) in str(told.value)
    assert not server.alive()


def test_an_adapter_that_only_its_args_name_is_refused(
    make: MakeServer, adapter: Path, model: Path, tmp_path: Path
) -> None:
    stranger = write_adapter(tmp_path / "stranger.gguf", model, seed=8)
    server = make(lora=(LoraAdapter(adapter),), args=("--lora", str(stranger)))
    with pytest.raises(ServerStartError, match=r"has loaded the adapter .*stranger\.gguf too"):
        server.start()
    assert not server.alive()


def test_an_adapter_that_is_not_there_is_told_before_anything_is_started(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(lora=(LoraAdapter(tmp_path / "none.gguf"),))
    with pytest.raises(ModelFileError, match=r"none\.gguf: there is no such file"):
        server.start()
    assert server.pid is None


def test_a_model_in_an_adapters_place_is_told_and_the_other_way_round(
    make_server: MakeServer, model: Path, adapter: Path
) -> None:
    with pytest.raises(ModelFileError, match="is a GGUF and no LoRA adapter"):
        make_server(lora=(LoraAdapter(model),)).start()
    with pytest.raises(ModelFileError, match="is a LoRA adapter and no model"):
        make_server(gguf=adapter).start()


def test_a_server_that_does_not_tell_its_adapters_is_not_used(
    make_server: MakeServer, adapter: Path, fetch: Callable[[str, str | None], tuple[int, bytes]]
) -> None:
    def old(url: str, api_key: str | None) -> tuple[int, bytes]:
        return (404, b"") if url.endswith("/lora-adapters") else fetch(url, api_key)

    server = make_server(lora=(LoraAdapter(adapter),))
    server._fetch = old  # a build without that path, which none that can be had here is
    with pytest.raises(ServerStartError, match=r"it tells no adapters.*HTTP 404"):
        server.start()


# Embeddings ---------------------------------------------------------------------------------------


def test_a_server_of_embeddings_gives_one_vector_a_text_however_long_it_is(
    make: MakeServer, post: Post
) -> None:
    server = make(embeddings=True, pooling="mean", context=768, slots=1)
    server.start()
    texts = ["a", "b" * 700]  # more than the 512 tokens of a usual batch
    status, body = post(f"{server.url}/v1/embeddings", json.dumps({"input": texts}).encode())
    assert status == 200, body
    one, other = (each["embedding"] for each in json.loads(body)["data"])
    assert len(one) == len(other) > 1
    assert one != other
