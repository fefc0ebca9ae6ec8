"""Perplexity and bits per byte of all texts of a suite."""

from __future__ import annotations

import math
import random

import pytest

from pytest_llmeval.statistics import measure_corpus
from pytest_llmeval.statistics.corpus import TextMeasure

LN2 = math.log(2)


def drawn(items: int, seed: int = 1) -> list[TextMeasure]:
    rng = random.Random(seed)
    texts = []
    for n in range(items):
        tokens = rng.randint(1, 40)
        nats = -sum(rng.expovariate(0.5) for _ in range(tokens))
        texts.append(TextMeasure(f"i{n:03}", nats, tokens, 4 * tokens + rng.randint(0, 9)))
    return texts


def test_they_are_ratios_of_sums_and_not_means_of_ratios() -> None:
    """8 bits in 2 tokens of 4 bytes, and 2 bits in 8 tokens of 16 bytes."""
    texts = [TextMeasure("a", -8 * LN2, 2, 4), TextMeasure("b", -2 * LN2, 8, 16)]
    found = measure_corpus("s", "m", texts)
    assert found.perplexity == pytest.approx(2.0)
    assert found.bits_per_byte == pytest.approx(0.5)
    assert (found.items, found.tokens, found.bytes) == (2, 10, 20)
    assert found.nats == pytest.approx(-10 * LN2)
    assert (found.suite, found.condition) == ("s", "m")


def test_the_intervals_are_percentiles_over_resampled_items() -> None:
    """Against the loop that everybody would write, with draws of its own."""
    texts = drawn(60)
    found = measure_corpus("s", "m", texts, resamples=20_000)
    rng, ratios = random.Random(5), []
    for _ in range(4000):
        again = rng.choices(texts, k=len(texts))
        ratios.append(-sum(t.nats for t in again) / sum(t.tokens for t in again))
    ratios.sort()
    low, high = math.exp(ratios[100]), math.exp(ratios[3899])
    interval = found.perplexity_interval
    assert (interval.method, interval.level) == ("bootstrap", 0.95)
    assert interval.low == pytest.approx(low, rel=0.02)
    assert interval.high == pytest.approx(high, rel=0.02)
    assert found.perplexity is not None
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < found.perplexity < interval.high


def test_items_are_drawn_whole_so_that_repeats_narrow_nothing() -> None:
    texts = drawn(30)
    once, thrice = (measure_corpus("s", "m", texts * times) for times in (1, 3))
    assert thrice.items == once.items == 30
    assert thrice.tokens == 3 * once.tokens
    assert thrice.bits_per_byte_interval.low == pytest.approx(once.bits_per_byte_interval.low)
    assert thrice.bits_per_byte_interval.high == pytest.approx(once.bits_per_byte_interval.high)


def test_the_order_of_the_texts_does_not_matter() -> None:
    texts = drawn(20)
    assert measure_corpus("s", "m", texts[::-1]) == measure_corpus("s", "m", texts)


def test_nothing_has_no_figures_and_one_item_no_bounds() -> None:
    nothing = measure_corpus("s", "m", [])
    assert (nothing.perplexity, nothing.bits_per_byte, nothing.tokens) == (None, None, 0)
    one = measure_corpus("s", "m", drawn(1))
    assert one.perplexity is not None
    for found in (nothing, one):
        assert found.perplexity_interval.low is found.perplexity_interval.high is None
        assert found.bits_per_byte_interval.low is None


def test_texts_that_are_all_alike_show_nothing_about_others() -> None:
    texts = [TextMeasure(f"i{n}", -3 * LN2, 3, 6) for n in range(5)]
    found = measure_corpus("s", "m", texts)
    assert found.perplexity == pytest.approx(2)
    assert found.perplexity_interval.low is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TextMeasure("x", math.nan, 3, 3), "finite numbers"),
        (TextMeasure("x", -math.inf, 3, 3), "finite numbers"),
        (TextMeasure("x", -1.0, 0, 3), "the text of item x has no token or no byte"),
        (TextMeasure("x", -1.0, 1, 0), "the text of item x has no token or no byte"),
    ],
)
def test_what_is_no_text_is_refused(text: TextMeasure, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        measure_corpus("s", "m", [text])
