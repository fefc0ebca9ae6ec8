"""Configs of instances: what they may say, what is said about one that may not, who is there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.errors import InstanceConfigError, OrchestratorError, UnknownInstanceError
from pytest_llmeval.inputs.documents import read_document
from pytest_llmeval.inputs.sections import file_schema
from pytest_llmeval.orchestrator.config import InstanceConfig, ModelConfig
from pytest_llmeval.orchestrator.configs import (
    examine_file,
    fingerprint,
    instance_names,
    load_file,
    load_folder,
    load_instance,
    name_problem,
    slug,
)
from pytest_llmeval.orchestrator.home import Home, find_home

Write = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def write(home: Home) -> Write:
    """Writes an instance's config, and gives its path."""

    def write(name: str, text: str = "model: {path: m.gguf}\n", file: str = "config.yaml") -> Path:
        path = home.instances / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return path

    return write


def mistakes_of(path: Path) -> list[str]:
    """What is said about the file, without its path; each line begins with the number of its."""
    with pytest.raises(InstanceConfigError) as caught:
        load_file(path, {})
    return str(caught.value).replace(f"{path}:", "").splitlines()


# What a file says ---------------------------------------------------------------------------------


def test_the_home_of_a_user_that_there_is_not_is_told() -> None:
    with pytest.raises(OrchestratorError, match=r"~no-such-user.+ there is no user of this"):
        find_home(None, {"LLAMA_ORCH_HOME": "~no-such-user/models"})


def test_a_config_needs_no_more_than_a_model(home: Home, write: Write) -> None:
    path = write("qwen")
    loaded = load_instance(home, "qwen")
    assert (loaded.name, loaded.path) == ("qwen", path)
    model = ModelConfig(path=str(path.parent / "m.gguf"))
    assert loaded.config == InstanceConfig(model=model)


def test_json_and_yaml_say_the_same(home: Home, write: Write, tmp_path: Path) -> None:
    written = {
        "model": {"path": str(tmp_path / "m.gguf"), "context_size": 512, "threads": 2},
        "server": {"port": 8090, "parallel": 3},
        "gpu": {"backend": "cuda", "layers": "all", "device_id": 1},
        "args": ["--mlock"],
        "env": {"A": "1"},
        "aliases": ["org/Model:8b"],
        "ttl": 60,
    }
    write("j", json.dumps(written), "config.json")
    write(
        "y",
        f"model: {{path: '{tmp_path / 'm.gguf'}', context_size: 512, threads: 2}}\n"
        "server: {port: 8090, parallel: 3}\n"
        "gpu: {backend: cuda, layers: all, device_id: 1}\n"
        "args: [--mlock]\nenv: {A: '1'}\naliases: ['org/Model:8b']\nttl: 60\n",
    )
    assert load_instance(home, "j").config == load_instance(home, "y").config


def test_paths_are_seen_from_the_config_s_folder_with_variables_and_the_user_s_home(
    home: Home, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path))
    path = write(
        "a",
        "model: {path: '${MODELS}/m.gguf'}\n"
        "server: {executable: ~/bin/llama-server}\n"
        "log: {folder: ../logs}\n",
    )
    config = load_instance(home, "a", {"MODELS": str(tmp_path / "models")}).config
    assert Path(config.model.path) == tmp_path / "models" / "m.gguf"
    assert Path(config.server.executable) == tmp_path / "bin" / "llama-server"
    assert config.log.folder is not None
    assert Path(config.log.folder) == path.parent.parent / "logs"


def test_a_bare_executable_is_left_for_the_search_path_to_find(home: Home, write: Write) -> None:
    write("a", "model: {path: m.gguf}\nserver: {executable: llama-server-cuda}\n")
    assert load_instance(home, "a").config.server.executable == "llama-server-cuda"


def test_arguments_and_variables_are_left_as_they_are_written(home: Home, write: Write) -> None:
    write("a", "model: {path: m.gguf}\nargs: ['${X}', ~]\nenv: {Y: '${X}'}\n".replace("~", "'~'"))
    config = load_instance(home, "a", {}).config
    assert (config.args, config.env) == (("${X}", "~"), {"Y": "${X}"})


