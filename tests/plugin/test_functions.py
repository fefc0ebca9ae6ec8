"""Functions marked with llmeval: the same machinery as suites, judged by the user's own code."""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

CAPITALS = [
    {"id": "fr", "country": "France", "capital": "Paris", "tags": ["europe"]},
    {"id": "pe", "country": "Peru", "capital": "Lima", "tags": ["america"]},
]

MARK = 'items="capitals.jsonl", target="capital", prompt="Capital of {{ country }}?"'


@pytest.fixture(autouse=True)
def _capitals(project: Project) -> None:
    """The model knows the capital of France only."""
    project.script([{"when": "France", "text": "Paris it is"}, {"text": "somewhere else"}])
    project.write("tests/capitals.jsonl", "\n".join(map(json.dumps, CAPITALS)))


def module(project: Project, body: str, name: str = "test_capitals") -> None:
    """`tests/<name>.py` with pytest imported."""
    project.write(f"tests/{name}.py", f"import pytest\n\n{textwrap.dedent(body)}")


def judging(mark: str) -> str:
    """A function that looks for the target in the answer's text."""
    return f"""
@pytest.mark.llmeval({mark})
def test_capital(llm_item, llm_prediction):
    assert llm_item.fields["capital"] in llm_prediction.text
"""


class TestJudging:
    def test_an_assertion_decides_whether_the_answer_passed(self, project: Project) -> None:
        module(project, judging(MARK))
        result = project.run("-v")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(
            [
                "tests/test_capitals.py::test_capital?m-fr? PASSED*",
                "tests/test_capitals.py::test_capital?m-pe? FAILED*",
                "E * assert *'Lima'* in 'somewhere else'",
                "test_capitals.test_capital*",
                "* m * 1/2 *50.0*",
            ]
        )
        scores = [
            (r["item_id"], r["scorer"], r["outcome"]) for r in project.rows("per_item_scores")
        ]
        assert scores == [("fr", "passed", "right"), ("pe", "passed", "wrong")]

    def test_pytest_fail_is_a_judgement_too(self, project: Project) -> None:
        module(
            project,
            f"""
            @pytest.mark.llmeval({MARK})
            def test_capital(llm_prediction):
                pytest.fail("never good enough")
            """,
        )
        project.run()
        assert [row["outcome"] for row in project.rows("per_item_scores")] == ["wrong", "wrong"]

    def test_a_mistake_in_the_test_says_nothing_about_the_model(self, project: Project) -> None:
        module(
            project,
            f"""
            @pytest.mark.llmeval({MARK})
            def test_capital(llm_item, llm_prediction):
                assert llm_item.fields["capitol"] in llm_prediction.text
            """,
        )
        project.run()
        rows = project.rows("per_item_scores")
        assert [(row["outcome"], row["reason"]) for row in rows] == [("failure", "KeyError")] * 2

    def test_a_test_that_skips_has_not_judged(self, project: Project) -> None:
        module(
            project,
            f"""
            @pytest.mark.llmeval({MARK})
            def test_capital(llm_item, llm_prediction):
                if llm_item.id == "pe":
                    pytest.skip("not this one")
            """,
        )
        assert project.run().ret == 0
        rows = project.rows("predictions")
        assert [(row["item_id"], row["outcome"]) for row in rows] == [("fr", "right"), ("pe", "")]

    def test_a_skipped_function_asks_nothing(self, project: Project) -> None:
        module(project, f"@pytest.mark.skip(reason='later')\n{judging(MARK).strip()}")
        project.run().assert_outcomes(skipped=2)
        assert not (project.root / "runs").exists()

    def test_a_broken_request_is_an_error_with_the_servers_words(self, project: Project) -> None:
        project.script([{"when": "France", "text": "Paris"}, {"fail": "refused"}])
        module(project, judging(MARK))
        result = project.run()
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(
            ["failure (refused): The fake engine was told to fail: refused"]
        )
        rows = project.rows("per_item_scores")
        assert [(row["outcome"], row["reason"]) for row in rows] == [
            ("right", ""),
            ("failure", "refused"),
        ]

    def test_a_broken_request_within_the_configs_limit_is_skipped_and_counted_as_failed(
        self, project: Project
    ) -> None:
        project.script([{"when": "France", "text": "Paris"}, {"fail": "refused"}])
        project.config(failures={"at_most": "50%"})
        module(project, judging(MARK))
        result = project.run()
        assert result.ret == 0
        result.assert_outcomes(passed=1, skipped=1)
        result.stdout.fnmatch_lines(["* incomplete: of 2 trials 1 failed (refused 1)*"])

    def test_a_test_expected_to_fail_has_judged_all_the_same(self, project: Project) -> None:
        module(project, f"@pytest.mark.xfail\n{judging(MARK).strip()}")
        project.run().assert_outcomes(xpassed=1, xfailed=1)
        outcomes = [row["outcome"] for row in project.rows("per_item_scores")]
        assert outcomes == ["right", "wrong"]

    def test_the_suites_own_scorers_come_before_passed(self, project: Project) -> None:
        module(
            project,
            f"""
            @pytest.mark.llmeval({MARK}, score=["includes", "exact"])
            def test_capital(llm_prediction):
                pass
            """,
        )
        assert project.run().ret == 0
        rows = [(row["scorer"], row["outcome"]) for row in project.rows("per_item_scores")]
        assert rows == [
            ("includes", "right"),
            ("exact", "wrong"),
            ("passed", "right"),
            ("includes", "wrong"),
            ("exact", "wrong"),
            ("passed", "right"),
        ]

    def test_the_prediction_tells_everything_about_the_answer(self, project: Project) -> None:
        module(
            project,
            f"""
            @pytest.mark.llmeval({MARK}, limit=1, only="m", sampling={{"max_tokens": 5}})
            def test_capital(llm_item, llm_prediction):
                assert llm_item.id in ("fr", "pe")
                assert llm_item.fields["country"] in ("France", "Peru")
                assert llm_item.target == llm_item.fields["capital"]
                assert llm_item.tags in (("europe",), ("america",))
                answer = llm_prediction.answer
                assert answer.text == llm_prediction.text
                assert answer.finish_reason == "stop"
                assert answer.tool_calls == ()
                assert answer.usage.completion == len(answer.text.split())
                assert llm_prediction.failure is None
                assert len(llm_prediction.attempts) == 1
            """,
        )
        project.run().assert_outcomes(passed=1)


