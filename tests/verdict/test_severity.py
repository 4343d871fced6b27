import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.records.finding import SEVERITIES
from tocsin.settings import VerdictSettings
from tocsin.verdict.severity import Cutoffs, at_least


@pytest.mark.parametrize(
    ("score", "severity"),
    [
        (0, "info"),
        (94.999, "info"),
        (95, "low"),
        (99, "medium"),
        (99.9, "high"),
        (99.99, "critical"),
        (100, "critical"),
    ],
)
def test_default_cutoffs(score, severity):
    assert Cutoffs().severity(score) == severity


@given(st.lists(st.floats(0, 100), max_size=30), st.lists(st.floats(0, 100), min_size=4, max_size=4).map(sorted))
def test_many_agree_with_one(scores, edges):
    cutoffs = Cutoffs.of(VerdictSettings(low=edges[0], medium=edges[1], high=edges[2], critical=edges[3]))
    codes = cutoffs.codes(np.array(scores))
    assert codes.dtype == np.uint8
    assert [SEVERITIES[code] for code in codes] == [cutoffs.severity(score) for score in scores]


def test_not_a_number_is_info():
    assert Cutoffs().codes(np.array([np.nan])).tolist() == [0]


def test_order_of_severities():
    assert at_least("high", "high")
    assert at_least("critical", "low")
    assert not at_least("info", "low")
