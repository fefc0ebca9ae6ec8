"""A run's folder of somebody else's shows nothing from elsewhere, and nothing is written there."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.enclosed import refuse_ways_out
from pytest_llmeval.results.manifest import read_manifest


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "runs" / "2026-11-23-0412"
    (run / "m" / "parts").mkdir(parents=True)
    (run / "m" / "parts" / "part-0001.results.jsonl").write_text("", encoding="utf-8", newline="")
    return run


def link(place: Path, target: Path | str, *, folder: bool = False) -> None:
    try:
        place.symlink_to(target, target_is_directory=folder)
    except OSError:
        pytest.skip("links may not be made here")


@pytest.mark.parametrize("target", ["../../../secret", "absolute"])
def test_a_link_out_of_the_folder_is_refused_with_where_it_leads(run: Path, target: str) -> None:
    secret = run.parents[1] / "secret"
    secret.write_text("key", encoding="utf-8", newline="")
    place = run / "m" / "parts" / "part-0002.results.jsonl"
    link(place, secret if target == "absolute" else f"../{target}")
    with pytest.raises(RunError) as caught:
        refuse_ways_out(run)
    assert str(caught.value) == (
        f"{run}: m/parts/part-0002.results.jsonl is a link to {secret}, outside of the run's "
        "folder, and is not followed; put the file itself there, or delete the link"
    )


def test_a_linked_folder_is_not_walked_into(run: Path) -> None:
    link(run / "l", run.parents[1], folder=True)
    with pytest.raises(RunError, match=re.escape(f"l is a link to {run.parents[1]}, outside")):
        refuse_ways_out(run)


def test_a_link_within_the_folder_and_a_link_to_the_folder_are_none_of_them(run: Path) -> None:
    link(run / "l", "m", folder=True)
    link(run.parent / "last", run.name, folder=True)
    refuse_ways_out(run)
    refuse_ways_out(run.parent / "last")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
def test_a_pipe_is_not_waited_for(run: Path) -> None:
    os.mkfifo(run / "m" / "predictions.csv")
    with pytest.raises(RunError, match=r"m/predictions\.csv is a pipe, a socket or a device"):
        refuse_ways_out(run)


def test_whoever_reads_a_manifest_has_looked_for_ways_out(run: Path) -> None:
    link(run / "manifest.json", run.parents[1] / "elsewhere")
    with pytest.raises(RunError, match="outside of the run's folder, and is not followed"):
        read_manifest(run)


def test_a_manifest_that_is_nested_too_deep_is_none(run: Path) -> None:
    (run / "manifest.json").write_text("[" * 100_000, encoding="utf-8", newline="")
    with pytest.raises(RunError, match="is no manifest of a run: more than 100 lists"):
        read_manifest(run)


def test_a_folder_that_is_not_there_is_told_by_whoever_reads_it(run: Path) -> None:
    shutil.rmtree(run)
    refuse_ways_out(run)
    with pytest.raises(RunError, match="cannot be read"):
        read_manifest(run)