class TestScores:
    def test_a_score_of_the_users_own_is_a_scorer_beside_passed(self, project: Project) -> None:
        module(
            project,
            f"""
            @pytest.mark.llmeval({MARK})
            def test_capital(llm_prediction, llm_score):
                llm_score("brevity", 1 / len(llm_prediction.text.split()))
                llm_score("polite", False)
            """,
        )
        assert project.run().ret == 0
        rows = project.rows("per_item_scores")
        found = [(row["scorer"], row["outcome"], float(row["value"])) for row in rows[:3]]
        assert found == [
            ("passed", "right", 1.0),
            ("brevity", "graded", pytest.approx(1 / 3)),
            ("polite", "wrong", 0.0),
        ]
        significance = json.loads((project.latest_run() / "significance.json").read_text("utf-8"))
        assert {metric["scorer"] for metric in significance["metrics"]} == {
            "passed",
            "brevity",
            "polite",
        }

    @pytest.mark.parametrize("value", ["1.5", "-0.1", "float('nan')"])
    def test_a_score_outside_0_to_1_is_refused(self, project: Project, value: str) -> None:
        module(
            project,
            f"""
            @pytest.mark.llmeval({MARK}, limit=1)
            def test_capital(llm_prediction, llm_score):
                llm_score("x", {value})
            """,
        )
        project.run().stdout.fnmatch_lines(
            ["E * ValueError: a score lies between 0 and 1, x gave*"]
        )

    @pytest.mark.parametrize("name", ["passed", "exact", "twice"])
    def test_a_name_that_is_taken_is_refused(self, project: Project, name: str) -> None:
        module(
            project,
            f"""
            @pytest.mark.llmeval({MARK}, limit=1, score="exact")
            def test_capital(llm_prediction, llm_score):
                llm_score("twice", 1)
                llm_score("{name}", 1)
            """,
        )
        project.run().stdout.fnmatch_lines([f"E * llm_score('{name}', *has a score of that name*"])


