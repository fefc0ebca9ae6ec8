"""What a user can get wrong: the words that say so, exit status 4, and nothing was sent."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

TINY = Path(__file__).parents[2] / "models" / "tiny-s.gguf"


def words_of(result: pytest.RunResult) -> str:
    """Everything pytest said, on one line; never a traceback of ours."""
    text = f"{result.stdout}\n{result.stderr}"
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    return re.sub(r"\s+", " ", text)


def refusal(project: Project, *args: str) -> str:
    """The words with which a run is refused: exit status 4, no run folder."""
    result = project.run(*args)
    words = words_of(result)
    assert result.ret == pytest.ExitCode.USAGE_ERROR, words
    assert not (project.root / "runs").exists()
    return words


@pytest.fixture(autouse=True)
def _a_good_suite(project: Project) -> None:
    project.suite("arithmetic", [project.right("a"), project.wrong("b")])


class TestConfig:
    def test_models_whose_files_are_missing_are_each_named_and_nothing_is_sent(
        self, project: Project
    ) -> None:
        models = {name: {"engine": "embedded", "gguf": f"{name}.gguf"} for name in ("one", "two")}
        path = project.config(models=models)
        words = refusal(project)
        for name in models:
            file = project.root / f"{name}.gguf"
            assert f"{path}:" in words
            assert f"models: {name}: {file}: there is no such file" in words
        assert "llmeval: nothing was sent" in words

    def test_a_dry_run_does_without_the_models_files(self, project: Project) -> None:
        project.config(models={"m": {"engine": "embedded", "gguf": "none.gguf"}})
        assert project.run("--llm-dry-run").ret == 0

    def test_a_config_that_is_not_there_is_named_with_its_places_and_the_nearest_name(
        self, project: Project
    ) -> None:
        project.write("config/local.yaml", "models: {m: {engine: fake}}")
        result = project.pytest("--llm-config", "lokal.yaml")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        words = words_of(result)
        assert "no config 'lokal.yaml': looked for" in words
        assert str(project.root / "config" / "lokal.yaml") in words
        assert "did you mean 'local.yaml'?" in words

    def test_broken_yaml_is_told_with_its_line(self, project: Project) -> None:
        project.write("local.yaml", "models:\n  m: {engine: fake\nsampling: {}\n")
        assert re.search(r"local\.yaml:[23]: ", refusal(project))

    def test_an_unknown_key_comes_with_line_allowed_keys_and_the_nearest_one(
        self, project: Project
    ) -> None:
        project.write("local.yaml", "models:\n  m:\n    engine: fake\n    slot: 4\n")
        words = refusal(project)
        assert "local.yaml:4: unknown key 'slot'; did you mean 'slots'? (allowed: engine," in words

    def test_a_value_of_the_wrong_type_says_what_was_expected_and_found(
        self, project: Project
    ) -> None:
        project.write("local.yaml", "models:\n  m:\n    engine: fake\n    slots: many\n")
        words = refusal(project)
        assert "local.yaml:4: models.m.slots: expected a whole number, found 'many'" in words

    def test_an_unknown_engine_comes_with_all_engines_and_the_nearest_one(
        self, project: Project
    ) -> None:
        project.write("local.yaml", "models:\n  m: {engine: embeded, gguf: x.gguf}\n")
        words = refusal(project)
        assert "local.yaml:2: " in words
        assert "unknown engine 'embeded'; did you mean 'embedded'? (allowed: embedded," in words

    def test_all_mistakes_of_a_config_are_told_at_once(self, project: Project) -> None:
        project.write("local.yaml", "models:\n  m: {engine: fake, slots: 0}\nsampler: {}\n")
        words = refusal(project)
        assert "models.m.slots: expected at least 1, found 0" in words
        assert "unknown key 'sampler'" in words

    def test_a_script_of_the_fake_engine_is_checked_before_anything_is_asked(
        self, project: Project
    ) -> None:
        project.write("script.json", '[{"when": "x", "txt": "y"}]')
        words = refusal(project)
        assert "script.json: rule 1: key: 'txt' is not one of when, text," in words
        assert "Did you mean 'text'?" in words

    def test_a_key_whose_variable_is_not_set_is_told_with_the_variables_name(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MY_KEY", raising=False)
        served = {"engine": "openai", "url": "http://127.0.0.1:9/v1", "api_key_env": "MY_KEY"}
        project.config(models={"served": served})
        words = refusal(project)
        assert "local.yaml: models: served: api_key_env names the environment variable" in words
        assert "MY_KEY, which is not set; set it to the key" in words


class TestOptions:
    @pytest.mark.parametrize("option", ["--llm-limit", "--llm-parts"])
    def test_a_count_below_one_is_refused(self, project: Project, option: str) -> None:
        assert f"{option} 0: it must be at least 1" in refusal(project, option, "0")

    def test_an_override_that_is_no_assignment_shows_one(self, project: Project) -> None:
        words = refusal(project, "--llm-set", "sampling.max_tokens")
        assert "--llm-set sampling.max_tokens: expected key=value, for instance" in words

    def test_an_override_of_an_unknown_key_names_the_option_and_the_nearest_key(
        self, project: Project
    ) -> None:
        words = refusal(project, "--llm-set", "sampling.max_token=8")
        assert "--llm-set sampling.max_token=8: unknown key 'max_token'" in words
        assert "did you mean 'max_tokens'?" in words

    def test_an_override_of_the_wrong_type_says_what_was_expected(self, project: Project) -> None:
        words = refusal(project, "--llm-set", "sampling.max_tokens=eight")
        assert "--llm-set sampling.max_tokens=eight: sampling.max_tokens: " in words
        assert "expected a whole number, found 'eight'" in words

    def test_a_prompt_that_no_suite_has_is_refused_with_those_there_are(
        self, project: Project
    ) -> None:
        words = refusal(project, "--llm-set", "prompts=plane")
        assert "--llm-set prompts=plane: unknown prompt 'plane'; did you mean 'plain'?" in words
        assert "(allowed: plain)" in words

    def test_a_run_that_is_not_there_cannot_be_resumed(self, project: Project) -> None:
        words = refusal(project, "--llm-resume", "nope")
        assert "there is no run 'nope' in" in words
        assert "that folder holds no run at all" in words

    def test_the_last_run_of_none_cannot_be_resumed(self, project: Project) -> None:
        assert "there is no run in" in refusal(project, "--llm-resume", "last")

    def test_a_run_that_asked_something_else_cannot_be_resumed(self, project: Project) -> None:
        assert project.run().ret == 0
        before = project.manifest()
        result = project.run("--llm-resume", "last", "--llm-set", "sampling.max_tokens=3")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        words = words_of(result)
        assert "asked something else: config: sampling.max_tokens was 16, is 3" in words
        assert "Undo that, start a new run without --llm-resume, or let a new run take" in words
        assert project.manifest() == before


class TestSuite:
    def test_broken_yaml_is_told_with_its_line(self, project: Project) -> None:
        project.suite(text="items: [\ntarget: answer\n")
        assert re.search(r"suites/arithmetic\.yaml:\d: ", refusal(project))

    def test_an_unquoted_template_is_told_with_the_way_out(self, project: Project) -> None:
        project.suite(text="items: [{id: a}]\nprompt: {{ id }}\nscore: exact\n")
        words = refusal(project)
        assert "suites/arithmetic.yaml:2: " in words
        assert "quote" in words

    def test_an_unknown_key_comes_with_line_and_the_nearest_one(self, project: Project) -> None:
        project.suite(text='items: [{id: a}]\nprompt: "{{ id }}"\nscore: exact\ntarjet: id\n')
        words = refusal(project)
        assert "suites/arithmetic.yaml:4: unknown key 'tarjet'; did you mean 'target'?" in words

    def test_the_good_suites_of_a_session_are_not_asked_beside_a_broken_one(
        self, project: Project
    ) -> None:
        project.suite("broken", text="items: 3\n")
        words = refusal(project)
        assert "suites/broken.yaml" in words
        assert "llmeval: nothing was sent" in words

    def test_a_broken_suite_is_noticed_when_only_collecting(self, project: Project) -> None:
        project.suite("broken", text="items: 3\n")
        assert "suites/broken.yaml" in refusal(project, "--collect-only")

    def test_an_unknown_scorer_comes_with_line_and_the_nearest_one(self, project: Project) -> None:
        project.suite(text='items: [{id: a}]\nprompt: "{{ id }}"\nscore: exakt\n')
        words = refusal(project)
        assert "suites/arithmetic.yaml:3: no scorer is called 'exakt'. Did you mean exact?" in words

    def test_an_unknown_option_of_a_scorer_comes_with_those_it_takes(
        self, project: Project
    ) -> None:
        project.suite(
            text='items: [{id: a}]\nprompt: "{{ id }}"\nscore:\n  - numeric: {tolerence: 0.1}\n'
        )
        words = refusal(project)
        assert re.search(r"arithmetic\.yaml:[34]: scorer numeric takes no option 'tol", words)
        assert "Did you mean" in words
        assert "It takes: " in words

    def test_a_gate_on_no_condition_of_the_run_comes_with_line_and_those_there_are(
        self, project: Project
    ) -> None:
        project.suite(
            text='items: [{id: a, answer: a}]\ntarget: answer\nprompt: "{{ id }}"\nscore: exact\n'
            "gates:\n  - {only: n, metric: exact, at_least: 0.5}\n"
        )
        words = refusal(project)
        assert "arithmetic.yaml:6: gates: only: n matches no condition of this run" in words
        assert "it has m" in words

    def test_a_gate_on_no_scorer_of_the_suite_comes_with_line_and_those_there_are(
        self, project: Project
    ) -> None:
        project.suite(
            text='items: [{id: a}]\nprompt: "{{ id }}"\nscore: exact\n'
            "gates:\n  - {only: m, metric: exakt, at_least: 0.5}\n"
        )
        words = refusal(project)
        assert "arithmetic.yaml:5: " in words
        assert "'exakt'; did you mean 'exact'?" in words

    def test_a_suite_for_a_model_that_is_not_there_is_told_which_there_are(
        self, project: Project
    ) -> None:
        project.suite("arithmetic", [project.right("a")], only="mm")
        words = refusal(project)
        assert "suites/arithmetic.yaml: only: mm matches no model of the config; it has m" in words

    def test_two_suites_of_one_name_are_refused_with_the_way_out(self, project: Project) -> None:
        project.suite("more/arithmetic", [project.right("a")])
        words = refusal(project)
        assert "there is another suite called arithmetic, suites/arithmetic.yaml" in words
        assert "rename one of the files" in words


class TestDataset:
    def test_a_file_that_is_not_there_is_named(self, project: Project) -> None:
        project.suite(text='items: data/x.jsonl\nprompt: "{{ id }}"\nscore: exact\n')
        words = refusal(project)
        assert os.path.join("suites", "data", "x.jsonl") in words  # noqa: PTH118 - as the system writes it

    def test_a_broken_line_is_told_with_its_number(self, project: Project) -> None:
        project.write("suites/x.jsonl", '{"id": "a"}\n{"id": "b"\n')
        project.suite(text='items: x.jsonl\nprompt: "{{ id }}"\nscore: exact\n')
        assert "x.jsonl:2: " in refusal(project)

    def test_an_id_that_comes_twice_is_told_with_both_lines(self, project: Project) -> None:
        project.write("suites/x.jsonl", '{"id": "a"}\n{"id": "b"}\n{"id": "a"}\n')
        project.suite(text='items: x.jsonl\nprompt: "{{ id }}"\nscore: exact\n')
        words = refusal(project)
        assert "x.jsonl:3: the id 'a' is given on line 1 already; ids must be unique" in words

    def test_a_target_that_rows_do_not_have_comes_with_the_fields_there_are(
        self, project: Project
    ) -> None:
        project.write("suites/x.jsonl", '{"id": "a", "answer": "b"}\n')
        project.suite(text='items: x.jsonl\ntarget: anser\nprompt: "{{ id }}"\nscore: exact\n')
        words = refusal(project)
        assert "x.jsonl:1: no field 'anser', which is the target" in words
        assert "the row has: answer, id; did you mean 'answer'?" in words

    def test_an_id_that_looks_like_a_repeat_is_refused(self, project: Project) -> None:
        project.write("suites/x.jsonl", '{"id": "a"}\n{"id": "a.2"}\n')
        project.suite(text='items: x.jsonl\nprompt: "{{ id }}"\nscore: exact\nrepeats: 2\n')
        assert "x.jsonl:2: the ids 'a' and 'a.2' clash" in refusal(project)


class TestTemplate:
    def test_an_undefined_name_comes_with_line_fields_and_the_nearest_one(
        self, project: Project
    ) -> None:
        project.suite(
            text='items: [{id: a, city: Rome}]\nprompt: "{{ citi }}?"\nscore: exact\n',
        )
        words = refusal(project)
        assert "arithmetic.yaml:2: 'citi' is undefined: no item has such a field" in words
        assert "fields: city, id; did you mean 'city'?" in words

    def test_a_mistake_of_syntax_is_told_with_its_line(self, project: Project) -> None:
        project.suite(text='items: [{id: a}]\nscore: exact\nprompt: "{% if id %}?"\n')
        assert "arithmetic.yaml:3: " in refusal(project)

    def test_a_field_that_one_item_lacks_is_told_with_the_item(self, project: Project) -> None:
        project.suite(
            text='items: [{id: a, q: x}, {id: b}]\nprompt: "{{ q }}"\nscore: exact\n',
        )
        words = refusal(project)
        assert "arithmetic.yaml:2: " in words
        assert "'b'" in words


class TestModel:
    """A model that cannot be had is no mistake of the session: its trials are errors."""

    @pytest.fixture
    def errors(self, project: Project) -> Callable[..., str]:
        """The words under which every trial of a model is an error, exit status 1."""

        def run(**model: object) -> str:
            project.config(models={"m": {"engine": "embedded", "context": 256, **model}})
            others = psutil.Process().children(recursive=True)  # fixtures of other tests
            result = project.run()
            words = words_of(result)
            assert result.ret == pytest.ExitCode.TESTS_FAILED
            assert result.parseoutcomes() == {"errors": 2}
            assert all(row["outcome"] == "failure" for row in project.rows("predictions"))
            assert not set(psutil.Process().children(recursive=True)) - set(others)
            return words

        return run

    def test_a_model_whose_file_is_not_there_is_named_and_the_others_are_asked(
        self, project: Project
    ) -> None:
        models = {
            "m": {"engine": "fake", "script": "script.json"},
            "gone": {"engine": "embedded", "gguf": "nowhere/tiny.gguf"},
        }
        project.config(models=models)
        result = project.run()
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        words = words_of(result)
        assert str(project.root / "nowhere" / "tiny.gguf") in words
        assert re.search(r"local\.yaml:\d+: models: gone: ", words), "and where it was written"
        answers = {row["text"] for row in project.rows("predictions") if row["model"] == "m"}
        assert answers == {"yes", "no"}

    def test_a_download_that_was_cut_short_is_recognised(
        self, project: Project, errors: Callable[..., str]
    ) -> None:
        (project.root / "half.gguf").write_bytes(TINY.read_bytes()[: TINY.stat().st_size // 2])
        words = errors(gguf="half.gguf")
        assert "half.gguf: is truncated or damaged: it has" in words
        assert "Fetch it again, and let the download finish" in words

    def test_a_file_that_is_no_model_is_recognised(
        self, project: Project, errors: Callable[..., str]
    ) -> None:
        project.write("page.gguf", "<html>Please log in</html>")
        assert "page.gguf: is no GGUF: it is a web page" in errors(gguf="page.gguf")

    def test_a_port_that_is_in_use_is_told_with_who_has_it(
        self, errors: Callable[..., str]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            words = errors(gguf=str(TINY), port=port)
        assert f"m: port {port} is in use" in words
        assert "name another `port`, or none to have a free one chosen" in words


NOT_INSTALLED = {
    "engine": "llama-server",
    "gguf": str(TINY),
    "executable": "no-such-llama-server",
}


class TestProgram:
    """What no model of the run can be started without is missed before anything is sent."""

    def test_a_llama_server_that_is_not_installed_comes_with_the_ways_to_get_one(
        self, project: Project
    ) -> None:
        project.config(models={"m": NOT_INSTALLED})
        words = refusal(project)
        assert re.search(r"local\.yaml:\d+: model m needs llama-server, but no executable", words)
        assert "or write `engine: embedded`" in words
        assert "nothing was sent" in words

    @pytest.mark.parametrize(
        ("engine", "module", "package", "extra"),
        [
            ("embedded", "xllamacpp", "xllamacpp", "embedded"),
            ("llama-cpp-python", "llama_cpp", "llama-cpp-python", "llama-cpp"),
        ],
    )
    def test_a_package_that_is_not_installed_comes_with_its_pip_line(
        self,
        project: Project,
        monkeypatch: pytest.MonkeyPatch,
        engine: str,
        module: str,
        package: str,
        extra: str,
    ) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        project.config(models={"m": {"engine": engine, "gguf": str(TINY)}})
        words = refusal(project)
        assert f"engine: {engine} (model m) needs the package {package}, which is not" in words
        assert f'pip install "pytest-llmeval-local[{extra}]"' in words

    def test_no_ollama_at_all_is_told_with_the_ways_to_get_one(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, dead_port: int
    ) -> None:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{dead_port}")
        project.config(models={"m": {"engine": "ollama", "executable": "no-such-ollama"}})
        words = refusal(project)
        assert "model m needs Ollama, but no executable `no-such-ollama`" in words
        assert "Start Ollama if it is installed" in words

    def test_every_model_that_lacks_something_is_told(self, project: Project) -> None:
        project.config(models={"one": NOT_INSTALLED, "two": NOT_INSTALLED})
        words = refusal(project)
        assert "model one needs llama-server" in words
        assert "model two needs llama-server" in words

    def test_a_run_that_has_all_its_answers_is_resumed_without_the_program(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project.config(models={"m": {"engine": "embedded", "gguf": str(TINY), "context": 256}})
        assert project.run().ret == pytest.ExitCode.OK
        monkeypatch.setitem(sys.modules, "xllamacpp", None)
        assert project.run("--llm-resume", "last").ret == pytest.ExitCode.OK

    def test_a_model_that_can_be_asked_is_while_the_others_trials_are_errors(
        self, project: Project
    ) -> None:
        project.config(models={"m": NOT_INSTALLED, "other": {"engine": "fake"}})
        result = project.run()
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert result.parseoutcomes()["errors"] == 2
        assert "model m needs llama-server, but no executable" in words_of(result)
        failed = [row for row in project.rows("predictions") if row["outcome"] == "failure"]
        assert len(failed) == 2
        assert len(project.rows("predictions")) == 4
