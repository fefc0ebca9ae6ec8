"""`llmeval batch`: build, run and combine, as somebody types them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.results.journal import read_run
from pytest_llmeval.results.manifest import Manifest, read_manifest
from tests.standins.deficient import serving

if TYPE_CHECKING:
    from tests.commands.conftest import Evaluate

CAPITALS = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Peru": "Lima"}


@pytest.fixture
def folder(evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, with a suite of four capitals and two models that know them."""
    for model in ("m", "l"):
        rules = [{"when": name, "text": city} for name, city in CAPITALS.items()]
        evaluate.write(f"{model}.json", json.dumps(rules))
    models = {model: {"engine": "fake", "script": f"{model}.json"} for model in ("m", "l")}
    evaluate.write("local.yaml", json.dumps({"models": models}))
    monkeypatch.chdir(evaluate.root)
    return evaluate.root


def batch(*words: object) -> Result:
    """`llmeval batch ...`."""
    return CliRunner().invoke(app, ["batch", *map(str, words)])


def build(*words: object) -> Path:
    done = batch("build", "--llm-config", "local.yaml", "-o", "out", *words)
    assert done.exit_code == 0, done.output
    return Path("out")


def run(*words: object) -> Result:
    return batch("run", "--llm-config", "local.yaml", *words)


def part(number: int, condition: str = "m--plain") -> Path:
    return Path("out") / condition / "parts" / f"part-{number:04d}.requests.jsonl"


def results(number: int, condition: str = "m--plain") -> Path:
    return Path("out") / condition / "parts" / f"part-{number:04d}.results.jsonl"


def statuses(manifest: Manifest) -> list[str]:
    return [each.job_status for each in manifest.parts]


# From suites to a score ---------------------------------------------------------------------------


def test_what_is_built_is_run_combined_and_scored(folder: Path) -> None:
    out = build("suites", "--parts", "2")
    assert statuses(read_manifest(out)) == ["pending"] * 4
    ran = run(out)
    assert ran.exit_code == 0, ran.output
    assert "part 2 of 2 of l/plain: 2 in, 2 answered" in ran.stdout
    combined = batch("combine", out)
    assert combined.exit_code == 0, combined.output
    assert "score it, in the folder of its suites: llmeval rescore out" in combined.stdout
    manifest = read_manifest(out)
    assert (statuses(manifest), manifest.exit_reason) == (["completed"] * 4, "finished")
    lines = (out / "m--plain" / "results_combined.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["custom_id"].rpartition("::")[2] for line in lines] == [
        *("fr", "es", "it", "pe")
    ]
    scored = CliRunner().invoke(app, ["rescore", "out"])
    assert scored.exit_code == 0, scored.output
    assert scored.stdout.count("4/4  100.0") == 2


def test_building_says_what_is_next_and_asks_nothing(folder: Path) -> None:
    done = batch("build", "--llm-config", "local.yaml", "-o", "out")
    assert done.stdout.splitlines() == [
        "m/plain: 4 in, 0 answered, pending",
        "l/plain: 4 in, 0 answered, pending",
        "ask them where the models are: llmeval batch run --llm-config local.yaml out",
    ]
    assert not list(Path("out").glob("*/parts/*.results.jsonl"))
    assert read_manifest(Path("out")).exit_reason == "built, and not asked yet"


def test_requests_are_lines_of_an_openai_batch(folder: Path) -> None:
    build()
    line = json.loads(part(1).read_text("utf-8").splitlines()[0])
    assert line["custom_id"] == "capitals::m/plain::fr"
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"]["messages"] == [{"role": "user", "content": "Capital of France?"}]


def test_a_folder_that_is_not_empty_is_refused(folder: Path) -> None:
    build()
    again = batch("build", "--llm-config", "local.yaml", "-o", "out")
    assert again.exit_code == 1
    assert "out is not empty: choose a new folder" in again.output