def test_lines_are_known_afterwards(home: Home, write: Write) -> None:
    write("a", "model:\n  path: m.gguf\nserver:\n  port: 8090\n")
    assert load_instance(home, "a").document.line_of(("server", "port")) == 4


# What it may not say ------------------------------------------------------------------------------


def test_all_mistakes_of_a_file_are_told_at_once_with_their_lines(write: Write) -> None:
    path = write(
        "a",
        "model:\n"
        "  path: m.gguf\n"
        "  contxt_size: 4096\n"
        "  threads: '4'\n"
        "server: {port: 99999}\n"
        "gpu: {backend: cud, layers: most}\n"
        "args: [--mlock, 3]\n"
        "restart: {jitter: 2}\n",
    )
    assert mistakes_of(path) == [
        (
            "3: unknown key 'contxt_size'; did you mean 'context_size'? (allowed: path, "
            "context_size, batch_size, ubatch_size, threads, embeddings)"
        ),
        "4: model.threads: expected a whole number, found '4'",
        "5: server.port: expected a port from 1 to 65535, or auto, found 99999",
        (
            "6: gpu.backend: unknown value 'cud'; did you mean 'cuda'? "
            "(allowed: cpu, vulkan, cuda, metal, rocm)"
        ),
        "6: gpu.layers: expected a number of layers from 0, or all, found 'most'",
        "7: args.1: expected a text, found 3",
        "8: restart.jitter: expected at most 1, found 2",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("args: []\n", "the key 'model' is missing"),
        ("model: {}\n", "the key 'path' is missing"),
        ("model: {path: ''}\n", "model.path: expected a text that is not empty"),
        ("model: {path: m, context_size: 0}\n", "model.context_size: expected at least 1, found 0"),
        ("model: {path: m}\nttl: 0\n", "ttl: expected more than 0, found 0"),
        ("model: {path: m}\nserver: {port: '8080'}\n", "or auto, found '8080'"),
        ("model: {path: m}\nserver: {port: true}\n", "or auto, found true"),
        ("model: {path: m}\nenv: {A: 1}\n", "env.A: expected a text, found 1"),
        ("model: {path: m}\nhealthcheck: {timeout: .inf}\n", "expected a number, found '.inf'"),
        ("model: {path: '${NOPE}/m'}\n", "model.path: the environment variable 'NOPE' is not"),
        ("- a\n", "a mapping such as 'key: value' is expected, found a list"),
        ("", "the file is empty"),
        ("model: {path: m\n", "not valid YAML"),
    ],
)
def test_a_mistake_is_told_in_words(write: Write, text: str, words: str) -> None:
    assert words in "\n".join(mistakes_of(write("a", text)))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "box.local"])
def test_a_host_that_is_not_local_needs_a_token(write: Write, host: str) -> None:
    path = write("a", f"model: {{path: m}}\nserver:\n  host: '{host}'\n")
    assert mistakes_of(path) == [
        (
            f"3: server.host: {host!r} is not local without a token: others in the network could "
            "use the model. Set server.api_key_env to the name of the variable that holds the key, "
            "or host to 127.0.0.1"
        )
    ]
    with_key = f"model: {{path: m}}\nserver: {{host: '{host}', api_key_env: MY_KEY}}\n"
    assert load_file(write("b", with_key)).config.server.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_local_host_needs_none(write: Write, host: str) -> None:
    load_file(write("a", f"model: {{path: m}}\nserver: {{host: '{host}'}}\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server: {host: 'http://x', api_key_env: K}", "2: server.host: expected a name or an"),
        (
            "args: [--flash-attn, on, --port=8080]",
            "2: args: --port is what server.port is for; set that, and leave --port out",
        ),
        ("args: [-ngl, '9']", "2: args: -ngl is what gpu.layers is for"),
        ("args: [-c, '9']", "2: args: -c is what model.context_size is for"),
        (
            "gpu: {device_id: 0}",
            (
                "2: gpu.device_id: the backend is cpu, which has none; set gpu.backend to vulkan, "
                "cuda, metal or rocm, or leave it out"
            ),
        ),
        ("gpu: {layers: 3}", "2: gpu.layers: the backend is cpu, so that no layer can lie on"),
        (
            "server: {engine: embedded}\ngpu: {backend: cuda}",
            (
                "3: gpu.backend: the embedded engine has only cpu, found 'cuda'; set server.engine "
                "to llama-server"
            ),
        ),
        (
            "restart: {initial: 30, cap: 10}",
            "2: restart.cap: 10 s is less than the first delay, restart.initial of 30 s",
        ),
        ("healthcheck: {path: health}", "2: healthcheck.path: expected a path such as /health"),
        ("env: {'A=B': x}", "2: env: 'A=B' can be no name or value of a variable"),
        ("env: {LLAMA_API_KEY: a}", "2: env: LLAMA_API_KEY would hold a key, and no config holds"),
        ("aliases: ['a b']", "2: aliases: expected a name without spaces and commas, found 'a b'"),
        ("aliases: [a, b, a]", "2: aliases: 'a' is given twice"),
    ],
)
def test_values_that_contradict_each_other_are_told(write: Write, text: str, words: str) -> None:
    found = mistakes_of(write("a", f"model: {{path: m}}\n{text}\n"))
    assert len(found) == 1
    assert found[0].startswith(words)


