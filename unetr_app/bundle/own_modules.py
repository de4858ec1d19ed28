"""Own modules: a bundle's programs can be imported while it is built, and trouble no one else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from threading import RLock
from types import ModuleType

_LOCK = RLock()  # the path and the table of modules belong to the whole process
_NEVER_HIDDEN = sys.stdlib_module_names | {"monai", "numpy", "torch", "unetr_app"}


class _SourceOnly(SourceFileLoader):
    """Neither reads nor writes compiled copies: what runs is what `trust` has looked at."""

    def path_stats(self, path: str) -> Mapping[str, float]:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise OSError("compiled copies are not used")


@contextmanager
def own_modules(root: Path) -> Generator[None]:
    """Put a bundle's root first on the path.

    Bundles often have a package of the same name, ``scripts``: modules of that name that are there
    already are set aside, and put back in the end.

    Args:
        root: The bundle's folder.
    """
    hook = _finder_below(root)
    with _LOCK:
        path = list(sys.path)
        aside = _take(_importable(root))
        _forget_finders(root)
        sys.path_hooks.insert(0, hook)
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path[:] = path
            sys.path_hooks.remove(hook)
            _put_back(aside)


def _finder_below(root: Path) -> Callable[[str], FileFinder]:
    def hook(path: str) -> FileFinder:
        if not Path(path).is_relative_to(root):
            raise ImportError("not in the bundle", path=path)
        return FileFinder(
            path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_SourceOnly, SOURCE_SUFFIXES)
        )

    return hook


def _importable(root: Path) -> set[str]:
    """Names that an import could find in a folder."""
    packages = {p.name for p in root.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    return (packages | {p.stem for p in root.glob("*.py")}) - _NEVER_HIDDEN


def _forget_finders(root: Path) -> None:
    for path in [p for p in sys.path_importer_cache if Path(p).is_relative_to(root)]:
        del sys.path_importer_cache[path]


def _take(names: set[str]) -> dict[str, ModuleType]:
    """Remove modules of these names, and what lies in them, from the table."""
    found = [name for name in sys.modules if name.split(".", 1)[0] in names]
    return {name: sys.modules.pop(name) for name in found}


def _put_back(aside: dict[str, ModuleType]) -> None:
    """Modules that were there before come back; others stay, for imports yet to come."""
    _take({name.split(".", 1)[0] for name in aside})
    sys.modules.update(aside)
