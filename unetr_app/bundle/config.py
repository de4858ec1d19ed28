"""BundleConfig: the parts of a bundle's inference config, built one by one.

Only what is asked for is built, so data folders and evaluators need not be there.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from unetr_app.bundle.card import BundleCard
from unetr_app.bundle.causes import first_cause, root_cause
from unetr_app.bundle.config_text import (
    anchored,
    find_config,
    is_mapping,
    prepared,
    target_of,
    walk,
)
from unetr_app.bundle.folders import METADATA
from unetr_app.errors import UnetrError, UnusableBundle

if TYPE_CHECKING:
    import torch


class BundleConfig:
    """The ``configs/inference`` of a bundle.

    Args:
        card: Of the bundle.
        device: Takes the place of the config's own.

    Raises:
        UnusableBundle: If there is none, or it cannot be read.
    """

    def __init__(self, card: BundleCard, device: torch.device):
        from monai.bundle.config_parser import ConfigParser

        logging.getLogger("monai").setLevel(logging.ERROR)  # it warns of optional decoders
        path = find_config(card.path)
        self.name = card.name
        self.missing: list[str] = []
        self._parser: Any = ConfigParser()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of names that MONAI has changed
                self._parser.read_config(str(path))
                self._parser.read_meta(str(card.path / METADATA))
                raw: dict[str, Any] = anchored(self._parser.get(), card.path)
                for folder in ("dataset_dir", "output_dir"):
                    raw.setdefault(folder, str(card.path / folder))
                self._parser.set(raw | {"bundle_root": str(card.path), "device": device})
                self._parser.resolve_macro_and_relative_ids()
                self._parser.set(prepared(self._parser.get(), self.missing))
        except UnetrError:
            raise
        except Exception as error:  # YAML and JSON readers raise their own
            raise UnusableBundle(
                f"{path.name} cannot be read: {root_cause(error)}",
                cure="Open it in an editor and mend it, or get the bundle again.",
            ) from error

    def first(self, *ids: str) -> str:
        """The first of some ids that is there; empty where none is."""
        return next((one for one in ids if self._has(one)), "")

    def ids_of(self, key: str) -> Iterator[str]:
        """All ids that end in a key, such as ``net#network_def``, in the order of the config."""
        for path, _ in walk(self._parser.get()):
            if path and path[-1] == key:
                yield "#".join(path)

    def ids_of_target(self, name: str) -> Iterator[str]:
        """The ids of components of a class."""
        for path, value in walk(self._parser.get()):
            if is_mapping(value) and target_of(value) == name:
                yield "#".join(path)

    def build(self, part: str) -> Any:
        """What an id stands for.

        Raises:
            UnusableBundle: If it does not build.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of names that MONAI will change
                return self._parser.get_parsed_content(part)
        except Exception as error:  # a config may raise anything
            raise UnusableBundle(
                f"{part!r} of {self.name} does not build: {root_cause(error)}",
                cure=self._cure(part, first_cause(error)),
            ) from error

    def _has(self, one: str) -> bool:
        value: Any = self._parser.get()
        for key in one.split("#"):
            value = value.get(key) if is_mapping(value) else None
        if isinstance(value, str) and value.startswith("@"):
            return self._has(value[1:].replace("::", "#"))
        return value is not None

    def _cure(self, part: str, cause: BaseException) -> str:
        absent = list(self.missing) if isinstance(cause, NameError) else []
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            absent.append(cause.name)
        if absent:
            return f"Install what it imports: {', '.join(dict.fromkeys(absent))}."
        return f"See configs/inference of the bundle: the id {part!r} is needed."