def test_no_suite_and_a_broken_one_are_told(folder: Path) -> None:
    (folder / "empty").mkdir()
    none = batch("build", "--llm-config", "local.yaml", "-o", "out", "empty")
    assert "there is no suite in empty" in none.output
    (folder / "suites" / "bad.yaml").write_text("items: 7\n", encoding="utf-8", newline="\n")
    bad = batch("build", "--llm-config", "local.yaml", "-o", "out2", "suites/bad.yaml")
    assert (bad.exit_code, "bad.yaml:1" in bad.output) == (1, True)
    assert not (folder / "out2").exists()


def test_a_run_again_asks_only_what_has_no_answer(folder: Path) -> None:
    out = build()
    run(out)
    lines = results(1).read_bytes().splitlines(keepends=True)
    results(1).write_bytes(b"".join(lines[:2]) + lines[2][:9])
    again = run(out)
    assert again.exit_code == 0, again.output
    now = results(1).read_bytes().splitlines(keepends=True)
    assert now[:2] == lines[:2]
    assert len(now) == 4
    assert len(read_run(out)) == 8


def test_parts_may_be_asked_by_themselves_in_the_folder(folder: Path) -> None:
    out = build("--parts", "2")
    first = run(part(1), part(1, "l--plain"))
    assert first.stdout.splitlines() == [
        "part 1 of 2 of m/plain: 2 in, 2 answered",
        "part 1 of 2 of l/plain: 2 in, 2 answered",
    ]
    manifest = read_manifest(out)
    assert statuses(manifest) == ["completed", "pending", "completed", "pending"]
    assert [facts.name for facts in manifest.models] == ["l", "m"]
    assert manifest.exit_reason == "some of its requests were not asked yet"
    run(part(2), part(2, "l--plain"))
    assert read_manifest(out).exit_reason == "finished"


def test_parts_may_be_asked_elsewhere_and_their_results_brought_back(folder: Path) -> None:
    out = build("--parts", "2")
    (folder / "gpu").mkdir()
    for condition in ("m--plain", "l--plain"):
        for number in (1, 2):
            there = folder / "gpu" / f"{condition}-{number}.requests.jsonl"
            shutil.copy(part(number, condition), there)
    ran = run(*sorted((folder / "gpu").glob("*.requests.jsonl")))
    assert ran.exit_code == 0, ran.output
    for path in (folder / "gpu").glob("*.results.jsonl"):
        condition, _, rest = path.name.rpartition("-")
        shutil.copy(path, results(int(rest[0]), condition))
    combined = batch("combine", out)
    assert combined.exit_code == 0, combined.output
    assert [(m.name, m.digest) for m in read_manifest(out).models] == [("l", None), ("m", None)]
    assert "4/4  100.0" in CliRunner().invoke(app, ["rescore", "out"]).stdout


def test_results_that_were_brought_back_are_scored_as_any(folder: Path) -> None:
    out, elsewhere = build(), folder / "elsewhere"
    for condition in ("m--plain", "l--plain"):
        (elsewhere / condition).mkdir(parents=True)
        copied = elsewhere / condition / "part-0001.requests.jsonl"
        shutil.copyfile(part(1, condition), copied)
        assert run(copied).exit_code == 0
        shutil.copyfile(copied.with_name("part-0001.results.jsonl"), results(1, condition))
    assert batch("combine", out).exit_code == 0
    assert CliRunner().invoke(app, ["rescore", "out"]).exit_code == 0
    (scored,) = Path("runs").glob("2*")
    combined = batch("combine", scored)
    assert combined.exit_code == 0, combined.output
    assert not list(scored.glob("*/parts/judge-*"))


def test_only_parts_of_one_folder_are_taken_as_such(folder: Path) -> None:
    build("--parts", "2")
    again = batch("build", "--llm-config", "local.yaml", "-o", "other", "--parts", "2")
    assert again.exit_code == 0
    elsewhere = Path("other") / part(1).relative_to("out")
    for more in (elsewhere, foreign("a.jsonl", ask("1", "France?"))):
        told = run(part(1), more)
        assert told.exit_code == 1
        assert "give parts of one folder, or files by themselves" in told.output
    run(part(1))
    told = run(results(1))
    assert told.exit_code == 1
    assert "part-0001.results.jsonl holds no requests: name files that end in" in told.output
    gone = part(7)
    assert "part-0007.requests.jsonl is no part of " in run(gone).output


