"""How long operations in progress have been waiting."""

import pytest

from shared.waiting import Waiting


def test_the_oldest_operation_counts_unless_another_one_is_done() -> None:
    now = [0.0]
    waiting = Waiting(lambda: now[0])
    assert waiting.stuck_s == 0
    with waiting.one():
        now[0] = 2.0
        with pytest.raises(TimeoutError), waiting.one():
            raise TimeoutError
        assert waiting.stuck_s == 2
        with waiting.one():
            now[0] = 5.0
            assert waiting.stuck_s == 5
        assert waiting.stuck_s == 0
        now[0] = 6.0
        assert waiting.stuck_s == 1
    assert waiting.stuck_s == 0
