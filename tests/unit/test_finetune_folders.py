"""What a training leaves on the disk, when it is interrupted and when it is finished."""

from pathlib import Path

import pytest

from ops.finetune import adapters, checkpoints
from ops.finetune.adapters import Hyperparameters
from ops.finetune.errors import BadInput, UnknownAdapter
from ops.finetune.run_folder import Run, RunFolder

RUN = Run(
    base_sha256="b",
    data_sha256="d",
    held_out_sha256=None,
    held_out_share=0.1,
    hyperparameters=Hyperparameters(
        epochs=1, batch_size=1, learning_rate=0.1, rank=1, alpha=2, max_tokens=9, seed=0, system="s"
    ),
)


def checkpoint(folder: Path, steps: int, *, complete: bool = True) -> Path:
    made = folder / f"checkpoint-{steps}"
    made.mkdir(parents=True)
    (made / "weights").write_text("1")
    if complete:
        checkpoints.mark_complete(made)
    return made


def test_the_newest_complete_checkpoint_is_used(tmp_path: Path) -> None:
    """By its number of steps, not by its name: 10 comes after 9."""
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 10)
    unfinished = checkpoint(tmp_path, 11, complete=False)
    assert checkpoints.newest(tmp_path) == newest
    assert not unfinished.exists()


def test_a_new_training_has_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None


def test_the_same_training_is_continued(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "mine")
    assert not folder.open(RUN, restart=False)
    kept = checkpoint(folder.path, 1)
    assert folder.open(RUN, restart=False)
    assert kept.exists()


def test_another_training_is_refused_and_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "mine")
    folder.open(RUN, restart=False)
    kept = checkpoint(folder.path, 1)
    longer = RUN.hyperparameters.model_copy(update={"epochs": 2, "learning_rate": 0.2})
    other = RUN.model_copy(update={"data_sha256": "e", "hyperparameters": longer})
    with pytest.raises(BadInput, match="different data file, epochs, learning rate"):
        folder.open(other, restart=False)
    assert kept.exists()
    assert not folder.open(other, restart=True)
    assert not kept.exists()


def test_a_folder_that_says_nothing_is_begun_anew(tmp_path: Path) -> None:
    """As a power cut leaves it before the description is written."""
    folder = RunFolder(tmp_path, "mine")
    kept = checkpoint(folder.path, 1)
    assert not folder.open(RUN, restart=False)
    assert not kept.exists()


def test_a_finished_adapter_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    target = adapters.adapter_folder(tmp_path, "mine")
    for contents in ("one", "two"):
        folder = RunFolder(tmp_path, "mine")
        folder.open(RUN, restart=False)
        (folder.new_result() / adapters.ADAPTER_FILE).write_text(contents)
        folder.publish(target)
        assert (target / adapters.ADAPTER_FILE).read_text() == contents
        assert [file.name for file in target.iterdir()] == [adapters.ADAPTER_FILE]
        assert not folder.path.exists()


def test_half_an_adapter_is_not_listed(tmp_path: Path) -> None:
    folder = adapters.adapter_folder(tmp_path, "mine")
    folder.mkdir(parents=True)
    (folder / adapters.ADAPTER_FILE).write_text("1")
    (folder / adapters.MANIFEST_FILE).write_text('{"name": "mine"')
    assert adapters.manifests(tmp_path) == []
    with pytest.raises(UnknownAdapter, match="finetune local"):
        adapters.remove(tmp_path, "mine")
