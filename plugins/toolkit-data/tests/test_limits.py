"""The operator's settings."""

import pytest

from toolkit_data.limits import Limits


def test_absent_settings_keep_their_defaults() -> None:
    """An empty environment gives the documented defaults."""
    assert Limits.from_environment({"TOOLKIT_DATA_ROOT": "elsewhere"}) == Limits()


def test_a_setting_is_the_field_in_upper_case() -> None:
    """Each field is read from its own variable, with its own type."""
    limits = Limits.from_environment(
        {"TOOLKIT_DATA_TIMEOUT": "2.5", "TOOLKIT_DATA_MAX_ROWS": "7"}
    )
    assert (limits.timeout, limits.max_rows) == (2.5, 7)
    assert isinstance(limits.max_rows, int)


@pytest.mark.parametrize("text", ["", "many", "0", "-1", "inf", "nan", "1.5"])
def test_a_setting_that_is_no_positive_number_is_refused_by_name(text: str) -> None:
    """The operator learns which setting to correct."""
    with pytest.raises(ValueError, match="TOOLKIT_DATA_THREADS is no positive number"):
        Limits.from_environment({"TOOLKIT_DATA_THREADS": text})
