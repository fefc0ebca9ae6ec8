"""From an instance's config to the server that is started for it, down to its command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import InstanceConfigError
from pytest_llmeval.machine.devices import Device
from pytest_llmeval.orchestrator.config import HealthcheckConfig, InstanceConfig, ModelConfig
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.specs import health_policy, server_spec
from pytest_llmeval.servers.command import build_command, build_environment
from pytest_llmeval.servers.spec import Output, RestartPolicy, ServerSpec
from pytest_llmeval.servers.vitals import HealthPolicy

HOME = Home(Path("home"))
MODEL = {"path": "qwen3.gguf"}
BASE = "llama-server -m qwen3.gguf --alias qwen3"
PLACE = "--host 127.0.0.1 --port 1234 -np 1 -c 4096"
REST = "--timeout 3600 --metrics"


def spec(
    config: dict[str, Any] | None = None,
    *,
    environ: dict[str, str] | None = None,
    port: int | None = None,
) -> ServerSpec:
    read = InstanceConfig.model_validate({"model": MODEL, **(config or {})})
    return server_spec("qwen3", read, HOME, environ=environ or {}, port=port)


def command(**config: Any) -> str:
    return " ".join(build_command(spec(config), 1234, ("llama-server",)))


def test_the_least_that_a_config_says_is_served_on_the_cpu_with_its_metrics() -> None:
    assert command() == f"{BASE} {PLACE} --device none {REST}"


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ({"batch_size": 1024}, "-b 1024"),
        ({"ubatch_size": 256}, "-ub 256"),
        ({"threads": 6}, "-t 6"),
        ({"embeddings": True}, "--embeddings -b 4096 -ub 4096"),
        ({"embeddings": True, "ubatch_size": 512}, "--embeddings -b 4096 -ub 512"),
    ],
)
def test_each_option_of_the_model_becomes_a_flag(model: dict[str, Any], flags: str) -> None:
    expected = f"{BASE} {PLACE} --device none {flags} {REST}"
    assert command(model={**MODEL, **model}) == expected


def test_by_default_the_context_is_no_longer_than_what_the_model_was_trained_for() -> None:
    model = ModelConfig.model_validate(MODEL)
    assert [model.context(trained) for trained in (1024, 32768, None)] == [1024, 4096, 4096]
    asked_for = ModelConfig.model_validate({**MODEL, "context_size": 2048})
    assert asked_for.context(1024) == 2048, "and the model that has less is told of"


def test_context_is_per_slot_and_rounded_up_to_what_a_slot_can_have() -> None:
    built = command(model={**MODEL, "context_size": 5000}, server={"parallel": 3})
    assert f"-np 3 -c {3 * 5120} " in built


def test_the_name_comes_before_all_aliases() -> None:
    assert command(aliases=["small", "gpt-4"]).startswith(f"{BASE},small,gpt-4 --host")


def test_a_timeout_is_whole_seconds_and_never_shorter_than_asked_for() -> None:
    assert "--timeout 31 " in command(server={"timeout": 30.2})


@pytest.mark.parametrize(
    ("gpu", "flags"),
    [
        ({"backend": "cuda"}, ""),
        ({"backend": "metal", "layers": "all"}, "-ngl 999 "),
        ({"backend": "vulkan", "device_id": 1, "layers": 20}, "--device Vulkan0 -ngl 20 "),
    ],
)
def test_device_and_layers_are_said_as_the_config_says_them(
    gpu: dict[str, Any], flags: str
) -> None:
    assert command(gpu=gpu) == f"{BASE} {PLACE} {flags}{REST}"


def test_arguments_of_ones_own_come_last() -> None:
    assert command(args=["-fa", "on"]).endswith(f"{REST} -fa on")


def test_the_embedded_engine_is_told_the_same() -> None:
    built = spec({"server": {"engine": "embedded"}})
    assert built.kind == "embedded"
    assert " ".join(build_command(built, 1234, ("llama-server",))) == (
        f"{BASE} {PLACE} -ngl 0 {REST}"
    )


# Environment --------------------------------------------------------------------------------------


def test_the_instances_variables_win_over_the_daemons() -> None:
    built = spec({"env": {"A": "instance", "B": "instance"}})
    environment = build_environment(built, {"A": "daemon", "C": "daemon"})
    assert environment == {"A": "instance", "B": "instance", "C": "daemon"}


def test_a_card_is_hidden_from_those_that_the_instances_variables_show() -> None:
    config = {
        "gpu": {"backend": "cuda", "device_id": 1},
        "env": {"CUDA_VISIBLE_DEVICES": "2,3"},
    }
    assert build_environment(spec(config), {})["CUDA_VISIBLE_DEVICES"] == "3"


def test_a_key_goes_by_the_environment_and_is_neither_in_the_command_nor_in_the_repr() -> None:
    config = {"server": {"api_key_env": "MY_KEY"}}
    built = spec(config, environ={"MY_KEY": "open-sesame"})
    assert build_environment(built, {"LLAMA_API_KEY": "another"}) == {
        "LLAMA_API_KEY": "open-sesame"
    }
    assert "open-sesame" not in " ".join(build_command(built, 1234, ("llama-server",)))
    assert "open-sesame" not in repr(built)


@pytest.mark.parametrize(("environ", "state"), [({}, "not set"), ({"MY_KEY": ""}, "empty")])
def test_a_key_that_is_not_there_is_told_with_the_way_out(
    environ: dict[str, str], state: str
) -> None:
    with pytest.raises(InstanceConfigError) as caught:
        spec({"server": {"api_key_env": "MY_KEY"}}, environ=environ)
    words = str(caught.value)
    assert f"names the variable MY_KEY, which is {state} in the environment" in words
    assert "start the daemon again" in words


def test_a_key_in_the_config_is_refused_with_the_way_out_and_not_repeated() -> None:
    with pytest.raises(InstanceConfigError) as caught:
        spec({"env": {"LLAMA_API_KEY": "open-sesame"}})
    assert "env sets LLAMA_API_KEY" in str(caught.value)
    assert "server.api_key_env" in str(caught.value)
    assert "open-sesame" not in str(caught.value)


def test_a_device_is_known_by_what_it_is_called_where_that_is_known() -> None:
    """So that the log of the server can be held against it."""
    devices = [Device("CUDA0", "RTX", 1, 1), Device("CUDA1", "A4000", 1, 1)]
    for gpu, name in (
        ({"backend": "cuda", "device_id": 1}, "A4000"),
        ({"backend": "cuda", "device_id": 2}, None),
        ({"backend": "cuda"}, None),
        ({"backend": "vulkan", "device_id": 1}, None),
    ):
        config = InstanceConfig.model_validate({"model": MODEL, "gpu": gpu})
        built = server_spec("qwen3", config, HOME, environ={}, devices=devices)
        assert built.device_name == name


# Ports, restarts, logs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "wished", "port"),
    [("auto", None, None), ("auto", 5005, 5005), (8081, None, 8081), (8081, 5005, 8081)],
)
def test_a_port_of_the_config_counts_before_one_that_it_had(
    config: int | str, wished: int | None, port: int | None
) -> None:
    assert spec({"server": {"port": config}}, port=wished).port == port


def test_the_restart_policy_is_that_of_the_config() -> None:
    restart = {"initial": 2, "multiplier": 3, "cap": 50, "jitter": 0.25, "max_retries": 7}
    more = {"window": 300, "reset_after": 30}
    assert spec({"restart": {**restart, **more}}).restart == RestartPolicy(
        initial=2,
        multiplier=3,
        cap=50,
        jitter=(0.75, 1.25),
        max_retries=7,
        window=300,
        reset_after=30,
    )


def test_restarts_that_are_not_enabled_are_none_at_all() -> None:
    assert not spec({"restart": {"enabled": False}}).restart.enabled


def test_the_health_policy_is_that_of_the_config() -> None:
    said = {"interval": 5, "timeout": 2, "retries": 4, "start_period": 60}
    config = HealthcheckConfig.model_validate({"path": "/v1/health", **said})
    assert health_policy(config) == HealthPolicy(interval=5, timeout=2, retries=4, start_period=60)


def test_logs_lie_in_the_home_or_where_the_config_says() -> None:
    out, err = HOME.logs / "qwen3.out.log", HOME.logs / "qwen3.err.log"
    built = spec()
    assert built.output == Output(out, err, max_bytes=10 * 2**20, keep=3)
    assert built.log_path == err
    elsewhere = spec({"log": {"folder": "elsewhere", "max_bytes": 4096, "keep": 0}})
    out, err = Path("elsewhere", "qwen3.out.log"), Path("elsewhere", "qwen3.err.log")
    assert elsewhere.output == Output(out, err, max_bytes=4096, keep=0)
    assert elsewhere.log_path == err


def test_health_is_asked_for_where_the_config_says() -> None:
    assert spec().health_path == "/health"
    assert spec({"healthcheck": {"path": "/v1/models"}}).health_path == "/v1/models"
