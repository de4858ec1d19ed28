"""Config text: a config as it is written, made ready before anything of it is built."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from unetr_app.errors import UnusableBundle

_ENDINGS = (".yaml", ".yml", ".json")
_LOAD_PATH = re.compile(r"""["']?load_path["']?\s*:(.*)""")
_WEIGHTS = re.compile(r"[\w.-]+\.(?:pth?|ts|safetensors)\b")
_OURS_TO_DO = {
    "load": ("LoadImage",),
    "order": ("AddChannel", "AsChannelFirst", "EnsureChannelFirst"),
    "save": ("SaveImage",),
}
_OF_DICTIONARIES = ("d", "D", "Dict")  # endings of MONAI's dictionary transforms

# Arguments that MONAI has taken away, and that change nothing where they are absent.
_BYGONE = {"SwinUNETR": ("img_size",)}


class Untouched:
    """Stands in a config for a transform whose work we do ourselves.

    Args:
        keys: As the transform has them.
        role: What it would do: ``load`` files, ``order`` axes so that channels come first, ``save``
            files.
    """

    def __init__(self, keys: Any = (), *, role: str):
        self.keys: tuple[str, ...] = (keys,) if isinstance(keys, str) else tuple(keys)
        self.role = role

    def __call__(self, data: Any) -> Any:
        """The same."""
        return data


def find_config(root: Path) -> Path:
    """The inference config of a bundle.

    Raises:
        UnusableBundle: If there is none.
    """
    for ending in _ENDINGS:
        if (path := root / "configs" / f"inference{ending}").is_file():
            return path
    raise UnusableBundle(
        f"{root.name} has no configs/inference.yaml or .json",
        cure="Add one with network_def, preprocessing, inferer and postprocessing.",
    )


def loaded_files(root: Path) -> list[str]:
    """Names of the files that a config's checkpoint loaders name, as far as its text says it.

    Args:
        root: Of the bundle; there are none where it has no config.
    """
    try:
        text = find_config(root).read_text(encoding="utf-8", errors="replace")
    except (UnusableBundle, OSError):
        return []
    files = (_WEIGHTS.search(line) for line in _LOAD_PATH.findall(text))
    return [found[0] for found in files if found]


def copies_one_image(root: Path) -> bool:
    """Does a bundle's preprocessing put copies of one image side by side, as channels?

    Such as several intensity windows of one CT, by ``CopyItemsd`` and ``ConcatItemsd``.

    Args:
        root: Of the bundle; no where it has no config, or one that cannot be read.
    """
    try:
        path = find_config(root)
        config = _parsed(path.read_text(encoding="utf-8", errors="replace"), path.suffix)
    except (UnusableBundle, OSError, RecursionError, ValueError):
        return False
    steps = config.get("preprocessing") if is_mapping(config) else None
    loaded: set[str] = set()
    copied: set[str] = set()
    for _, step in walk(steps):
        if not is_mapping(step):
            continue
        match target_of(step):
            case "LoadImaged":
                loaded |= _texts(step.get("keys"))
            case "CopyItemsd":
                copied |= _texts(step.get("names"))
            case "ConcatItemsd" if len(loaded - {"label"}) == 1:
                if _texts(step.get("keys")) & copied:
                    return True
            case _:
                pass
    return False


def _parsed(text: str, ending: str) -> Any:
    """What JSON or YAML says.

    Raises:
        ValueError: If it is damaged.
    """
    if ending == ".json" or "CopyItems" not in text:
        return json.loads(text) if ending == ".json" else None
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error


def _texts(value: Any) -> set[str]:
    return set(map(str, value)) if _is_list(value) else {str(value)}


def anchored(value: Any, root: Path) -> Any:
    """A config whose paths lead to the bundle's files, wherever the bundle lies now.

    Raises:
        UnusableBundle: If it takes a part of a file that is none of the bundle's configs.
    """
    if is_mapping(value):
        return {key: anchored(item, root) for key, item in value.items()}
    if _is_list(value):
        return [anchored(item, root) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("%"):
        return _anchored_macro(value, root)
    parts = Path(value).parts if value.startswith("/") and not Path(value).exists() else ()
    if root.name in parts:  # an absolute path of another machine
        moved = root.joinpath(*parts[parts.index(root.name) + 1 :])
        return str(moved) if moved.is_file() else value
    return value


def prepared(value: Any, missing: list[str]) -> Any:
    """A config without what we do ourselves, and without imports that would fail.

    Args:
        value: The config, or a part of it.
        missing: Modules that are imported but not installed are added to it. Most are for parts
            that are not built.
    """
    if _is_list(value):
        return [prepared(item, missing) for item in value]
    if isinstance(value, str):
        lost = _lost_module(value)
        missing += [lost] if lost else []
        return None if lost else value
    if not is_mapping(value):
        return value
    target = target_of(value)
    if role := _role(target):
        kept = {key: value[key] for key in ("keys", "_disabled_", "_requires_") if key in value}
        return kept | {"_target_": f"{__name__}.{Untouched.__name__}", "role": role}
    gone = _BYGONE.get(target, ())
    return {key: prepared(item, missing) for key, item in value.items() if key not in gone}


def walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a config with its path, outer ones first."""
    yield path, value
    if is_mapping(value):
        for key, item in value.items():
            yield from walk(item, (*path, key))
    elif _is_list(value):
        for n, item in enumerate(value):
            yield from walk(item, (*path, str(n)))


def target_of(value: Mapping[str, Any]) -> str:
    """Name of a component's class, without its module."""
    return str(value.get("_target_", "")).rsplit(".", 1)[-1]


def is_mapping(value: Any) -> TypeGuard[dict[str, Any]]:
    """Is it a part of a config with names in it?"""
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _anchored_macro(value: str, root: Path) -> str:
    """``%train.json#key`` takes a part of another config."""
    for sign in ("::", "#"):
        name, found, rest = value[1:].partition(sign)
        if found and name.endswith(_ENDINGS):
            break
    else:
        return value
    configs = (root / "configs").resolve()
    for path in (root / name, configs / name):
        if path.is_file() and path.resolve().is_relative_to(configs):
            return f"%{path.resolve()}{sign}{rest}"
    raise UnusableBundle(
        f"the config takes a part of {Path(name).name}, which does not lie in the bundle's configs",
        cure="Put that file into configs/, and name it by its path in the bundle.",
    )


def _role(target: str) -> str:
    for role, names in _OURS_TO_DO.items():
        if any(target == name + ending for name in names for ending in _OF_DICTIONARIES):
            return role
    return ""


def _lost_module(text: str) -> str:
    """The module that an import statement wants and that is not there; empty where all is well."""
    if not text.startswith(("$import ", "$from ")):
        return ""
    try:
        for statement in ast.parse(text[1:].strip()).body:
            for module in _modules(statement):
                importlib.import_module(module)
    except ModuleNotFoundError as error:
        return error.name or text[1:]
    except Exception:  # what is imported may raise anything; its own evaluation tells of it
        return ""
    return ""


def _modules(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        return [statement.module]
    return []
