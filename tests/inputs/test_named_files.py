"""Files that a suite names: only below the rootdir, only plain files, the same words everywhere."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import ConfigError, SuiteError
from pytest_llmeval.inputs.config import load_config
from pytest_llmeval.inputs.documents import Document
from pytest_llmeval.inputs.named_files import WAY_OUT, named_file
from pytest_llmeval.inputs.suites import load_suite, suite_from_marker

ROW = '{"id": "a", "q": "1 + 1", "answer": "2"}\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a suite, and beside it what is none of the suite's business."""
    root = tmp_path / "project"
    (root / "suites" / "data").mkdir(parents=True)
    (root / "suites" / "data" / "x.jsonl").write_text(ROW, encoding="utf-8", newline="")
    (tmp_path / "secret.jsonl").write_text(ROW, encoding="utf-8", newline="")
    return root


def suite(root: Path, *roots: Path, **keys: Any) -> None:
    """Load a suite that has these keys."""
    whole = {"items": "data/x.jsonl", "target": "answer", "prompt": "{{ q }}", "score": "exact"}
    path = root / "suites" / "s.yaml"
    path.write_text(json.dumps({**whole, **keys}), encoding="utf-8", newline="")
    load_suite(path, "suites/s.yaml", roots=(root, *roots))


def refusal(root: Path, name: str) -> str:
    with pytest.raises(SuiteError) as caught:
        suite(root, items=name)
    return str(caught.value)


def link(place: Path, target: Path) -> None:
    try:
        place.symlink_to(target)
    except OSError:
        pytest.skip("links may not be made here")


def test_what_leads_out_of_the_rootdir_is_refused_with_place_root_and_way_out(root: Path) -> None:
    outside = root.parent / "secret.jsonl"
    for name in ("../../secret.jsonl", str(outside), "data/../../../secret.jsonl"):
        assert refusal(root, name) == (
            f"{root / 'suites' / 's.yaml'}:1: items: {name!r} is not read: it leads to {outside}, "
            f"and files that a suite names lie below {root}; {WAY_OUT}"
        )


def test_what_stays_within_it_is_read_however_it_is_written(root: Path) -> None:
    for name in ("data/x.jsonl", "../suites/data/x.jsonl", str(root / "suites/data/x.jsonl")):
        suite(root, items=name)


def test_a_link_is_followed_before_it_is_judged(root: Path) -> None:
    link(root / "suites" / "data" / "out.jsonl", root.parent / "secret.jsonl")
    link(root / "suites" / "up", root.parent)
    link(root / "suites" / "in.jsonl", root / "suites" / "data" / "x.jsonl")
    for name in ("data/out.jsonl", "up/secret.jsonl"):
        words = f"{name!r} is not read: a link leads to {root.parent / 'secret.jsonl'}, and files"
        assert words in refusal(root, name)
    suite(root, items="in.jsonl")


@pytest.mark.parametrize(
    "keys",
    [
        {"prompt": {"file": "../../secret.jsonl"}},
        {"prompt": [{"system": {"file": "../../secret.jsonl"}}, {"user": "{{ q }}"}]},
        {"few_shot": {"items": "../../secret.jsonl", "count": 1}},
        {"json_schema": {"file": "../../secret.jsonl"}},
        {"grammar": {"file": "../../secret.jsonl"}},
        {"score": {"judge": {"rubric": {"file": "../../secret.jsonl"}}}},
        {"score": {"json_schema": {"schema": {"file": "../../secret.jsonl"}}}},
    ],
)
def test_every_key_that_names_a_file_is_held_to_it(root: Path, keys: dict[str, Any]) -> None:
    with pytest.raises(SuiteError) as caught:
        suite(root, **keys)
    words = "'../../secret.jsonl' is not read: it leads to"
    assert words in str(caught.value)
    assert f"files that a suite names lie below {root}; {WAY_OUT}" in str(caught.value)


def test_a_marker_is_held_to_it_too(root: Path) -> None:
    path, arguments = root / "test_x.py", {"items": "../secret.jsonl", "prompt": "{{ q }}"}
    with pytest.raises(SuiteError, match="is not read: it leads to"):
        suite_from_marker(arguments, path=path, origin="test_x.py::test_y", roots=[root])


def test_a_root_of_the_config_lets_a_suite_name_files_below_it(root: Path) -> None:
    shared = root.parent / "shared"
    shared.mkdir()
    (shared / "x.jsonl").write_text(ROW, encoding="utf-8", newline="")
    config = root / "local.yaml"
    text = json.dumps({"models": {"m": {"engine": "fake"}}, "data": {"roots": ["../shared"]}})
    config.write_text(text, encoding="utf-8", newline="")
    (named,) = load_config(config).data_roots
    assert named == shared
    suite(root, named, items="../../shared/x.jsonl")


