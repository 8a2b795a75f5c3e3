"""The first lines of a start."""

from pathlib import Path

from ops.startup_summary import NOTE, overview
from shared.settings import Settings


def test_each_line_has_a_name_of_its_own_since_a_log_line_has_them_as_keys(tmp_path: Path) -> None:
    settings = Settings(THREADWAX_HOME=str(tmp_path))  # type: ignore[arg-type]
    assert settings.demo_model
    names = [name for name, _ in overview(settings, "dataflow") if name != NOTE]
    assert all(names)
    assert len(names) == len(set(names))
