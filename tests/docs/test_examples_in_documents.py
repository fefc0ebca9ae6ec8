"""Every example in README.md and docs/ works: files load, suites run, tests pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_llmeval.engines.fake_rules import load_script
from pytest_llmeval.inputs.config import load_config
from pytest_llmeval.inputs.suites import load_suite
from pytest_llmeval.orchestrator.configs import load_file
from pytest_llmeval.probes.faults import parse_script

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))

#: What the examples read besides each other.
FILES = {
    "suites/data/capitals.jsonl": '{"code": "fr", "country": "France", "capital": "Paris"}\n'
    '{"code": "pe", "country": "Peru", "capital": "Lima"}\n'
    '{"code": "is", "country": "Iceland", "capital": "Reykjavik"}\n'
    '{"code": "ke", "country": "Kenya", "capital": "Nairobi"}\n',
    "suites/data/more_capitals.csv": "code,country,capital\n"
    "it,Italy,Rome\nno,Norway,Oslo\nch,Chile,Santiago\n",
    "suites/prompts/terse.txt": "Answer with one word.\n",
    "tests/capitals.jsonl": '{"country": "France", "answer": "Paris"}\n',
    "config/fake.yaml": "models:\n"
    "  tiny-l: {engine: fake, script: answers.json, slots: 2}\n"
    "  tiny-s: {engine: fake, script: answers.json}\n",
    "config/answers.json": '[{"when": "capital of France|Capital of France", "text": "Paris"},'
    ' {"when": "apital of Germany", "text": "Berlin"}, {"when": "hello", "text": "Hello!"}]',
}


#: How a line of a file of each kind begins, and of none that is looked for later.
KINDS = {
    "config": "models:",
    "suite": "items:",
    "instance": "model:",
    "faults": "faults:",
    "script": "- ",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A fence of a document. `path` is the file it stands for."""

    document: str
    line: int
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def kind(self) -> str:
        """What reads it: pytest, or what loads a config, a suite, an instance or a script."""
        if self.path.endswith(".py"):
            return "test"
        for kind, begin in KINDS.items():
            if re.search(rf"^{begin}", self.text, re.MULTILINE):
                return kind
        raise ValueError(f"{self}: neither a config nor a suite, an instance nor a script")


def examples_of(document: str) -> Iterator[Example]:
    """The fences with YAML or Python in them."""
    text = (ROOT / document).read_text(encoding="utf-8")
    told = 0
    for fence in re.finditer(r"(?ms)^```(yaml|python)\n(.*?)^```$", text):
        line = text.count("\n", 0, fence.start()) + 1
        before, told = text[told : fence.start()], fence.end()
        yield Example(document, line, path_of(fence[1], fence[2], before, line), fence[2])


def path_of(language: str, text: str, before: str, line: int) -> str:
    """What its first line says, or else the last file that the words before it name."""
    suffix = {"yaml": "yaml", "python": "py"}[language]
    comment = re.match(rf"# ([\w./-]+\.{suffix})\n", text)
    named = re.findall(rf"`((?:config|suites|tests|instances)/[\w./-]+\.{suffix})`", before)
    if comment or named:
        return comment[1] if comment else str(named[-1])
    if language == "python":
        return f"tests/test_line_{line}.py"
    raise ValueError(f"line {line}: which file is it? Say so in a comment on its first line")


EXAMPLES = [example for document in DOCUMENTS for example in examples_of(document)]
YAML = [example for example in EXAMPLES if example.kind != "test"]


@pytest.fixture
def project(pytester: pytest.Pytester) -> Callable[[str], None]:
    """Makes a user's project of a document: its examples, and the files they read."""

    def make(document: str) -> None:
        for example in examples_of(document):
            write(pytester.path / example.path, example.text)
        for name, text in FILES.items():
            if not (pytester.path / name).exists():  # the document may have its own
                write(pytester.path / name, text)

    return make


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def evaluate(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Pytest in a process of its own, on the fake engine."""
    ours = ("-p", "pytest_llmeval.plugin", "-p", "syrupy", "-p", "no:cacheprovider")
    return pytester.runpytest_subprocess(*ours, "--llm-config", "fake.yaml", *arguments)


@pytest.fixture(autouse=True)
def nothing_but_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is installed is not what the documents speak of."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.mark.parametrize("example", YAML, ids=str)
def test_every_file_shown_can_be_loaded(
    example: Example, project: Callable[[str], None], pytester: pytest.Pytester
) -> None:
    project(example.document)
    path = pytester.path / example.path
    if example.kind == "config":
        assert load_config(path).models
    elif example.kind == "suite":
        assert load_suite(path, example.path).items
    elif example.kind == "instance":
        assert load_file(path).config.model.path
    elif example.kind == "faults":
        assert parse_script(example.text, path)[0]
    else:
        assert load_script(path)


def test_readme_s_suite_runs_from_end_to_end(
    project: Callable[[str], None], pytester: pytest.Pytester
) -> None:
    project("README.md")
    result = evaluate(pytester, "suites/capitals.yaml")
    # Two items, two prompts and two models; with two items, and no baseline, no gate is decided.
    result.assert_outcomes(passed=8, skipped=2)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*llmeval: 8 trials, 2 models, 1 suite*", "*report: runs/*"])


def test_readme_s_choice_of_tests_works(
    project: Callable[[str], None], pytester: pytest.Pytester
) -> None:
    project("README.md")
    chosen = ("suites/capitals.yaml", "-k", "capitals and tiny-l", "--llm-limit", "1")
    evaluate(pytester, *chosen).assert_outcomes(passed=2, skipped=2, deselected=2)
    node = "suites/capitals.yaml::tiny-l/terse::fr"
    evaluate(pytester, node).assert_outcomes(passed=1)


RUNNING = [d for d in DOCUMENTS if any(each.kind != "instance" for each in examples_of(d))]


@pytest.mark.parametrize("document", RUNNING)
def test_the_examples_of_a_document_pass_together(
    document: str, project: Callable[[str], None], pytester: pytest.Pytester
) -> None:
    project(document)
    result = evaluate(pytester, "suites", "tests", "-rfE", "--snapshot-update")
    outcomes = result.parseoutcomes()
    assert result.ret == 0, result.stdout.str()
    assert outcomes.get("passed", 0) > 0
    assert not outcomes.keys() & {"failed", "errors", "error", "no answer"}


def test_a_suite_of_the_reference_is_graded_by_its_own_scorer(
    project: Callable[[str], None], pytester: pytest.Pytester
) -> None:
    project("docs/reference.md")
    result = evaluate(pytester, "suites/shouting.yaml")
    assert result.parseoutcomes() == {"graded": 2}


def test_a_fence_that_is_no_known_file_is_refused() -> None:
    with pytest.raises(ValueError, match="Say so in a comment"):
        path_of("yaml", "a: 1\n", "Look:\n", 3)
    with pytest.raises(ValueError, match="neither a config nor a suite"):
        _ = Example("README.md", 3, "config/x.yaml", "a: 1\n").kind
