from __future__ import annotations

from pytest_llmeval.run.managed import loading_reporter


def told_at(seconds: int) -> list[str]:
    """What the user reads while a server that reports every second loads for so long."""
    lines: list[str] = []
    report = loading_reporter("big", lines.append)
    for second in range(seconds + 1):
        report(float(second), "loading tensors")
    return lines


def test_a_server_that_is_up_at_once_is_not_worth_a_line() -> None:
    assert told_at(1) == []


def test_a_server_that_loads_long_is_told_with_its_last_line_less_and_less_often() -> None:
    assert told_at(50) == [
        f"llmeval: big is loading, {second} s: loading tensors" for second in (2, 4, 8, 16, 31, 46)
    ]
