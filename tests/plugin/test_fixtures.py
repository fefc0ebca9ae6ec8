"""The fixtures llm, llm_server and llm_run in ordinary tests."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

TINY = Path(__file__).parents[2] / "models" / "tiny-s.gguf"

TWO_MODELS = {
    "m": {"engine": "fake", "script": "script.json"},
    "other": {"engine": "fake"},
}


def module(project: Project, body: str) -> None:
    project.write("test_own.py", f"import pytest\n\n{textwrap.dedent(body)}")


class TestLlm:
    def test_chat_asks_the_first_model_and_on_another_one(self, project: Project) -> None:
        project.config(models=TWO_MODELS)
        module(
            project,
            """
            def test_own(llm):
                assert llm.model == "m"
                assert llm.chat("say hello").text == "hello"
                assert llm.on("other").model == "other"
                assert llm.on("other").chat("hi").text == "fake answer to: hi"
                assert llm.on("other").on("m").chat("say hello").text == "hello"
            """,
        )
        project.run().assert_outcomes(passed=1)

    def test_chat_takes_a_conversation_a_system_message_and_tools(self, project: Project) -> None:
        project.script(
            [
                {"when": "^who", "tool_calls": [{"name": "look", "arguments": {"up": True}}]},
                {"when": "", "text": "fine"},
            ]
        )
        module(
            project,
            """
            TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}

            def test_own(llm):
                turns = [("user", "who are you?"), ("assistant", "me"), ("user", "how are you?")]
                assert llm.chat(turns, system="Be short.").text == "fine"
                call, = llm.chat("who is it?", tools=[TOOL]).tool_calls
                assert (call.name, call.arguments) == ("look", {"up": True})
            """,
        )
        project.run().assert_outcomes(passed=1)

    def test_sampling_of_the_config_holds_until_a_keyword_changes_it(
        self, project: Project
    ) -> None:
        project.config(models={"m": {"engine": "fake"}}, sampling={"max_tokens": 4})
        module(
            project,
            """
            def test_own(llm):
                assert llm.chat("one two").text == "fake answer to: one"
                assert llm.chat("one two").finish_reason == "length"
                assert llm.chat("one two", max_tokens=2, seed=3).text == "fake answer"
            """,
        )
        project.run().assert_outcomes(passed=1)

    @pytest.mark.parametrize("workers", ["-n0", "-n1"])
    def test_what_goes_wrong_is_told_in_words_without_a_line_of_ours(
        self, project: Project, workers: str
    ) -> None:
        project.config(models=TWO_MODELS)
        module(
            project,
            """
            from pytest_llmeval.errors import ConfigError, LlmevalError, RequestRefused

            def test_keyword(llm):
                llm.chat("hello", max_token=3)

            def test_model(llm):
                llm.on("othr")

            def test_refused(llm):
                llm.chat("break it")

            def test_they_are_exceptions_of_the_documented_kinds(llm):
                with pytest.raises(LlmevalError):
                    llm.chat("hello", max_token=3)
                with pytest.raises(ConfigError):
                    llm.on("othr")
                with pytest.raises(RequestRefused) as refused:
                    llm.chat("break it")
                assert refused.value.status == 400
            """,
        )
        result = project.run(workers)
        result.assert_outcomes(passed=1, failed=3)
        result.stdout.fnmatch_lines(
            [
                "E *unknown sampling key 'max_token'; did you mean 'max_tokens'? (allowed: *",
                "test_own.py:7: LlmevalError",
                "E *local.yaml: unknown model 'othr'; did you mean 'other'? (allowed: m, other)",
                "test_own.py:10: ConfigError",
                "E *RequestRefused: The fake engine was told to fail: refused",
                "test_own.py:13: RequestRefused",
            ]
        )
        assert "fixtures.py" not in str(result.stdout)

    def test_works_in_session_fixtures_of_the_user(self, project: Project) -> None:
        project.suite(items=[project.right("a")])
        module(
            project,
            """
            @pytest.fixture(scope="session")
            def greeting(llm, llm_server, llm_run):
                assert llm_server.healthy()
                return llm.chat("say hello").text, llm_run.id

            def test_one(greeting):
                assert greeting[0] == "hello"

            def test_two(greeting, llm_run):
                assert greeting[1] == llm_run.id
            """,
        )
        project.run().assert_outcomes(passed=3)

    def test_without_a_config_tests_are_skipped_with_the_way_to_run_them(
        self, project: Project
    ) -> None:
        module(
            project,
            """
            def test_chat(llm): pass
            def test_server(llm_server): pass
            def test_run(llm_run): pass
            """,
        )
        result = project.pytest("-rs")
        result.assert_outcomes(skipped=3)
        for name in ("llm", "llm_server", "llm_run"):
            result.stdout.fnmatch_lines(
                [f"SKIPPED*{name} needs a model: run pytest with --llm-config FILE*"]
            )


class TestServer:
    def test_the_fake_engine_has_no_server_but_is_always_healthy(self, project: Project) -> None:
        module(
            project,
            """
            def test_own(llm_server):
                assert llm_server.url == "fake:"
                assert llm_server.healthy()
                assert llm_server.log() == ""
            """,
        )
        project.run().assert_outcomes(passed=1)

    @pytest.mark.parametrize("workers", ["-n0", "-n1"])
    def test_a_real_server_is_started_answers_at_its_url_and_is_gone_afterwards(
        self, project: Project, workers: str
    ) -> None:
        tiny = {"engine": "embedded", "gguf": str(TINY), "context": 256, "slots": 1, "threads": 1}
        project.config(models={"tiny": tiny}, sampling={"max_tokens": 4})
        module(
            project,
            """
            import pathlib
            import urllib.request

            def test_own(llm_server, llm, llm_run):
                assert llm_server.url.startswith("http://127.0.0.1:")
                with urllib.request.urlopen(f"{llm_server.url}/health", timeout=60) as reply:
                    assert reply.status == 200
                assert llm_server.healthy()
                assert llm.chat("2 + 2 =").text
                assert llm_server.log()
                pathlib.Path("url.txt").write_text(llm_server.url)
            """,
        )
        result = project.run(workers)
        result.assert_outcomes(passed=1)
        url = (project.root / "url.txt").read_text()
        from pytest_llmeval.engines.fetch import fetch

        assert fetch(f"{url}/health", 5.0, None).status is None

    def test_an_adopted_endpoint_is_asked_for_its_health(self, project: Project) -> None:
        project.config(models={"gone": {"engine": "openai", "url": "http://127.0.0.1:9/v1"}})
        module(project, "def test_own(llm_server): pass\n")
        result = project.run()
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*127.0.0.1:9*"])


class TestRun:
    def test_tells_its_id_its_folder_and_its_models(self, project: Project) -> None:
        project.config(models=TWO_MODELS)
        module(
            project,
            """
            def test_own(llm_run):
                assert llm_run.folder.name == llm_run.id
                assert (llm_run.folder / "manifest.json").is_file()
                assert llm_run.models == ("m", "other")
            """,
        )
        project.run().assert_outcomes(passed=1)

    def test_a_session_without_trials_has_a_folder_and_shows_no_table(
        self, project: Project
    ) -> None:
        module(project, "def test_own(llm):\n    assert llm.chat('say a').text == 'a'\n")
        result = project.run()
        assert result.ret == 0
        assert project.manifest()["exit_reason"] == "finished"
        assert "condition" not in str(result.stdout)
        assert "0 trials" not in str(result.stdout)
        logs = project.latest_run()
        result.stdout.fnmatch_lines([f"llmeval: no trials; servers' logs are in {logs}"])

    def test_a_session_that_needs_no_model_has_no_folder(self, project: Project) -> None:
        module(project, "def test_own(): pass\n")
        result = project.run()
        result.assert_outcomes(passed=1)
        assert not (project.root / "runs").exists()
        assert "trials" not in str(result.stdout)

    def test_a_fixture_asked_for_by_name_at_run_time_only_says_how_to_ask_earlier(
        self, project: Project
    ) -> None:
        module(project, "def test_own(request):\n    request.getfixturevalue('llm_run')\n")
        result = project.run()
        result.assert_outcomes(failed=1)
        assert "Traceback" not in str(result.stdout)
        result.stdout.fnmatch_lines(["*the run has not begun: no selected test takes *"])