def test_failed_requests_give_exit_status_1_and_are_asked_again_by_the_same_command(
    folder: Path,
) -> None:
    out = build()
    rules = (folder / "m.json").read_text("utf-8")
    (folder / "m.json").write_text(
        json.dumps([{"when": "Peru", "fail": "refused"}, {"text": "x"}]), "utf-8", newline="\n"
    )
    broken = run(out)
    assert broken.exit_code == 1
    assert "m/plain: 4 in, 3 answered, 1 failed (1 refused; first capitals::m/plain::pe: " in (
        broken.stdout
    )
    assert batch("combine", out).exit_code == 0  # each has an outcome
    (folder / "m.json").write_text(rules, "utf-8", newline="\n")
    assert run(out).exit_code == 0
    assert all(p.answer for p in read_run(out).values())


def test_a_dry_run_is_made_in_a_copy_whose_answers_are_never_taken_for_real(folder: Path) -> None:
    out = build()
    ran = run("--dry-run", out)
    assert ran.exit_code == 0, ran.output
    copy = Path("out-dry-run")
    assert len(read_run(copy)) == 8
    assert read_run(out) == {}
    assert statuses(read_manifest(out)) == ["pending"] * 2
    assert batch("combine", copy).exit_code == 0
    refused = run(copy)
    assert refused.exit_code == 1
    assert "out-dry-run holds a dry run, whose answers are the fake engine's" in refused.output


def test_a_dry_run_knows_nothing_of_the_real_jobs(folder: Path) -> None:
    out = build()
    jobs = part(1).with_name("part-0001.jobs.json")
    jobs.write_text("no jobs", "utf-8")
    ran = run("--dry-run", out)
    assert ran.exit_code == 0, ran.output
    assert not (Path("out-dry-run") / jobs.relative_to(out)).exists()


def test_a_dry_run_of_other_requests_is_not_gone_on_with(folder: Path) -> None:
    out = build()
    assert run("--dry-run", out).exit_code == 0
    assert run("--dry-run", out).exit_code == 0
    part(1).write_bytes(part(1).read_bytes().replace(b"France", b"Gaul"))
    refused = run("--dry-run", out)
    assert refused.exit_code == 1
    assert "out-dry-run is a dry run of other requests than are in " in refused.output


def test_a_model_that_the_config_lacks_is_told(folder: Path) -> None:
    out = build()
    (folder / "other.yaml").write_text("models: {x: {engine: fake}}", "utf-8", newline="\n")
    told = batch("run", "--llm-config", "other.yaml", out)
    assert told.exit_code == 1
    assert "out asks it: unknown model 'l'" in told.output


def test_requests_that_were_changed_are_refused(folder: Path) -> None:
    out = build()
    lines = part(1).read_bytes().splitlines(keepends=True)
    part(1).write_bytes(b"".join(lines[:3]))
    told = run(out)
    assert "part-0001.requests.jsonl: 3 requests, and manifest.json says 4" in told.output


def _changed(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"France", b"Gaul"))


@pytest.mark.parametrize(
    "ask",
    [run, lambda out: batch("combine", out), lambda _: CliRunner().invoke(app, ["rescore", "out"])],
    ids=["run", "combine", "rescore"],
)
def test_a_folder_with_an_edited_request_is_refused(
    ask: Callable[[Path], Result], folder: Path
) -> None:
    out = build()
    _changed(part(1))
    told = ask(out)
    assert told.exit_code == 1
    assert "part-0001.requests.jsonl is not as llmeval batch build wrote it" in told.output
    assert "Put it back, or build the folder anew from changed suites" in told.output
    assert read_run(out) == {}


