"""What waits comes back as it was, from memory or from disk."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from unetr_app.batch.trouble import disk_trouble
from unetr_app.errors import UnwritableOutput
from unetr_app.inference.carries import Carries


@pytest.mark.parametrize("limit", [None, 0, 100])
def test_what_is_put_is_popped_once(
    limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    whole = torch.arange(24.0).reshape(2, 3, 4)
    with Carries(limit) as carries:
        for n in range(4):
            carries.put(n, whole[:, :, n])
        whole.zero_()  # it was copied
        assert carries.bytes == {None: 96, 0: 0, 100: 96}[limit]
        files = list(tmp_path.rglob("*.npy"))
        assert len(files) == {None: 0, 0: 4, 100: 0}[limit]
        for n in range(4):
            found = carries.pop(n)
            assert found is not None
            assert found.tolist() == [[n, 4 + n, 8 + n], [12 + n, 16 + n, 20 + n]]
            assert carries.pop(n) is None
        assert carries.bytes == 0
        assert not list(tmp_path.rglob("*.npy"))
        carries.put("left", whole)
    assert not list(tmp_path.iterdir())


def test_a_limit_keeps_what_fits() -> None:
    with Carries(100) as carries:
        for n in range(3):
            carries.put(n, torch.full((10,), float(n)))  # 40 bytes
        assert carries.bytes == 80
        assert [carries.pop(n).tolist()[0] for n in range(3)] == [0, 1, 2]  # pyright: ignore


def test_a_disk_that_is_full_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with Carries(0) as carries, pytest.raises(UnwritableOutput, match="no room there") as error:
        carries.put("a", torch.zeros(4))
    assert "TMPDIR" in error.value.cure
    assert disk_trouble(error.value, Path("results")) is None  # the results have room