def test_a_root_that_is_no_folder_is_a_mistake_of_the_config(root: Path) -> None:
    config = root / "local.yaml"
    text = 'models: {m: {engine: fake}}\ndata:\n  roots:\n    - nowhere\n    - "${NOT_SET}/x"\n'
    config.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(ConfigError) as caught:
        load_config(config, environment={})
    assert f"{config}:4: data.roots: there is no folder {root / 'nowhere'}" in str(caught.value)
    assert f"{config}:5: data.roots: the environment variable 'NOT_SET'" in str(caught.value)


def test_a_suite_that_lies_outside_of_the_rootdir_has_what_lies_beside_it(root: Path) -> None:
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.jsonl").write_text(ROW, encoding="utf-8", newline="")
    text = 'items: x.jsonl\ntarget: answer\nprompt: "{{ q }}"\nscore: exact\n'
    (elsewhere / "s.yaml").write_text(text, encoding="utf-8", newline="")
    assert load_suite(elsewhere / "s.yaml", "s.yaml", roots=[root]).items
    (elsewhere / "s.yaml").write_text(
        text.replace("x.jsonl", "../secret.jsonl"), encoding="utf-8", newline=""
    )
    with pytest.raises(SuiteError, match="is not read: it leads to"):
        load_suite(elsewhere / "s.yaml", "s.yaml", roots=[root])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("C:data.jsonl", "C: without a slash behind it depends on where that drive stands; write"),
        ("data/a.jsonl:hidden", "behind a colon Windows looks for a stream inside the file"),
        ("C:/data/a.jsonl:x", "behind a colon Windows looks for a stream inside the file"),
        (r"\\server\share\a.jsonl", f"a path on another machine or a device; {WAY_OUT}"),
        ("//server/share/a.jsonl", f"a path on another machine or a device; {WAY_OUT}"),
        (r"\\.\pipe\a.jsonl", f"a path on another machine or a device; {WAY_OUT}"),
        ("NUL", "'NUL' is a device on Windows; rename it"),
        ("data/con.jsonl", "'con.jsonl' is a device on Windows; rename it"),
        (r"data\Com1 .jsonl", "'Com1 .jsonl' is a device on Windows; rename it"),
        ("a\0b.jsonl", "it holds the character U+0000"),
    ],
)
def test_what_windows_takes_for_no_file_is_refused_everywhere(
    root: Path, name: str, words: str
) -> None:
    assert f"{name!r} is not read: {words}" in refusal(root, name)


@pytest.mark.parametrize("name", ["console.jsonl", "data/com10.jsonl", "nul-1.jsonl"])
def test_a_name_that_only_looks_like_a_device_is_none(root: Path, name: str) -> None:
    document = Document(root / "suites" / "s.yaml", {}, roots=(root,))
    assert named_file(document, name, SuiteError) == root / "suites" / name


def test_a_share_that_is_itself_a_root_may_be_named(root: Path) -> None:
    document = Document(root / "s.yaml", {}, roots=(Path(r"\\server\share"), root))
    name = r"\\server\share\a.jsonl"
    if os.name != "nt":  # elsewhere it is a name like others, of a file that is not there
        assert named_file(document, name, SuiteError) == root / name
    with pytest.raises(SuiteError, match="another machine"):
        named_file(document, r"\\other\share\a.jsonl", SuiteError)


def test_a_folder_is_no_file(root: Path) -> None:
    assert "'data' is not read: it is a folder, and no file" in refusal(root, "data")


@pytest.mark.skipif(os.name == "nt", reason="Windows has none of them in a folder")
def test_what_would_wait_for_ever_or_never_end_is_no_file(root: Path) -> None:
    os.mkfifo(root / "suites" / "pipe.jsonl")
    assert "'pipe.jsonl' is not read: it is a pipe, and no file" in refusal(root, "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as listener:
        place = root.parent / "s"
        listener.bind(str(place))
        document = Document(root.parent / "s.yaml", {}, roots=(root.parent,))
        with pytest.raises(SuiteError, match="it is a socket, and no file"):
            named_file(document, "s", SuiteError)
    document = Document(root / "s.yaml", {}, roots=(root, Path("/dev")))
    with pytest.raises(SuiteError, match="it is a device, and no file"):
        named_file(document, "/dev/zero", SuiteError)
