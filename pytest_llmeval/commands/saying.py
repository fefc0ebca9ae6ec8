"""How the commands say something to people: with whatever would act on their terminal spelt out."""

from __future__ import annotations

import os

import typer

from pytest_llmeval.redaction import cleaned
from pytest_llmeval.visible import visible


def say(text: str, *, err: bool = False) -> None:
    """Print a line, or several; `err` is stderr. Not for text with colours of our own."""
    typer.echo(visible(text), err=err)


def say_error(text: str) -> None:
    """Print to stderr what went wrong, without secrets: what a shell has put into an argument may
    be a variable's secret value.
    """
    say(cleaned(text, os.environ), err=True)
