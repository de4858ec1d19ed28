"""Steps: what the transforms of a bundle's postprocessing say of how logits become labels.

Transforms are recognised by their classes' names, so that this needs neither torch nor MONAI.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from unetr_app.bundle.restoration import Activation, Grid, Kind, LabelStep, Restoration

Merges = Callable[[Any], bool]

_OURS = "RestoreLabelsd"
_SAME_VALUES = (
    "DataStatsd", "DeleteItemsd", "EnsureChannelFirstd", "FromMetaTensord", "Identityd",
    "SelectItemsd", "ToDeviced", "ToMetaTensord", "ToNumpyd", "ToTensord", "Untouched",
)  # fmt: skip
_SAME_BUT_FOR_TYPE = ("CastToTyped", "EnsureTyped")
_ON_LABELS = (
    "FillHolesd", "KeepLargestConnectedComponentd", "LabelFilterd", "MapLabelValued",
    "RemoveSmallObjectsd",
)  # fmt: skip
_LINEAR = ("bilinear", "trilinear", "linear", "1")
_NEAREST = ("nearest", "nearest-exact", "0")


class _NotUnderstoodError(Exception):
    """Says in one sentence why."""


def read_restoration(
    postprocessing: Any, preprocessing: Any, *, pred_key: str = "pred", result_key: str = "pred",
    merges: Merges = lambda _: False,
) -> Restoration:  # fmt: skip
    """How a bundle's postprocessing turns logits into labels.

    Args:
        postprocessing: A `Compose`.
        preprocessing: A `Compose`; what inverts it goes home.
        pred_key: Where the logits are.
        result_key: Where the labels are in the end.
        merges: Does a transform make one label map of all masks?
    """
    reading = _Reading(flattened(preprocessing), pred_key, result_key, merges)
    try:
        for step in flattened(postprocessing):
            reading.take(step)
        return reading.end()
    except _NotUnderstoodError as error:
        return Restoration("other", reason=str(error))


def flattened(transforms: Any) -> list[Any]:
    """Transforms in order, without `Compose`s in between."""
    is_compose = type(transforms).__name__ == "Compose"
    found: Any = transforms.transforms if is_compose else transforms
    if not is_compose and not isinstance(transforms, (list, tuple)):
        return [transforms]
    return [inner for step in found for inner in flattened(step)]


def interpolation_of(transforms: Iterable[Any]) -> str:
    """How a preprocessing interpolates images: ``linear``, ``nearest``, or the way's own name."""
    modes: set[str] = set()
    for step in transforms:
        if name_of(step) in ("Affined", "Resized", "Rotated", "Spacingd", "Zoomd"):
            found = getattr(step, "mode", "bilinear")
            for mode in [found] if isinstance(found, (str, int)) else found:
                modes.add(str(getattr(mode, "value", mode)))
    if modes <= set(_LINEAR):
        return "linear"
    return "nearest" if modes <= set(_NEAREST) else ", ".join(sorted(modes))


def name_of(step: Any) -> str:
    """Name of a transform's class where it is MONAI's or ours; empty where it is another's."""
    home = type(step).__module__.split(".", 1)[0]
    return type(step).__name__ if home in ("monai", "unetr_app") else ""