def test_a_small_batch_cannot_be_larger_than_the_batch_it_is_a_part_of(write: Write) -> None:
    path = write("a", "model: {path: m, batch_size: 256, ubatch_size: 512}\n")
    assert mistakes_of(path) == [
        "1: model.ubatch_size: 512 is more than the batch_size of 256, which it is a part of"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "server: {api_key: sk-abcdefghijklmnopqrstuvwxyz0123456789}",
        "args: [--api-key, sk-abcdefghijklmnopqrstuvwxyz0123456789]",
        "env: {X: sk-abcdefghijklmnopqrstuvwxyz0123456789}",
    ],
)
def test_a_secret_is_refused_and_not_repeated(write: Write, text: str) -> None:
    found = "\n".join(mistakes_of(write("a", f"model: {{path: m}}\n{text}\n")))
    assert "secret; put it into an environment variable" in found
    assert "sk-abc" not in found


def test_what_is_no_variable_s_name_is_not_repeated(write: Write) -> None:
    found = mistakes_of(write("a", "model: {path: m}\nserver: {api_key_env: my key}\n"))
    assert found == [
        "2: server.api_key_env: expected the name of an environment variable, such as MY_API_KEY"
    ]


WORDS = st.sampled_from(
    [
        *InstanceConfig.model_fields,
        *(key for key in ["path", "host", "port", "backend", "layers", "folder"]),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(WORDS, VALUES, max_size=5))
def test_whatever_a_file_says_it_is_a_config_or_told_to_be_none(data: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(data), encoding="utf-8", newline="\n")
        loaded, mistakes = examine_file(path, {})
    assert (loaded is None) == bool(mistakes)
    assert all(mistake.line is not None for mistake in mistakes)


# The schema for editors ---------------------------------------------------------------------------

SCHEMA = file_schema(InstanceConfig, "llama-orch instance")


def keys_of(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for section in (schema, *schema["$defs"].values()):
        yield from section["properties"].items()


def test_every_key_is_described() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert [key for key, content in keys_of(SCHEMA) if "description" not in content] == []


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("server: {port: auto}\nttl: 1.5", True),
        ("server: {port: 8080}\ngpu: {backend: cuda, layers: all}", True),
        ("server: {port: 0}", False),
        ("server: {port: any}", False),
        ("gpu: {layers: most}", False),
        ("restart: {jitter: 2}", False),
        ("argz: []", False),
    ],
)
def test_the_schema_takes_what_the_loader_does(write: Write, text: str, right: bool) -> None:
    path = write("a", f"model: {{path: m}}\n{text}\n")
    document = read_document(path, InstanceConfigError)
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(document.data) == right
    if right:
        load_file(path)
    else:
        assert mistakes_of(path)


# Who is there -------------------------------------------------------------------------------------


def test_instances_are_the_folders_with_a_config_in_the_order_of_their_names(
    home: Home, write: Write
) -> None:
    assert instance_names(home) == ()
    write("b")
    write("a", "{}", "config.json")
    (home.instances / "notes").mkdir()
    (home.instances / "readme.txt").write_text("x", encoding="utf-8", newline="\n")
    assert instance_names(home) == ("a", "b")