def test_a_folder_may_be_copied_with_other_ends_of_lines(folder: Path) -> None:
    out = build()
    part(1).write_bytes(part(1).read_bytes().replace(b"\n", b"\r\n"))
    ran = run(out)
    assert ran.exit_code == 0, ran.output
    assert batch("combine", out).exit_code == 0


# In is out ----------------------------------------------------------------------------------------


def test_what_is_missing_doubled_or_unknown_is_named_and_the_exit_status_says_so(
    folder: Path,
) -> None:
    out = build("--parts", "2")
    run(out)
    first, second = results(1).read_bytes().splitlines(keepends=True)
    unknown = second.replace(b"::es", b"::xx")
    results(1).write_bytes(first + first + unknown)
    found = batch("combine", out)
    assert found.exit_code == 1
    assert (
        "part 1 of 2 of m/plain: 2 in, 1 answered; NOT IN = OUT: 2 trials in, 1 predictions out: "
        "missing capitals::m/plain::es; twice capitals::m/plain::fr; unknown capitals::m/plain::xx"
    ) in found.stdout
    assert "part 2 of 2 of m/plain: 2 in, 2 answered\n" in found.stdout
    assert read_manifest(out).exit_reason == "combined, and in is not out"
    assert statuses(read_manifest(out)) == ["failed", "completed", "completed", "completed"]


def test_combining_what_nobody_has_asked_names_everything_as_missing(folder: Path) -> None:
    found = batch("combine", build())
    assert found.exit_code == 1
    assert "missing capitals::m/plain::fr, capitals::m/plain::es" in found.stdout
    assert "and 1 more" in found.stdout


def test_a_folder_without_anything_to_combine_is_told(folder: Path) -> None:
    (folder / "empty").mkdir()
    told = batch("combine", "empty")
    assert "there is nothing to combine in" in told.output
    assert told.exit_code == 1


# Files of others ----------------------------------------------------------------------------------


def foreign(name: str, *requests: dict[str, Any]) -> Path:
    """A file of an OpenAI batch that this tool did not write."""
    lines = [{"method": "POST", "url": "/v1/chat/completions", **request} for request in requests]
    path = Path(name)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8", newline="\n")
    return path


def ask(custom_id: str, text: str, **keys: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"custom_id": custom_id, "body": {"model": "m", "messages": messages, **keys}}


