"""Keys: under which names a bundle's transforms expect and leave the image and the labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from unetr_app.bundle.config_text import Untouched
from unetr_app.bundle.steps import name_of

IMAGE, PRED = "image", "pred"  # as MONAI's evaluators call them
LABEL = "label"  # what only training and evaluation have

_ROLES = {"load": "LoadImage", "order": "EnsureChannelFirst", "save": "Save"}
_MAKE_LABELS = ("RestoreLabelsd", "AsDiscreted", "Activationsd", "Invertd")


@dataclass(frozen=True)
class Keys:
    """Names in the dictionary that goes through a bundle's transforms.

    Args:
        input_keys: Under which the preprocessing expects the image; where there are several, each
            takes one of its channels, in order.
        image_key: Under which the preprocessing leaves the image for the network.
        pred_key: Under which the postprocessing expects the logits.
        result_key: Under which it leaves the labels.
    """

    input_keys: tuple[str, ...]
    image_key: str
    pred_key: str
    result_key: str


def keys_of(before: list[Any], after: list[Any]) -> Keys:
    """The keys of a preprocessing and a postprocessing, with their readers and writers."""
    loaded = [key for step in before if _plays(step, "load") for key in _keys(step)]
    saved = [key for step in after if _plays(step, "save") for key in _keys(step)]
    inputs, pred = _input_keys(list(dict.fromkeys(loaded))), _pred_key(after)
    return Keys(inputs, _image_key(before, inputs), pred, _result_key(after, pred, saved))


def is_for_inference(step: Any) -> bool:
    """Is a transform none of those that read files, put channels first, or write files?"""
    return not any(_plays(step, role) for role in _ROLES)


def _plays(step: Any, role: str) -> bool:
    if isinstance(step, Untouched):
        return step.role == role
    return type(step).__name__.startswith(_ROLES[role]) and hasattr(step, "keys")


def _input_keys(loaded: list[str]) -> tuple[str, ...]:
    """What is loaded of a case that has no labels yet."""
    if IMAGE in loaded or not loaded:
        return (IMAGE,)
    return tuple(key for key in loaded if key != LABEL) or tuple(loaded)


def _image_key(before: Iterable[Any], inputs: tuple[str, ...]) -> str:
    """Where the image is in the end."""
    if inputs == (IMAGE,):
        return IMAGE
    made: list[str] = [str(step.name) for step in before if name_of(step) == "ConcatItemsd"]
    for step in before:
        made += map(str, [*getattr(step, "names", ()), *_keys(step)])
    return IMAGE if IMAGE in made else (made[:1] or list(inputs))[0]


def _pred_key(after: list[Any]) -> str:
    """The first key that becomes labels; where that is a copy, what it is a copy of."""
    copied = {
        str(name): str(step.keys[n % len(step.keys)])
        for step in after
        if name_of(step) == "CopyItemsd"
        for n, name in enumerate(step.names)
    }
    for step in after:
        keys = _keys(step)
        if name_of(step) in _MAKE_LABELS and keys:
            key = PRED if PRED in keys else keys[0]
            return copied.get(key, key)
    return PRED


def _result_key(after: Iterable[Any], pred: str, saved: list[str]) -> str:
    """What is saved: the logits' own key, else a copy of it."""
    if not saved or pred in saved:
        return pred
    copies = {str(n) for s in after if name_of(s) == "CopyItemsd" for n in s.names}
    return next((str(key) for key in saved if key in copies), pred)


def _keys(step: Any) -> list[str]:
    return [str(key) for key in getattr(step, "keys", ())]