def test_an_unknown_name_is_answered_with_those_there_are(home: Home, write: Write) -> None:
    write("qwen-8b")
    write("gemma")
    with pytest.raises(UnknownInstanceError) as caught:
        load_instance(home, "qwen8b")
    assert str(caught.value) == (
        "no instance 'qwen8b'; did you mean 'qwen-8b'? (there are: gemma, qwen-8b)"
    )


def test_where_there_are_none_it_is_said_how_to_make_one(home: Home) -> None:
    with pytest.raises(UnknownInstanceError) as caught:
        load_instance(home, "qwen")
    assert str(caught.value) == (
        f"no instance 'qwen'; there are none yet in {home.instances}. "
        "Make one: llama-orch init --profile cpu --name qwen"
    )


@pytest.mark.parametrize("name", ["qwen:8b", "org/qwen", "..", "", "a b", "con", "-x"])
def test_a_name_that_none_can_have_is_answered_with_the_rule(
    home: Home, write: Write, name: str
) -> None:
    write("gemma")
    with pytest.raises(UnknownInstanceError) as caught:
        load_instance(home, name)
    assert f"the name {name!r} cannot be used: letters, digits, '.', '_' and '-'" in str(
        caught.value
    )
    assert "(there are: gemma)" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "proposal"),
    [("qwen3:8b", "qwen3-8b"), ("org/Model v2", "org-Model-v2"), ("con", ""), ("::", "")],
)
def test_a_name_that_would_do_is_proposed(name: str, proposal: str) -> None:
    problem = name_problem(name)
    assert problem is not None
    assert problem.endswith(f"; '{proposal}' would do" if proposal else "and so on)")
    assert slug(name) == proposal


def test_a_name_has_an_end(home: Home) -> None:
    with pytest.raises(UnknownInstanceError, match="a name of 300 characters is too long: at most"):
        load_instance(home, "x" * 300)
    assert name_problem("x" * 100) is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no folder with a colon in its name")
def test_a_folder_with_a_colon_in_its_name_is_seen_and_refused(home: Home, write: Write) -> None:
    write("qwen3:8b")
    assert instance_names(home) == ("qwen3:8b",)
    with pytest.raises(InstanceConfigError, match="'qwen3-8b' would do"):
        load_instance(home, "qwen3:8b")


def test_two_configs_in_one_folder_are_refused(home: Home, write: Write) -> None:
    write("a")
    path = write("a", "{}", "config.json")
    with pytest.raises(InstanceConfigError) as caught:
        load_instance(home, "a")
    assert str(caught.value) == (
        f"{path.parent}: there are both config.yaml and config.json, and nobody can tell which "
        "counts; remove one of them"
    )


def test_a_config_under_another_name_is_noticed(home: Home, write: Write) -> None:
    path = write("a", file="config.yml")
    words = "has no config.yaml or config.json; config.yml is there: rename it to config.yaml"
    with pytest.raises(UnknownInstanceError, match=words):
        load_instance(home, "a")
    with pytest.raises(InstanceConfigError, match=r"config\.yml is there: rename it"):
        load_folder(path.parent)


def test_a_file_in_place_of_the_folder_of_instances_is_told(home: Home) -> None:
    home.root.mkdir()
    home.instances.write_text("", encoding="utf-8", newline="\n")
    with pytest.raises(OrchestratorError, match="it is the folder that holds one folder for each"):
        instance_names(home)


def test_the_fingerprint_is_of_what_a_config_says_and_not_of_how(home: Home, write: Write) -> None:
    def of(text: str) -> str:
        return fingerprint(load_file(write("a", text)).config)

    plain = of("model: {path: m}\n")
    assert plain == of("# a comment\nrestart: {cap: 60, initial: 1}\nmodel: {'path': 'm'}\n")
    assert of("model: {path: m}\nenv: {A: x, B: y}") == of("model: {path: m}\nenv: {B: y, A: x}")
    assert plain != of("model: {path: m}\nttl: 5\n")