class TestMark:
    def test_items_may_be_a_list(self, project: Project) -> None:
        items = json.dumps([dict(row, id=row["country"]) for row in CAPITALS])
        module(project, judging(f'items={items}, prompt="Capital of {{{{ country }}}}?"'))
        project.run().assert_outcomes(passed=1, failed=1)

    def test_items_may_be_a_csv_file_beside_the_module(self, project: Project) -> None:
        project.write("tests/data/c.csv", "id,country,capital\nfr,France,Paris\n")
        module(project, judging('items="data/c.csv", prompt="Capital of {{ country }}?"'))
        project.run().assert_outcomes(passed=1)

    def test_several_prompts_are_conditions_of_their_own(self, project: Project) -> None:
        prompts = (
            'prompts={"plain": "{{ country }}", "chat": [{"system": "x"}, {"user": "{{ id }}"}]}'
        )
        module(project, judging(f'items="capitals.jsonl", target="capital", {prompts}'))
        project.run().assert_outcomes(passed=1, failed=3)
        conditions = {row["condition"] for row in project.rows("predictions")}
        assert conditions == {"m/plain", "m/chat"}

    def test_tags_of_suite_and_items_work_with_m(self, project: Project) -> None:
        module(project, judging(f'{MARK}, tags="geography"'))
        project.run("-m", "geography and europe").assert_outcomes(passed=1, deselected=1)

    def test_sampling_repeats_only_and_limit_are_obeyed(self, project: Project) -> None:
        project.config(
            models={name: {"engine": "fake", "script": "script.json"} for name in ("m", "n")}
        )
        module(
            project,
            judging(
                f'{MARK}, only="n", repeats=3, limit=1, sampling={{"max_tokens": 7, "seed": 5}}'
            ),
        )
        project.run()
        rows = project.rows("predictions")
        assert [(row["model"], row["repeat"]) for row in rows] == [
            ("n", "1"),
            ("n", "2"),
            ("n", "3"),
        ]
        requests = project.latest_run() / "n" / "parts" / "part-0001.requests.jsonl"
        bodies = [json.loads(line)["body"] for line in requests.read_text("utf-8").splitlines()]
        assert [(body["max_tokens"], body["seed"]) for body in bodies] == [(7, 5), (7, 6), (7, 7)]

    def test_an_unknown_argument_is_refused_with_line_and_nearest_match(
        self, project: Project
    ) -> None:
        module(project, judging(f'{MARK}, promt="x"'))
        result = project.run()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        said = "*test_capitals.py:4: unknown key 'promt'; did you mean 'prompt'? (allowed: items, *"
        result.stderr.fnmatch_lines([said])
        assert "Traceback" not in str(result.stdout)

    @pytest.mark.parametrize("workers", ["-n0", "-n2"])
    @pytest.mark.parametrize("takes", ["", "llm_item"])
    def test_a_mark_without_an_answer_to_judge_is_refused_with_the_way_out(
        self, project: Project, workers: str, takes: str
    ) -> None:
        module(project, f"@pytest.mark.llmeval({MARK})\ndef test_capital({takes}):\n    pass\n")
        result = project.run(workers)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        place = "ERROR: *test_capitals.py:3: test_capital is marked with llmeval and does not take "
        result.stderr.fnmatch_lines(
            [f"{place}llm_prediction, *; add llm_prediction to its arguments, *"]
        )

    def test_the_fixtures_without_the_mark_are_refused_with_the_way_out(
        self, project: Project
    ) -> None:
        module(project, "def test_capital(llm_item):\n    pass\n")
        result = project.run()
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["llm_item and llm_prediction need @pytest.mark.llmeval(*"])

    def test_a_marked_function_is_skipped_without_a_config(self, project: Project) -> None:
        module(project, judging(MARK))
        result = project.pytest("-rs", "tests")
        result.assert_outcomes(skipped=1)
        result.stdout.fnmatch_lines(["SKIPPED*needs a model: run pytest with --llm-config FILE*"])


