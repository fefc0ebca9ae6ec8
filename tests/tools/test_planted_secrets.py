"""Secrets that are planted wherever one may come in, in short: none comes out.

The long form is `python tools/planted_secrets.py --secrets 10000`.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tools import planted_secrets
from tools.planted_secrets import PLACES, TOKENS, everything_below, leaks, plant


def test_of_every_kind_of_secret_none_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    status = planted_secrets.main(["--secrets", "186", "--seed", "3"])
    said = capsys.readouterr().out
    assert status == 0, said
    assert said.startswith("186 secrets of 31 kinds planted, 0 came out\n")
    share = float(said.splitlines()[-2].partition("(")[2].partition("%")[0])
    assert share < 1, "of the project's own words, in percent"


def test_what_is_planted_would_be_found() -> None:
    planted = plant(Random(1), 2 * (len(TOKENS) + len(PLACES)))
    assert all(leaks(each.text.encode()) for each in planted)
    assert {each.kind for each in planted} == {*TOKENS, *PLACES}


def test_every_file_is_looked_at_and_the_members_of_archives(tmp_path: Path) -> None:
    import zipfile

    inlet = tmp_path / "planted.json"
    inlet.write_text("in")
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        archive.writestr("report.md", "a report")
    names = [name for name, _ in everything_below(tmp_path, [inlet])]
    assert names == ["run.zip", "run.zip:report.md"]
