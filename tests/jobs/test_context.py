"""One context as it is held: its rate, and that a change which was broken off is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.errors import InputError, StoreError
from tocsin.jobs.context import Context, Rate


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 9)), max_size=30), st.floats(0, 90))
def test_a_rate_is_of_the_last_minute(steps, pause):
    now, events, rate = 1000.0, [], Rate(1000.0)
    for wait, count in steps:
        now += wait
        rate.add(count, now)
        events.append((int(now), count))
    now += pause
    expected = sum(count for second, count in events if second > int(now) - 60)
    assert rate.per_s(now) == pytest.approx(expected / min(max(now - 1000.0, 1), 60))


def test_what_was_broken_off_while_learning_is_not_trusted():
    context = Context(1, "a", NoveltyModel(), Rate(0), 0)
    with pytest.raises(InputError), context.learning():
        raise InputError("refused: nothing was learned")
    context.check()
    with pytest.raises(KeyboardInterrupt), context.learning():
        raise KeyboardInterrupt
    with pytest.raises(StoreError, match=r"'a' was interrupted .* restart"):
        context.check()
