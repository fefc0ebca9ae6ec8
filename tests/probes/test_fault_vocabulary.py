"""Faults as they are written: what is understood, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_llmeval.errors import FaultError
from pytest_llmeval.probes.faults import KINDS, parse_fault, parse_script

#: The README of toxiproxy 2: every toxic with its attributes.
TOXIPROXY = {
    "latency": {"latency", "jitter"},
    "bandwidth": {"rate"},
    "slow_close": {"delay"},
    "timeout": {"timeout"},
    "reset_peer": {"timeout"},
    "slicer": {"average_size", "size_variation", "delay"},
    "limit_data": {"bytes"},
}


@pytest.mark.parametrize("toxic", TOXIPROXY)
def test_toxiproxys_faults_have_its_names_and_attributes(toxic: str) -> None:
    names = {attribute.name for attribute in KINDS[toxic].attributes}
    assert names == TOXIPROXY[toxic] | {"stream"}


@pytest.mark.parametrize("name", KINDS)
def test_every_fault_is_complete_by_its_name_alone(name: str) -> None:
    fault = parse_fault(name)
    assert fault.kind.about
    assert fault.text == name
    assert fault.values == {each.name: each.default for each in fault.kind.attributes}


def test_attributes_and_what_chooses_requests_stand_behind_the_name() -> None:
    fault = parse_fault("rate_limit:share=0.1, retry_after=3,form=date,times=3,after=10,only=chat")
    assert fault.values == {"retry_after": 3, "form": "date"}
    when = fault.when
    assert (when.share, when.times, when.after, when.only, when.path) == (0.1, 3, 10, "chat", None)
    assert parse_fault("latency:toxicity=.5").when.share == 0.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("latncy", "unknown fault 'latncy'; did you mean 'latency'? (allowed: latency, bandw"),
        ("", "unknown fault '' (allowed: latency,"),
        (
            "latency:latncy=1",
            "latency: unknown key 'latncy'; did you mean 'latency'? (allowed: lat",
        ),
        (
            "loading:retry_after=1",
            "loading: unknown key 'retry_after'; did you mean 'after'? (allowed: times",
        ),
        ("latency:latency", "'latency' is no key=value; write it as name:key=value,key=value"),
        (
            "latency=200",
            "a colon must follow 'latency'; write it as name:key=value,key=value, for instance",
        ),
        ("loading,times=3", "fault 'loading,times=3': a colon must follow 'loading'; write it as"),
        ("latency:", "'' is no key=value"),
        ("latency:jitter=1,jitter=2", "jitter is given twice"),
        ("latency:latency=-1", "latency must be a whole number from 0 to 86400000, not '-1'"),
        ("latency:latency=0.5", "latency must be a whole number from 0 to 86400000, not '0.5'"),
        ("bandwidth:rate=0", "rate must be a whole number from 1 to"),
        ("latency:latency=5,jitter=6", "latency: jitter must be at most latency (5), not 6"),
        (
            "slicer:average_size=8,size_variation=8",
            "slicer: size_variation must be less than average_size (8), not 8",
        ),
        ("server_error:status=404", "status must be a whole number from 500 to 599, not '404'"),
        ("rate_limit:form=dat", "unknown form 'dat'; did you mean 'date'? (allowed: seconds, date"),
        (
            "latency:stream=upsteam",
            "unknown stream 'upsteam'; did you mean 'upstream'? (allowed: downs",
        ),
        ("loading:share=1.5", "loading: share must be a number from 0 to 1, not '1.5'"),
        ("loading:toxicity=x", "loading: toxicity must be a number from 0 to 1, not 'x'"),
        ("loading:share=1,toxicity=1", "share and toxicity mean the same; give one of them"),
        ("loading:times=0", "loading: times must be a whole number from 1 to"),
        ("loading:after=x", "loading: after must be a whole number from 0 to"),
        ("loading:only=steam", "unknown only 'steam'; did you mean 'stream'? (allowed: chat, st"),
        ("loading:path=v1", "loading: path must begin with /, such as /v1/chat/completions, not"),
    ],
)
def test_what_cannot_be_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(FaultError) as refused:
        parse_fault(text)
    assert words in str(refused.value)


def test_a_script_holds_a_seed_and_faults_in_both_ways_of_writing_them() -> None:
    text = "seed: 7\nfaults:\n  - missing_done\n  - loading: {times: 3}\n  - hang:\n"
    text += "  - rate_limit:share=0.5\n"
    faults, seed = parse_script(text, Path("f.yaml"))
    assert seed == 7
    written = ["missing_done", "loading:times=3", "hang", "rate_limit:share=0.5"]
    assert [fault.text for fault in faults] == written
    assert faults[1].when == parse_fault("loading:times=3").when


def test_every_mistake_of_a_script_is_told_with_its_line() -> None:
    text = (
        "sed: 1\nseed: -1\nfaults:\n  - loading: {times: 0}\n  - [hang]\n  - hang: 3\n  - latncy\n"
    )
    with pytest.raises(FaultError) as refused:
        parse_script(text, Path("f.yaml"))
    told = str(refused.value).splitlines()
    assert [line.split(" ")[0] for line in told] == [
        *("f.yaml:1:", "f.yaml:2:", "f.yaml:4:", "f.yaml:5:", "f.yaml:6:", "f.yaml:7:"),
    ]
    assert "unknown key 'sed'; did you mean 'seed'?" in told[0]
    assert "seed must be a whole number from 0 on, not -1" in told[1]
    assert "a fault must be a name, or a name with its keys such as" in told[3]


def test_a_script_without_faults_is_refused() -> None:
    with pytest.raises(FaultError, match=r"f.yaml:1: faults must be a list of faults, not nothing"):
        parse_script("seed: 1\n", Path("f.yaml"))
