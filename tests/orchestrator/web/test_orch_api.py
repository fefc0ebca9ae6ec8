"""What is asked over HTTP and what comes back, on a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_llmeval.errors import (
    DaemonError,
    InstanceConfigError,
    LlmevalError,
    MissingExtraError,
    ModelFileError,
    OrchestratorError,
    ServerStartError,
    StateError,
)
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.redaction import REDACTED
from tests.orchestrator.web.conftest import RIGHT, Served, door, until


def act(served: Served, action: str, name: str = "qwen", *, wait: bool = True) -> Any:
    suffix = "?wait=true" if wait else ""
    return served.call("POST", f"/instances/{name}/{action}{suffix}", headers=RIGHT)


def error_of(answer: Any) -> tuple[int, str, str]:
    (error,) = answer.json().values()
    return answer.status_code, error["type"], error["message"]


def test_the_overview_has_all_instances_and_whether_the_daemon_runs(served: Served) -> None:
    served.instances.add_up("qwen", tokens_per_second=41.5, aliases=("q",))
    served.instances.add("llama")
    seen = served.call("GET", "/instances").json()
    assert [view["name"] for view in seen["instances"]] == ["llama", "qwen"]
    qwen = seen["instances"][1]
    assert (qwen["health"], qwen["tokens_per_second"], qwen["aliases"]) == ("healthy", 41.5, ["q"])
    assert (seen["daemon"], seen["pending"], seen["trouble"]) == (True, [], None)


def test_the_overview_tells_what_goes_on_at_the_front_door(served: Served) -> None:
    served.instances.add_up("qwen")
    assert served.call("GET", "/instances").json()["door"] is None
    served.instances.door = door(qwen=(3, 2))
    told = served.call("GET", "/instances").json()["door"]
    assert told["clients"] == 5
    (lane,) = told["instances"]
    assert (lane["name"], lane["in_flight"], lane["queued"]) == ("qwen", 3, 2)


def test_an_instance_is_described_with_its_config_and_histories(served: Served) -> None:
    served.instances.add_up("qwen")
    seen = served.call("GET", "/instances/qwen").json()
    assert seen["view"]["name"] == "qwen"
    assert seen["config"]["model"]["path"] == "/models/qwen.gguf"
    assert Path(seen["config_path"]).name == "config.yaml"
    assert [entry["health"] for entry in seen["health"]] == ["healthy", "loading"]
    assert seen["restarts"][0]["reason"] == "exit status 1"


def test_no_key_of_a_config_is_told(served: Served) -> None:
    served.instances.add("qwen")
    served.instances.configs["qwen"] = InstanceConfig.model_validate(
        {
            "model": {"path": "m.gguf"},
            "env": {
                "OPENAI_API_KEY": "abcdef",
                "HF_TOKEN": "swordfish",
                "db-password": "x",
                "CUDA_VISIBLE_DEVICES": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "HF_PAT": "",
                "URL": "https://me:pw@example.org/",
            },
            "args": [
                *("--api-key", "s3cret word", "-hft", "swordfish", "--api-key=other", "plain"),
                *("--threads", "4", "--override-kv", "tokenizer.ggml.add_bos_token=bool:false"),
                *("sk-abcdefgh12345678", "--note=hf_abcdefgh1234", "--keep", "-1"),
            ],
        }
    )
    config = served.call("GET", "/instances/qwen").json()["config"]
    assert config["env"] == {
        "OPENAI_API_KEY": REDACTED,
        "HF_TOKEN": REDACTED,
        "db-password": REDACTED,
        "CUDA_VISIBLE_DEVICES": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_PAT": "",
        "URL": f"https://{REDACTED}@example.org/",
    }
    assert config["args"] == [
        *("--api-key", REDACTED, "-hft", REDACTED, f"--api-key={REDACTED}", "plain"),
        *("--threads", "4", "--override-kv", "tokenizer.ggml.add_bos_token=bool:false"),
        *(REDACTED, f"--note={REDACTED}", "--keep", "-1"),
    ]


def test_no_key_that_a_server_writes_is_told(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.instances.add("qwen")
    line = "started with --api-key swordfish"
    monkeypatch.setenv("DEPLOY_TOKEN", "deploy-me-now")
    served.instances.log("qwen", "err").write_text(f"{line}\n{line}", encoding="utf-8")
    part = served.call("GET", "/instances/qwen/logs").json()
    assert part["lines"] == [part["rest"]] == [f"started with --api-key {REDACTED}"]
    served.instances.fails["qwen"] = ServerStartError("it died", log_tail=(line,))
    assert error_of(act(served, "start"))[2].endswith(f"--api-key {REDACTED}")
    served.instances.log("qwen", "err").write_text("deploy-me-now", encoding="utf-8")
    assert served.call("GET", "/instances/qwen/logs").json()["rest"] == REDACTED
    served.instances.fails["qwen"] = ServerStartError("deploy-me-now")
    assert error_of(act(served, "stop"))[2] == REDACTED


@pytest.mark.parametrize(("health", "ready"), [("healthy", True), ("busy", True), ("error", False)])
def test_health_says_whether_requests_may_be_sent(
    served: Served, health: str, *, ready: bool
) -> None:
    served.instances.add_up("qwen", health=health, detail="why")
    seen = served.call("GET", "/instances/qwen/health").json()
    assert (seen["health"], seen["ready"], seen["detail"]) == (health, ready, "why")
    assert len(seen["history"]) == 2


@pytest.mark.parametrize(
    ("action", "call"),
    [("start", "up"), ("stop", "down"), ("restart", "restart"), ("reset", "reset")],
)
def test_an_action_that_is_waited_for_answers_when_it_is_done(
    served: Served, action: str, call: str
) -> None:
    served.instances.add("qwen", restarts=3)
    answer = act(served, action)
    assert answer.status_code == 200
    assert answer.json()["restarts"] == served.instances.views["qwen"].restarts
    assert served.instances.calls == [(call, "qwen")]


def test_an_action_answers_at_once_while_the_model_still_loads(served: Served) -> None:
    served.instances.add("qwen")
    served.instances.go.clear()
    answer = act(served, "start", wait=False)
    assert answer.status_code == 202
    assert answer.json()["wanted"] == "down"
    pending = served.call("GET", "/instances").json()["pending"]
    assert pending == [{"name": "qwen", "action": "start"}]
    served.instances.go.set()
    assert act(served, "start").json()["health"] == "healthy"


def test_an_action_that_is_under_way_is_not_begun_again(served: Served) -> None:
    served.instances.add("qwen")
    served.instances.go.clear()
    for _ in range(3):
        assert act(served, "start", wait=False).status_code == 202
    assert act(served, "stop", wait=False).status_code == 202  # another one: it ends the start
    served.instances.go.set()
    until(lambda: not served.office.jobs.pending)
    assert sorted(served.instances.calls) == [("down", "qwen"), ("up", "qwen")]


def test_many_slow_starts_keep_nobody_from_looking(served: Served) -> None:
    names = [f"model-{number}" for number in range(20)]
    served.instances.go.clear()
    for name in names:
        served.instances.add(name)
        act(served, "start", name, wait=False)
    assert len(served.call("GET", "/instances").json()["pending"]) == 20
    served.instances.go.set()


@pytest.mark.parametrize(
    ("raised", "status", "word"),
    [
        (InstanceConfigError("no such key", path="c.yaml", line=3), 409, "bad_config"),
        (ModelFileError("no such model file"), 409, "bad_model"),
        (ServerStartError("it died", log_tail=("out of memory",)), 502, "server_failed"),
        (DaemonError("cannot be started"), 503, "daemon_unreachable"),
        (StateError("locked"), 503, "state_unusable"),
        (OrchestratorError("no"), 409, "not_possible"),
        (MissingExtraError("it", package="x", extra="y"), 409, "not_possible"),
    ],
)
def test_what_does_not_work_is_told_with_its_whole_message(
    served: Served, raised: LlmevalError, status: int, word: str
) -> None:
    served.instances.add("qwen")
    served.instances.fails["qwen"] = raised
    assert error_of(act(served, "start")) == (status, word, str(raised))


def test_a_config_that_cannot_be_read_is_told_at_once(served: Served) -> None:
    served.instances.add("qwen")
    served.instances.bad_configs["qwen"] = InstanceConfigError("bad", path="c.yaml", line=3)
    expected = (409, "bad_config", "c.yaml:3: bad")
    assert error_of(act(served, "start", wait=False)) == expected
    assert act(served, "stop").status_code == 200  # what runs can be stopped all the same


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/instances/nobody"),
        ("GET", "/instances/nobody/health"),
        ("GET", "/instances/nobody/logs"),
        ("POST", "/instances/nobody/start"),
        ("POST", "/instances/nobody/stop?wait=true"),
        ("GET", "/instances/..%2f..%2fetc"),
        ("GET", "/instances/%3Cscript%3E"),
    ],
)
def test_an_unknown_name_is_told_with_those_that_there_are(
    served: Served, method: str, path: str
) -> None:
    served.instances.add("qwen")
    status, word, message = error_of(served.call(method, path, headers=RIGHT))
    assert status == 404
    assert (word, "there are: qwen" in message) in {
        ("unknown_instance", True),
        ("not_found", False),
    }
    assert served.instances.calls == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("stream=both", "stream: Input should be 'out' or 'err', given 'both'"),
        ("tail=-1", "tail: Input should be greater than or equal to 0, given '-1'"),
        ("tail=many", "tail: Input should be a valid integer"),
        ("tail=99999", "tail: Input should be less than or equal to 10000"),
    ],
)
def test_a_parameter_that_is_none_is_told(served: Served, query: str, told: str) -> None:
    served.instances.add("qwen")
    status, word, message = error_of(served.call("GET", f"/instances/qwen/logs?{query}"))
    assert (status, word) == (400, "bad_request")
    assert message.startswith(told)


def test_what_is_not_there_is_told_in_the_same_form(served: Served) -> None:
    answer = served.call("GET", "/nowhere")
    assert error_of(answer) == (404, "not_found", "GET /nowhere: Not Found")
    answer = served.call("DELETE", "/instances", headers=RIGHT)
    assert error_of(answer) == (405, "method_not_allowed", "DELETE /instances: Method Not Allowed")
    assert answer.headers["Allow"] == "GET"


def test_a_mistake_of_ours_is_told_too_and_the_next_call_is_answered(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.instances.add("qwen")
    del served.instances.configs["qwen"]
    answer = served.call("GET", "/instances/qwen")
    assert error_of(answer) == (500, "internal", "KeyError: 'qwen'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Connection"] == "close"
    assert served.call("GET", "/instances").status_code == 200
    assert "KeyError" in caplog.text


def test_a_log_comes_in_parts(served: Served) -> None:
    served.instances.add("qwen")
    log = served.instances.log("qwen", "err")
    log.write_bytes(b"one\ntwo\nthr")
    first = served.call("GET", "/instances/qwen/logs?tail=1").json()
    assert (first["lines"], first["rest"], first["fresh"]) == (["two"], "thr", True)
    with log.open("ab") as file:
        file.write(b"ee\nfour\n")
    following = served.call("GET", f"/instances/qwen/logs?after={first['cursor']}").json()
    assert (following["lines"], following["fresh"]) == (["three", "four"], False)
    assert served.call("GET", "/instances/qwen/logs?stream=out").json()["lines"] == []


def test_a_log_that_cannot_be_read_is_told(served: Served) -> None:
    served.instances.add("qwen")
    log = served.instances.log("qwen", "err")
    log.mkdir()
    status, word, message = error_of(served.call("GET", "/instances/qwen/logs"))
    assert (status, word) == (409, "not_possible")
    assert message.startswith(f"the log {log} of qwen cannot be read: ")


# The description ----------------------------------------------------------------------------------


def test_the_description_is_complete_and_its_schemas_are_sound(served: Served) -> None:
    document = served.call("GET", "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    operations = [
        operation for methods in document["paths"].values() for operation in methods.values()
    ]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 10
    for operation in operations:
        assert operation["description"]
        problem = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert problem == {"$ref": "#/components/schemas/ProblemAnswer"}
        assert "422" not in operation["responses"]
    for found in references(document):
        assert resolve(document, found)


def test_changing_calls_are_described_with_the_token(served: Served) -> None:
    document = served.call("GET", "/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert bool(operation.get("security")) == (method == "post"), path
    assert set(document["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("get", "/instances", "/instances"),
        ("get", "/instances/qwen", "/instances/{name}"),
        ("get", "/instances/qwen/health", "/instances/{name}/health"),
        ("get", "/instances/qwen/logs", "/instances/{name}/logs"),
        ("post", "/instances/qwen/restart", "/instances/{name}/restart"),
        ("get", "/instances/nobody", "/instances/{name}"),
    ],
)
def test_answers_are_what_the_description_says(
    served: Served, method: str, path: str, route: str
) -> None:
    served.instances.add_up("qwen", retry_at=5.0, memory=7)
    document = served.call("GET", "/openapi.json").json()
    answer = served.call(method.upper(), path, headers=RIGHT)
    responses = document["paths"][route][method]["responses"]
    described = responses.get(str(answer.status_code), responses["default"])
    schema = described["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json(), {**document, **schema})


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


def resolve(document: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document