class TestNodes:
    def test_node_ids_have_no_characters_that_a_shell_would_change(self, project: Project) -> None:
        rows = [dict(CAPITALS[0], id="what's $this & that?"), dict(CAPITALS[0], id="é|*")]
        project.write("tests/capitals.jsonl", "\n".join(map(json.dumps, rows)))
        module(project, judging(MARK))
        result = project.run("--collect-only", "-q")
        ids = [line for line in result.outlines if "::" in line]
        assert len(ids) == 2
        assert all(re.fullmatch(r"[\w./]+::\w+\[[\w./+-]+\]", name, re.ASCII) for name in ids)

    def test_methods_of_two_classes_may_have_one_name(self, project: Project) -> None:
        function = textwrap.indent(judging(MARK).replace("(llm_item,", "(self, llm_item,"), "    ")
        module(project, f"class TestOne:{function}\nclass TestTwo:{function}")
        project.run().assert_outcomes(passed=2, failed=2)
        assert {row["suite"] for row in project.rows("predictions")} == {
            "test_capitals.TestOne.test_capital",
            "test_capitals.TestTwo.test_capital",
        }

    def test_functions_of_two_modules_may_have_one_name(self, project: Project) -> None:
        module(project, judging(MARK), "test_one")
        module(project, judging(MARK), "test_two")
        project.run().assert_outcomes(passed=2, failed=2)
        suites = [row["suite"] for row in project.rows("predictions")]
        assert suites == ["test_one.test_capital"] * 2 + ["test_two.test_capital"] * 2

    def test_a_class_may_carry_the_mark(self, project: Project) -> None:
        module(
            project,
            f"""
            @pytest.mark.llmeval({MARK})
            class TestCapitals:
                def test_short(self, llm_prediction):
                    assert len(llm_prediction.text) < 20

                def test_right(self, llm_item, llm_prediction):
                    assert llm_item.target in llm_prediction.text
            """,
        )
        project.run().assert_outcomes(passed=3, failed=1)

    def test_parametrized_beside_the_mark_every_variant_judges_the_same_answer(
        self, project: Project
    ) -> None:
        module(
            project,
            f"""
            @pytest.mark.parametrize("length", [5, 50], ids=["short", "long"])
            @pytest.mark.llmeval({MARK})
            def test_length(llm_prediction, length, llm_score):
                llm_score("words", 0.5)
                assert len(llm_prediction.text) < length
            """,
        )
        project.run("-v").assert_outcomes(passed=2, failed=2)
        assert len(project.journal()) == 2
        rows = [(row["scorer"], row["outcome"]) for row in project.rows("per_item_scores")]
        assert rows[:4] == [
            ("passed[long]", "right"),
            ("words[long]", "graded"),
            ("passed[short]", "wrong"),
            ("words[short]", "graded"),
        ]

    def test_variants_that_differ_by_a_sign_keep_their_own_scores(self, project: Project) -> None:
        module(
            project,
            f"""
            @pytest.mark.parametrize("n", [-1, 1])
            @pytest.mark.llmeval({MARK}, limit=1)
            def test_sign(llm_prediction, n):
                assert n > 0
            """,
        )
        project.run().assert_outcomes(passed=1, failed=1)
        rows = [(row["scorer"], row["outcome"]) for row in project.rows("per_item_scores")]
        assert sorted(rows) == [("passed[-1]", "wrong"), ("passed[1]", "right")]

    def test_variants_of_one_name_are_refused(self, project: Project) -> None:
        module(
            project,
            f"""
            @pytest.mark.parametrize("left, right", [(0, 0)], ids=["a-b"])
            @pytest.mark.llmeval({MARK}, limit=1)
            class TestTwice:
                @pytest.mark.parametrize("more", [0], ids=["c"])
                def test_it(self, llm_prediction, left, right, more):
                    pass
            """,
        )
        project.run().assert_outcomes(passed=1)
        module(
            project,
            f"""
            def pytest_generate_tests(metafunc):
                if "pair" in metafunc.fixturenames:
                    metafunc.parametrize("pair", [1, 2], ids=["a", "a-b"])
                    metafunc.parametrize("other", [1, 2], ids=["b-c", "c"])

            @pytest.mark.llmeval({MARK}, limit=1)
            def test_it(llm_prediction, pair, other):
                pass
            """,
        )
        result = project.run()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["ERROR: *test_it*: two variants of this test are called 'a-b-c'*"]
        )

    def test_marked_functions_and_suites_are_one_run(self, project: Project) -> None:
        module(project, judging(MARK))
        project.suite(items=[{"id": "x", "question": "France", "answer": "Paris it is"}])
        result = project.run()
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(["*llmeval: 3 trials, 1 model, 2 suites*"])
