"""The pins fit the floors that pyproject.toml states, and name no place to install from."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version


@pytest.fixture(scope="module")
def pins(repository):
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_pin_is_a_name_and_a_public_version(pins):
    for name, version in pins.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name), name
        assert re.fullmatch(r"[0-9a-z.]+", version), (name, version)
        assert str(Version(version).public) == str(Version(version)), (name, version)


def test_every_requirement_is_pinned_within_its_floor(pins, project):
    wanted = [*project["dependencies"]]
    wanted += [r for rows in project["optional-dependencies"].values() for r in rows]
    for requirement in map(Requirement, wanted):
        if requirement.name == project["name"]:
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pins, f"{name}: run `make constraints`"
        assert requirement.specifier.contains(pins[name]), requirement


def test_torch_is_pinned_for_every_build_of_a_release(pins):
    assert pins["torch"] == "2.13.0"
