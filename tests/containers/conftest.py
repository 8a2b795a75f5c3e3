"""Fixtures: the images, and deployments that are removed after each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.containers.site import Site, build_images


@pytest.fixture(scope="session", autouse=True)
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    build_images(tmp_path_factory.mktemp("fakes"))


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes a deployment with these profiles; it does not run yet."""
    made: list[Site] = []

    def make(*profiles: str, settings: str = "", image: str = "") -> Site:
        folder = tmp_path / f"site{len(made)}"
        folder.mkdir()
        made.append(
            Site(folder, *profiles, settings=settings, **({"image": image} if image else {}))
        )
        return made[-1]

    yield make
    for site in made:
        site.down()
