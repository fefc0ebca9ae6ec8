"""Which judge trials there are, what they ask, when a reply counts, and in which turns they run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import InputError, ScorerError, SuiteError, TemplateError
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.records import Answer, Attempt, Failure, JudgeTrial, Prediction, Trial, Usage
from pytest_llmeval.run import Run, Selection, assembly, owner
from pytest_llmeval.run.judge_figures import judge_figures
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.running.lanes import Lane

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

FAKES = {name: {"engine": "fake"} for name in ("m", "n")}
JUDGED = {"models": {**FAKES, "wise": {"engine": "fake", "role": "judge"}}, "judge": "wise"}


def wave_of(
    bench: Workbench, score: Any, config: dict[str, Any] | None = None, **keys: Any
) -> tuple[SecondWave, list[Trial]]:
    bench.config(**(config or JUDGED))
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite(score=score, **keys))
    return SecondWave(trials, settings.bench), trials


def answered(*trials: Trial, text: str = "It is 2.") -> dict[str, Prediction]:
    return {t.id: Prediction(t.id, Answer(text, "stop"), None) for t in trials}


def replied(wave: SecondWave, trial: JudgeTrial, known: dict[str, Prediction]) -> Prediction:
    answer = Answer('{"reason": "r", "verdict": "pass"}', "stop")
    return Prediction(trial.id, answer, None, asked=wave.asked(trial, known))


# The plan -----------------------------------------------------------------------------------------


def test_every_trial_has_a_judge_trial_of_its_own_for_each_scorer(bench: Workbench) -> None:
    wave, trials = wave_of(bench, ["judge", "exact"], repeats=2)
    assert [trial.id for trial in wave.trials] == [f"{trial.id}@judge" for trial in trials]
    assert {trial.condition.model for trial in wave.trials} == {"wise"}
    assert [trial.judged for trial in wave.trials] == trials


def test_pairwise_asks_twice_and_not_about_the_condition_held_against(bench: Workbench) -> None:
    wave, _ = wave_of(bench, {"pairwise": {"against": "n"}})
    first = wave.trials[:2]
    assert [trial.id for trial in first] == [
        "sums::m::add-1@pairwise.1",
        "sums::m::add-1@pairwise.2",
    ]
    assert [trial.against.id for trial in first if trial.against] == ["sums::n::add-1"] * 2
    assert {trial.judged.condition.name for trial in wave.trials} == {"m"}


def test_against_the_target_every_condition_is_asked_about(bench: Workbench) -> None:
    wave, trials = wave_of(bench, "pairwise")
    assert len(wave.trials) == 2 * len(trials)
    assert all(trial.against is None for trial in wave.trials)


def test_a_repeat_is_held_against_the_same_one_or_else_the_first(bench: Workbench) -> None:
    samplings = {"once": {"max_tokens": 8}, "thrice": {"max_tokens": 8, "repeats": 3}}
    config = {**JUDGED, "sampling": samplings}
    wave, _ = wave_of(bench, {"pairwise": {"against": "m/once"}}, config)
    held = {t.judged.id: t.against.id for t in wave.trials if t.against}
    assert held["sums::m/thrice::add-1.3"] == "sums::m/once::add-1"
    wave, _ = wave_of(bench, {"pairwise": {"against": "m/thrice"}}, config)
    held = {t.judged.id: t.against.id for t in wave.trials if t.against}
    assert held["sums::n/thrice::add-1.3"] == "sums::m/thrice::add-1.3"


def test_a_suite_without_such_scorers_has_no_second_wave(bench: Workbench) -> None:
    wave, _ = wave_of(bench, "exact")
    assert wave.trials == ()


def test_the_question_hash_knows_everything_but_answers_and_items(bench: Workbench) -> None:
    def hash_of(config: dict[str, Any] | None = None, **options: Any) -> str:
        wave, _ = wave_of(bench, {"judge": options}, config)
        (found,) = {trial.condition.prompt.hash for trial in wave.trials}
        return found

    other = {**JUDGED, "judge": "n"}
    hashes = [
        hash_of(),
        hash_of(rubric="It is polite."),
        hash_of(scale="1..5"),
        hash_of(explain=False),
        hash_of(max_tokens=9),
        hash_of(prompt="{{ answer }} {{ how }}"),
        hash_of(other),
    ]
    assert len(set(hashes)) == len(hashes)
    assert hash_of() == hashes[0]


# Who judges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "score", "words"),
    [
        ({"models": FAKES}, "judge", "scorer judge needs a model that judges: write judge: NAME"),
        (JUDGED, {"judge": {"model": "wisse"}}, "unknown model 'wisse'; did you mean 'wise'?"),
        (
            {"models": {**FAKES, "vec": {"engine": "fake", "role": "embedder"}}},
            {"judge": {"model": "vec"}},
            r"unknown model 'vec' \(allowed: m, n\)",
        ),
        (JUDGED, "embedding_similarity", "needs a model with role: embedder in the config; it has"),
        (
            {
                "models": {
                    **FAKES,
                    "v": {"engine": "fake", "role": "embedder"},
                    "w": {"engine": "fake", "role": "embedder"},
                }
            },
            "embedding_similarity",
            "the config has several embedders, v, w: say which with model: NAME",
        ),
        (JUDGED, {"embedding_similarity": {"model": "m"}}, "needs a model with role: embedder"),
    ],
)
def test_who_is_to_judge_and_cannot_is_told_with_the_line(
    bench: Workbench, config: dict[str, Any], score: Any, words: str
) -> None:
    with pytest.raises(ScorerError, match=words) as caught:
        wave_of(bench, score, config)
    assert str(caught.value).startswith("suites/sums.yaml:")


def test_a_scorer_may_name_its_judge_and_a_model_that_is_asked_may_be_it(bench: Workbench) -> None:
    wave, _ = wave_of(bench, {"judge": {"model": "m"}})
    assert {trial.condition.model for trial in wave.trials} == {"m"}


def test_who_only_judges_is_not_asked(bench: Workbench) -> None:
    _, trials = wave_of(bench, "exact")
    assert {trial.condition.model for trial in trials} == {"m", "n"}


# What a suite with a judge cannot have ------------------------------------------------------------


def test_a_suite_with_a_judge_cannot_stop_early(bench: Workbench) -> None:
    with pytest.raises(SuiteError, match="stop: judge gives its scores when everything is asked"):
        wave_of(bench, ["exact", "judge"], stop={"when": "decided"})


def test_a_judge_cannot_make_single_tests_fail(bench: Workbench) -> None:
    with pytest.raises(SuiteError, match="each_item: must_pass needs a first scorer that judges"):
        wave_of(bench, ["judge", "exact"], each_item="must_pass")
    wave_of(bench, ["exact", "judge"], each_item="must_pass")


def test_a_condition_that_is_not_there_cannot_be_held_against(bench: Workbench) -> None:
    with pytest.raises(
        SuiteError, match=r"against: unknown condition 'nn'; did you mean 'n'\? \(allowed: m, n, t"
    ):
        wave_of(bench, {"pairwise": {"against": "nn"}})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": "{{ answer }}"}, r"does not insert \{\{ how \}\}, without which"),
        ({"prompt": "Hello"}, r"does not insert \{\{ answer \}\} and \{\{ how \}\}"),
        ({"prompt": "{{ answer }} {{ how }} {{ anwser }}"}, "'anwser' is undefined"),
        ({"prompt": "{{ answer }} {{ how }} {{ item.nothing }}"}, "item 'add-1'"),
        ({"prompt": "{% if %}"}, "the prompt of judge"),
    ],
)
def test_a_prompt_that_cannot_do_its_work_is_told(
    bench: Workbench, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        wave_of(bench, {"judge": options})
    assert isinstance(caught.value, SuiteError | TemplateError)
    assert "suites/sums.yaml:" in str(caught.value)


# What is asked ------------------------------------------------------------------------------------


def test_a_prompt_of_ones_own_sees_the_item_and_the_marked_answer(bench: Workbench) -> None:
    template = "{{ item.a }}|{{ rubric }}|{{ answer }}|{{ how }}"
    wave, trials = wave_of(bench, {"judge": {"prompt": template, "rubric": "Short."}})
    request = wave.request_of(wave.trials[0], answered(*trials))
    (message,) = request.messages
    assert message.role == "user"
    assert message.content.startswith("1|Short.|----- answer ")
    assert "\nIt is 2.\n" in message.content
    assert request.json_schema is not None
    assert (request.sampling.temperature, request.sampling.max_tokens) == (0.0, 512)


def test_a_rubric_may_stand_in_a_file(bench: Workbench) -> None:
    bench.write("suites/rubrics/kind.md", "It is kind.\n")
    wave, trials = wave_of(bench, {"judge": {"rubric": {"file": "rubrics/kind.md"}}})
    request = wave.request_of(wave.trials[0], answered(*trials))
    assert "\n\nIt is kind.\n\n" in request.messages[0].content


def test_a_file_that_is_not_there_is_told(bench: Workbench) -> None:
    with pytest.raises(SuiteError, match=r"the file rubrics/kind\.md of judge: no such file"):
        wave_of(bench, {"judge": {"rubric": {"file": "rubrics/kind.md"}}})


def test_a_question_of_several_messages_is_told_by_role(bench: Workbench) -> None:
    prompt = [{"system": "Be brief."}, {"user": "{{ a }} + 1"}]
    wave, trials = wave_of(bench, "judge", prompt=prompt)
    request = wave.request_of(wave.trials[0], answered(*trials))
    assert "system: Be brief.\n\nuser: 1 + 1" in request.messages[0].content


def test_an_engine_that_obeys_no_schema_is_asked_for_a_line(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_llmeval.run.bench.Bench.replies_in_json", lambda *_: False)
    wave, trials = wave_of(bench, "judge")
    request = wave.request_of(wave.trials[0], answered(*trials))
    assert request.json_schema is None
    assert "VERDICT " in request.messages[0].content


# What is due, and which replies count -------------------------------------------------------------


def test_only_an_answer_that_a_model_has_to_judge_is_due(bench: Workbench) -> None:
    wave, trials = wave_of(bench, ["judge", {"pairwise": {"against": "n"}}])
    by_id = {trial.id: trial for trial in wave.trials}
    known = answered(*trials)
    assert wave.is_due(by_id["sums::m::add-1@judge"], known)
    known |= answered(trials[0], text="")
    assert not wave.is_due(by_id["sums::m::add-1@judge"], known)
    assert not wave.is_due(by_id["sums::m::add-1@pairwise.1"], known)
    known |= answered(trials[0], text="Two.")
    assert wave.is_due(by_id["sums::m::add-1@pairwise.2"], known)
    failed = Prediction("sums::n::add-1", None, Failure("timeout", "60 s"))
    assert not wave.is_due(by_id["sums::m::add-1@pairwise.2"], known | {failed.trial_id: failed})
    del known["sums::m::add-1"]
    assert not wave.is_due(by_id["sums::m::add-1@judge"], known)


def test_a_reply_counts_as_long_as_exactly_the_same_would_be_asked(bench: Workbench) -> None:
    wave, trials = wave_of(bench, "judge")
    known = answered(*trials)
    trial = wave.trials[0]
    reply = replied(wave, trial, known)
    assert trial.id in wave.without_stale({**known, trial.id: reply})
    other_answer = known | answered(trials[0], text="It is two.")
    assert trial.id not in wave.without_stale({**other_answer, trial.id: reply})
    other_rubric, trials = wave_of(bench, {"judge": {"rubric": "Be brief."}})
    assert trial.id not in other_rubric.without_stale({**answered(*trials), trial.id: reply})
    other_judge, trials = wave_of(bench, {"judge": {"model": "n"}})
    assert trial.id not in other_judge.without_stale({**answered(*trials), trial.id: reply})


def test_a_reply_of_a_model_that_was_another_one_under_the_same_name_does_not_count(
    bench: Workbench,
) -> None:
    """Behind a url nobody knows the weights: what the config says is all there is to go by."""

    def config(**keys: Any) -> dict[str, Any]:
        judge = {"engine": "openai", "url": "http://127.0.0.1:1/v1", "role": "judge", **keys}
        return {"models": {**FAKES, "wise": judge}, "judge": "wise"}

    wave, trials = wave_of(bench, "judge", config(name="older"))
    known = answered(*trials)
    trial = wave.trials[0]
    reply = replied(wave, trial, known)
    other, _ = wave_of(bench, "judge", config(name="newer"))
    assert trial.id not in other.without_stale({**known, trial.id: reply})
    faster, _ = wave_of(bench, "judge", config(name="older", slots=7, timeout=9))
    assert trial.id in faster.without_stale({**known, trial.id: reply})


# Scores -------------------------------------------------------------------------------------------


def test_the_condition_held_against_is_a_tie_with_itself(bench: Workbench) -> None:
    wave, trials = wave_of(bench, {"pairwise": {"against": "n"}})
    reference = next(trial for trial in trials if trial.condition.name == "n")
    (score,) = wave.complete(reference, answered(*trials), ())
    assert (score.outcome, score.value) == ("graded", 0.5)


@pytest.mark.parametrize("missing", ["failed", "not asked", "not selected"])
def test_what_cannot_be_compared_is_a_failure_that_says_why(bench: Workbench, missing: str) -> None:
    wave, trials = wave_of(bench, {"pairwise": {"against": "n"}})
    known = answered(*trials)
    words = {
        "failed": "n, which it is held against, has no answer (timeout: 60 s)",
        "not asked": "n, which it is held against, has no answer (not asked)",
        "not selected": "n, which it is held against, was not selected: select it too",
    }[missing]
    if missing == "failed":
        known["sums::n::add-1"] = Prediction("sums::n::add-1", None, Failure("timeout", "60 s"))
    elif missing == "not asked":
        del known["sums::n::add-1"]
    else:
        mine = [trial for trial in trials if trial.condition.name == "m"]
        wave = SecondWave(mine, bench.settings().bench)
    (score,) = wave.complete(trials[0], known, ())
    assert (score.outcome, score.reason, score.stages) == ("failure", "judge", (words,))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (None, "wise was not asked: the run was stopped before"),
        (Failure("timeout", "60 s"), "wise gave no verdict: timeout: 60 s"),
    ],
)
def test_a_judge_without_a_reply_is_a_failure_that_says_why(
    bench: Workbench, reply: Failure | None, words: str
) -> None:
    wave, trials = wave_of(bench, "judge")
    known = answered(*trials)
    if reply is not None:
        known[wave.trials[0].id] = Prediction(wave.trials[0].id, None, reply)
    (score,) = wave.complete(trials[0], known, ())
    assert (score.outcome, score.reason, score.stages[-1]) == ("failure", "judge", words)


# Turns --------------------------------------------------------------------------------------------

Turns = Callable[..., list[list[tuple[str, int]]]]


@pytest.fixture
def turns(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Turns:
    """The turns of a run on real models, each of the size of one; so much fits at once."""
    given: list[list[Lane]] = []

    class Recorder:
        def __init__(self, turns: list[list[Lane]], *_: object, **__: object):
            given.extend(turns)

        def start(self) -> None:
            """Send nothing."""

    def begin(
        fit: int, models: dict[str, str], suites: dict[str, Any], **config: Any
    ) -> list[list[tuple[str, int]]]:
        gguf = bench.real("tiny-s")["tiny-s"]
        made = {name: {**gguf, "role": role} for name, role in models.items()}
        bench.config(models=made, **config)
        monkeypatch.setattr(owner, "Scheduler", Recorder)
        monkeypatch.setattr(assembly, "memory_of", lambda *_, **__: Memory(1))
        monkeypatch.setattr(assembly, "free_now", lambda: Memory(fit))
        settings = bench.settings()
        paths = [bench.suite(name, score=score) for name, score in suites.items()]
        run = Run(settings, print)
        run.begin(Selection(bench.trials(settings, *paths)))
        assert not settings.mistakes
        return [[(lane.model, lane.wave) for lane in turn] for turn in given]

    return begin


MODEL, JUDGE = "model", "judge"


def test_what_fits_together_is_one_turn_with_two_waves(turns: Turns) -> None:
    found = turns(9, {"j": JUDGE, "m": MODEL}, {"a": "judge"}, judge="j")
    assert found == [[("m", 1), ("j", 2)]]


def test_who_judges_is_loaded_last_and_once(turns: Turns) -> None:
    found = turns(1, {"j": MODEL, "m": MODEL, "n": MODEL}, {"a": "judge"}, judge="j")
    assert found == [[("m", 1)], [("n", 1)], [("j", 1), ("j", 2)]]


def test_who_only_judges_has_a_turn_of_its_own_behind_all_others(turns: Turns) -> None:
    found = turns(1, {"j": JUDGE, "m": MODEL, "n": MODEL}, {"a": "judge"}, judge="j")
    assert found == [[("m", 1)], [("n", 1)], [("j", 2)]]


def test_a_judge_that_no_suite_needs_is_not_loaded(turns: Turns) -> None:
    found = turns(1, {"j": JUDGE, "v": "embedder", "m": MODEL}, {"a": "exact"}, judge="j")
    assert found == [[("m", 1)]]


def test_two_that_judge_each_other_and_do_not_fit_have_a_turn_more(turns: Turns) -> None:
    suites = {"a": {"judge": {"model": "j"}}, "b": {"judge": {"model": "k"}}}
    found = turns(1, {"j": MODEL, "k": MODEL}, suites)
    assert found == [[("j", 1)], [("k", 1), ("k", 2)], [("j", 2)]]
    assert turns(2, {"j": MODEL, "k": MODEL}, suites)[-1] == [
        ("j", 1),
        ("k", 1),
        ("j", 2),
        ("k", 2),
    ]


# Written down -------------------------------------------------------------------------------------


def verdicts(*words: str) -> list[dict[str, Any]]:
    return [{"text": json.dumps({"reason": "so", "verdict": word})} for word in words]


@pytest.fixture
def judged(bench: Workbench) -> Callable[..., Path]:
    """Ask a suite whose answers a scripted judge judges."""

    def run(score: Any, rules: Sequence[dict[str, Any]], **options: Any) -> Path:
        wise = {**bench.script(rules, "wise.json"), "role": "judge"}
        says = bench.script([{"when": r"^(\d)", "text": r"\1"}], "says.json")
        bench.config(models={"m": says, "n": says, "wise": wise}, judge="wise")
        return bench.run(bench.suite(score=score), **options)

    return run


def test_the_manifest_says_what_judges_are_asked_and_how_far_it_came(
    judged: Callable[..., Path],
) -> None:
    run = judged(["judge", "exact"], verdicts("pass"))
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    plan = manifest["plan"]["judged"]
    assert [(p["condition"], p["scorer"], p["model"], p["trials"]) for p in plan] == [
        ("m", "judge", "wise", 4),
        ("n", "judge", "wise", 4),
    ]
    assert len(plan[0]["question_hash"]) == 64
    parts = manifest["second_wave"]
    assert [(p["condition"], p["trials"], p["answered"], p["job_status"]) for p in parts] == [
        ("m", 4, 4, "completed"),
        ("n", 4, 4, "completed"),
    ]
    assert "wise" in [model["name"] for model in manifest["models"]]


def test_every_question_to_a_judge_is_kept_with_its_reply(judged: Callable[..., Path]) -> None:
    run = judged("judge", verdicts("pass"))
    lines = (run / "m/parts/judge-0001.requests.jsonl").read_text(encoding="utf-8").splitlines()
    requests = {line["custom_id"]: line["body"] for line in map(json.loads, lines)}
    assert list(requests) == [f"sums::m::add-{n}@judge" for n in range(1, 5)]
    assert "1 + 1 =" in requests["sums::m::add-1@judge"]["messages"][0]["content"]
    assert requests["sums::m::add-1@judge"]["model"] == "wise"
    results = (run / "m/parts/judge-0001.results.jsonl").read_text(encoding="utf-8")
    assert {json.loads(line)["custom_id"] for line in results.splitlines()} == set(requests)
    first_wave = (run / "m/parts/part-0001.results.jsonl").read_text(encoding="utf-8")
    assert "@judge" not in first_wave


def test_a_resumed_run_asks_the_judge_again_only_where_the_question_has_changed(
    judged: Callable[..., Path],
) -> None:
    run = judged("judge", verdicts("pass"))
    path = run / "m/parts/judge-0001.results.jsonl"
    first = path.read_bytes()
    assert judged("judge", verdicts("fail"), resume="last") == run
    assert path.read_bytes() == first
    judged({"judge": {"rubric": "It is short."}}, verdicts("fail"), resume="last")
    assert path.read_bytes().startswith(first)
    assert path.read_bytes().count(b"\n") == 8
    assert (run / "m/parts/part-0001.results.jsonl").read_bytes().count(b"\n") == 4
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    (scorer,) = manifest["plan"]["suites"][0]["scorers"]
    assert scorer["options"] == {"rubric": "It is short."}


def test_a_judge_may_be_added_to_a_run_that_had_none(
    bench: Workbench, judged: Callable[..., Path]
) -> None:
    says = bench.script([{"when": r"^(\d)", "text": r"\1"}], "says.json")
    bench.config(models={"m": says, "n": says})
    run = bench.run(bench.suite(score="exact"))
    assert judged("judge", verdicts("pass"), resume="last") == run
    rows = (run / "m/per_item_scores.csv").read_text(encoding="utf-8")
    assert rows.count('"judge","right"') == 4
    assert (run / "m/parts/part-0001.results.jsonl").read_bytes().count(b"\n") == 4


def test_costs_and_tokens_count_what_judges_took(judged: Callable[..., Path]) -> None:
    run = judged("judge", verdicts("pass"))
    costs = json.loads((run / "costs.json").read_text(encoding="utf-8"))
    (judge,) = costs["judges"]
    assert (judge["judge"], judge["trials"]) == ("wise", 8)
    asked = sum(row["tokens"] for row in costs["conditions"])
    assert costs["total"]["tokens"] == asked + judge["tokens"] > asked


def test_a_judge_that_had_nothing_to_do_for_a_scorer_took_nothing_for_it(bench: Workbench) -> None:
    wave, trials = wave_of(bench, ["judge", {"pairwise": {"against": "n"}}])
    known = answered(*trials)  # all of them the same, so that pairwise asks nobody
    asked = [trial for trial in wave.trials if wave.is_due(trial, known)]
    for trial in asked:
        reply = replied(wave, trial, known)
        assert reply.answer is not None
        answer = dataclasses.replace(reply.answer, usage=Usage(9, 3, 4), service_ms=10)
        known[trial.id] = dataclasses.replace(reply, answer=answer, attempts=(Attempt(10),))
    alone, idle = judge_figures(wave, known, {}, {"wise": 1})
    assert (alone.trials, alone.slots_busy) == (len(asked), 1.0)
    assert (alone.tokens, alone.cached_tokens) == (12 * len(asked), 4 * len(asked))
    assert (idle.scorer, idle.trials, idle.slots_busy) == ("pairwise", 0, None)
    assert (idle.tokens, idle.cached_tokens, idle.seconds) == (0, 0, 0)


def test_an_engine_that_gives_no_vectors_is_refused_before_anything_is_sent(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_llmeval.engines import engine

    class Mute(engine.Refusing):
        kind = "mute"

        def __init__(self, _: engine.Endpoint):
            """It is never made."""

    monkeypatch.setitem(engine._registered, "fake", Mute)
    bench.config(models={"m": {"engine": "fake"}, "v": {"engine": "fake", "role": "embedder"}})
    settings = bench.settings()
    run = Run(settings, print)
    run.begin(Selection(bench.trials(settings, bench.suite(score="embedding_similarity"))))
    assert settings.mistakes
    assert (
        "embedding_similarity in suite sums, by v: The engine fake gives no embeddings"
        in (settings.mistakes[0])
    )


def test_judge_trials_are_trials_so_that_the_scheduler_needs_to_know_nothing_of_them(
    bench: Workbench,
) -> None:
    wave, _ = wave_of(bench, "judge")
    assert isinstance(wave.trials[0], Trial)
    assert dataclasses.is_dataclass(wave.trials[0])