def read(path: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    return {line["custom_id"]: line for line in lines}


def test_a_batch_of_somebody_else_is_asked_and_combined(folder: Path) -> None:
    Path("jobs").mkdir()
    foreign("jobs/a.jsonl", ask("request-1", "France?", n=1), ask("request/2 ü", "Peru?"))
    foreign("jobs/b.jsonl", ask("request-1", "Spain?", max_tokens=5))
    ran = run("jobs/a.jsonl", "jobs/b.jsonl")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.splitlines()[-2:] == [
        "a.jsonl: 2 in, 2 answered",
        "b.jsonl: 1 in, 1 answered",
    ]
    found = read("jobs/a.results.jsonl")
    texts = {
        id_: line["response"]["body"]["choices"][0]["message"]["content"]
        for id_, line in found.items()
    }
    assert texts == {"request-1": "Paris", "request/2 ü": "Lima"}
    combined = batch("combine", "jobs")
    assert combined.exit_code == 0, combined.output
    assert len(Path("jobs/results_combined.jsonl").read_text("utf-8").splitlines()) == 3
    assert run("jobs/a.jsonl").stdout.splitlines() == ["a.jsonl: 2 in, 2 answered"]


def test_an_answer_is_not_taken_for_one_to_a_request_that_has_changed(folder: Path) -> None:
    foreign("a.jsonl", ask("1", "France?"), ask("2", "Peru?"))
    assert run("a.jsonl").exit_code == 0
    foreign("a.jsonl", ask("1", "France?"), ask("2", "Spain?"))
    refused = run("a.jsonl")
    assert refused.exit_code == 1
    assert "a.jsonl: the request 2 is not what a.results.jsonl has the answer to" in refused.output
    Path("a.results.jsonl").unlink()
    assert run("a.jsonl").exit_code == 0


def test_an_answer_is_not_taken_for_one_of_another_model(folder: Path) -> None:
    foreign("a.jsonl", {**ask("1", "France?"), "model": "m"})
    assert run("a.jsonl").exit_code == 0
    models = {"m": {"engine": "fake", "script": "l.json"}}
    (folder / "local.yaml").write_text(json.dumps({"models": models}), "utf-8", newline="\n")
    refused = run("a.jsonl")
    assert refused.exit_code == 1
    assert "it, or the model that it goes to, has changed since" in refused.output


def test_a_dry_run_of_files_has_results_of_its_own(folder: Path) -> None:
    foreign("a.jsonl", ask("1", "France?"))
    assert run("--dry-run", "a.jsonl").exit_code == 0
    assert not Path("a.results.jsonl").exists()
    assert "fake answer" in Path("a.dry-run.results.jsonl").read_text("utf-8")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (ask("1", "hi", logit_bias={"7": 1}), "a.jsonl:2: The key 'logit_bias'"),
        ({"custom_id": "1"}, "a.jsonl:2: this is no request: it has no 'body'"),
        ({"custom_id": "1", "body": {}}, "a.jsonl:2: this is no request: messages is no list"),
        (
            {**ask("1", "hi"), "url": "/v1/embeddings"},
            "is for POST /v1/chat/completions, not /v1/embeddings",
        ),
        (ask("0", "hi"), "a.jsonl:2: the custom_id '0' stands there twice"),
    ],
)
def test_a_request_that_cannot_be_asked_stops_before_anything_is(
    folder: Path, request_: dict[str, Any], words: str
) -> None:
    foreign("a.jsonl", ask("0", "France?"), request_)
    told = run("a.jsonl")
    assert told.exit_code == 1
    assert words in told.output
    assert not Path("a.results.jsonl").exists()


def test_the_only_model_is_asked_whatever_model_a_request_names(folder: Path) -> None:
    text = json.dumps({"models": {"m": {"engine": "fake", "script": "m.json"}}})
    (folder / "one.yaml").write_text(text, "utf-8", newline="\n")
    request = ask("1", "France?")
    request["body"]["model"] = "gpt-4o-mini"
    foreign("a.jsonl", request)
    assert batch("run", "--llm-config", "one.yaml", "a.jsonl").exit_code == 0
    told = run("a.jsonl")
    assert "names the model 'gpt-4o-mini', which is none of those" in told.output
    assert "Give a config with the one model that is to answer" in told.output


def test_a_request_that_needs_what_its_endpoint_lacks_is_not_sent_and_the_others_are(
    folder: Path,
) -> None:
    with serving("system") as standin:
        model = {"engine": "llama-server", "url": standin.url}
        (folder / "served.yaml").write_text(json.dumps({"models": {"m": model}}), "utf-8")
        kind = ask("kind", "Peru?")
        kind["body"]["messages"].insert(0, {"role": "system", "content": "Be kind."})
        foreign("a.jsonl", ask("plain", "Spain?"), kind)
        ran = batch("run", "--llm-config", "served.yaml", "a.jsonl")
    assert ran.exit_code == 1
    assert "a.jsonl: 2 in, 1 answered, 1 failed (1 unsupported; first kind: " in ran.stdout
    assert "the request needs what m lacks: system: a system message does not reach" in ran.stdout
    assert not any("Peru?" in str(request["messages"]) for request in standin.requests)
    assert read("a.results.jsonl")["plain"]["response"]


def test_a_folder_that_is_no_runs_is_told_to_name_its_files(folder: Path) -> None:
    Path("jobs").mkdir()
    assert "jobs has no manifest.json, so it is no folder of a run: name its files" in (
        run("jobs").output
    )
    assert "give one folder, or files" in run("jobs", "suites").output
