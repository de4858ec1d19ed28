"""Fixtures shared by all tests: where the shared data lie, and small phantoms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("unetr", deadline=None, print_blob=True)  # busy machines are slow
settings.load_profile("unetr")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _settings_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests trust and convert is not kept among the user's settings and caches."""
    os.environ["UNETR_CONFIG"] = str(tmp_path_factory.mktemp("settings"))
    os.environ["UNETR_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data and weights, named by UNETR_SHARED; skips where absent."""
    folder = Path(os.environ.get("UNETR_SHARED", REPOSITORY.parent / "shared")).resolve()
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder.name}: set UNETR_SHARED to their folder")
    return folder