class _Reading:
    """What is known after the steps taken so far."""

    def __init__(self, preprocessing: list[Any], pred_key: str, result_key: str, merges: Merges):
        self.preprocessing = preprocessing
        self.key, self.result_key = pred_key, result_key
        self.does_merge = merges
        self.kind: Kind | None = None
        self.threshold = 0.0
        self.activation: Activation = "none"
        self.early: Activation = "none"  # before going home
        self.is_home = self.is_nearest = self.discrete_first = False
        self.is_one_hot = self.merged = False
        self.steps: list[LabelStep] = []

    def take(self, step: Any) -> None:
        name = name_of(step)
        keys: tuple[Any, ...] | None = getattr(step, "keys", None)
        if keys is not None and self.key not in keys:
            return
        if name in _SAME_VALUES:
            return
        acts: dict[str, Callable[[Any, int], None]] = {
            _OURS: self._restore, "Activationsd": self._activate, "AsDiscreted": self._discretise,
            "CopyItemsd": self._copy, "Invertd": self._go_home, "Lambdad": self._merge,
            **dict.fromkeys(_ON_LABELS, self._on_labels),
            **dict.fromkeys(_SAME_BUT_FOR_TYPE, self._cast),
        }  # fmt: skip
        if name not in acts or keys is None:
            raise _NotUnderstoodError(
                f"its postprocessing has {type(step).__name__}, which is not understood"
            )
        if self.merged:
            raise _not(step, "comes after masks became one label map")
        acts[name](step, keys.index(self.key))

    def end(self) -> Restoration:
        if self.kind is None:
            raise _NotUnderstoodError(
                "its postprocessing makes no labels of the network's output: it has no AsDiscreted"
            )
        first = self.discrete_first or not self.is_home
        return Restoration(
            self.kind,
            threshold=self.threshold,
            discrete_first=first,
            restores=self.is_home,
            activation="none" if first else self.early,
            steps=tuple(self.steps),
            merges=self.merged,
        )

    def _restore(self, step: Any, _: int) -> None:
        if self.kind or self.is_home or self.activation != "none":
            raise _not(step, "comes after other steps")
        self.kind, self.is_home = "exclusive", True

    def _activate(self, step: Any, n: int) -> None:
        sigmoid, softmax = bool(step.sigmoid[n]), bool(step.softmax[n])
        if step.other[n] is not None:
            raise _not(step, "applies a function of its own")
        if not sigmoid and not softmax:
            return
        if self.kind or self.activation != "none":
            raise _not(step, "comes after another activation or after AsDiscreted")
        if (sigmoid and softmax) or (softmax and _dim(step) != 0):
            raise _not(step, "is no plain softmax or sigmoid over channels")
        self.activation = "sigmoid" if sigmoid else "softmax"
        if not self.is_home:
            self.early = self.activation

    def _discretise(self, step: Any, n: int) -> None:
        argmax, threshold = bool(step.argmax[n]), step.threshold[n]
        one_hot, rounds = step.to_onehot[n] is not None, step.rounding[n] is not None
        if self.kind:
            if argmax or one_hot or not (threshold is None or self._is_mask_level(threshold)):
                raise _not(step, "comes after labels were made")
            return
        if not argmax and threshold is None and not rounds:
            if one_hot:
                raise _not(step, "makes channels of values that are no labels")
            return
        if (argmax and (threshold is not None or _dim(step) != 0)) or (one_hot and not argmax):
            raise _not(step, "is neither an argmax over channels nor a threshold")
        self.kind = "exclusive" if argmax else "overlapping"
        self.is_one_hot = one_hot
        self.discrete_first = not self.is_home or self.is_nearest
        if not argmax:
            self.threshold = self._logit(step, 0.5 if threshold is None else float(threshold))

    def _is_mask_level(self, threshold: float) -> bool:
        return self.kind == "overlapping" and 0 < threshold <= 1

    def _logit(self, step: Any, level: float) -> float:
        """A threshold on the scale of logits."""
        if self.activation == "none":
            return level
        if self.activation == "softmax":
            raise _not(step, "sets a threshold on a softmax")
        if not 0 < level < 1:
            return -math.inf if level <= 0 else math.inf
        return math.log(level / (1 - level))

    def _go_home(self, step: Any, n: int) -> None:
        if self.is_home:
            raise _not(step, "is there twice")
        if callable(step.post_func[n]):
            raise _not(step, "applies a function of its own")
        undone = {id(one) for one in flattened(step.transform)}
        if any(hasattr(one, "inverse") and id(one) not in undone for one in self.preprocessing):
            raise _not(step, "undoes other steps than those of the preprocessing")
        way = interpolation_of(self.preprocessing)
        self.is_home, self.is_nearest = True, bool(step.nearest_interp[n]) or way == "nearest"
        if self.kind is None and not self.is_nearest and way != "linear":
            raise _not(step, f"interpolates by {way}")

    def _copy(self, step: Any, n: int) -> None:
        names = list(step.names)
        copies = names[n :: len(step.keys)]
        if self.key != self.result_key and self.result_key in copies:
            self.key = self.result_key

    def _cast(self, step: Any, n: int) -> None:
        kind = step.dtype[n]
        if not self.kind and kind is not None and "float" not in str(kind):
            raise _not(step, "makes integers of what is not yet a label")

    def _on_labels(self, step: Any, _: int) -> None:
        if not self.kind:
            raise _not(step, "comes before labels are made")
        if self.is_one_hot:
            raise _not(step, "works on a channel for each label")
        self._add(step)

    def _merge(self, step: Any, _: int) -> None:
        if self.kind != "overlapping" or not self.does_merge(step):
            raise _not(step, "applies a function of its own")
        self._add(step)
        self.merged = True

    def _add(self, step: Any) -> None:
        grid: Grid = "native" if self.is_home else "model"
        self.steps.append(LabelStep(step, grid))


def _dim(step: Any) -> int:
    return int(step.converter.kwargs.get("dim", 0))


def _not(step: Any, why: str) -> _NotUnderstoodError:
    return _NotUnderstoodError(
        f"its postprocessing cannot be followed: {type(step).__name__} {why}"
    )
