"""Layers: the one place where napari layers are made of volumes and segmentations, and turned back.

Each layer keeps what it was made of in ``layer.metadata["unetr_app"]`` (a `Source`), so that it
comes back on exactly its own grid. See `unetr_app.review.display` for where layers lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.planes import intensity_window
from unetr_app.review import display
from unetr_app.review.comparison import DIFFERENCE_COLOURS
from unetr_app.volume import Segmentation, Volume

METADATA_KEY = "unetr_app"
Rgba = tuple[float, float, float, float]
State = dict[str, Any]  # properties of a layer by their napari names
# In this order: a range before the limits within it.
_REFILLED = (
    "data", "scale", "translate", "name", "metadata", "contrast_limits_range", "contrast_limits",
    "features", "colormap", "visible",
)  # fmt: skip
_LABEL_OPACITY = 0.5
_UNNAMED = (1.0, 1.0, 1.0, 1.0)  # white: a value painted that no label names
_MOVED_MM = 1e-6


@dataclass(frozen=True, eq=False)
class Source:
    """What a layer was made of.

    Args:
        whole: The volume or segmentation, as it was then.
        part: The channel of a volume, or the row of overlapping labels, that this layer shows.
    """

    whole: Volume | Segmentation
    part: int = 0


def image_layers(volume: Volume, name: str = "image") -> list[Image]:
    """One image layer a channel, the first one visible.

    They begin with the intensities that `unetr_app.planes.intensity_window` says. The slider of the
    contrast limits spans all values.

    Args:
        volume: Any grid.
        name: Name of the layer; with several channels each one's name follows.
    """
    return [_image(state) for state in image_states(volume, name)]


def image_states(volume: Volume, name: str = "image") -> list[State]:
    """What each layer of `image_layers` shows, for `refill`; arguments likewise."""
    states: list[State] = []
    for n, channel in enumerate(volume.channel_names):
        data = volume.data[n]
        low, high = float(data.min()), float(data.max())
        window = intensity_window(volume, channel=n)
        states.append(
            {
                "data": display.to_display(data, volume.geometry),
                "name": name if len(volume.data) == 1 else f"{name} {channel}",
                "contrast_limits_range": _spanning((low, high), window),
                "contrast_limits": window,
                "metadata": {METADATA_KEY: Source(volume, n)},
                "visible": n == 0,
                **_placing(volume.geometry),
            }
        )
    return states


def label_layers(segmentation: Segmentation, name: str = "labels") -> list[Labels]:
    """One labels layer, or one for each label where labels overlap, named and coloured.

    Args:
        segmentation: Any grid.
        name: Name of the layer; where labels overlap each one's name follows.
    """
    if not segmentation.is_overlapping:
        copied = segmentation.label_map.copy()
        return [_labels_layer(segmentation, copied, segmentation.labels, name)]
    layers: list[Labels] = []
    for n, label in enumerate(segmentation.labels):
        data = np.where(segmentation.data[n], label.value, 0).astype(segmentation.labels.dtype)
        layers.append(
            _labels_layer(segmentation, data, LabelSet((label,)), f"{name} {label.name}", part=n)
        )
    return layers


def edited_states(segmentation: Segmentation, data: NDArray[Any], name: str) -> list[State]:
    """Labels layers over the very array that is edited: what is painted lands in it.

    Args:
        segmentation: Whose grid and labels these are.
        data: (I, J, K) label map or bool (L, I, J, K) masks on that grid, one row a label. Layers
            show views of it; those of masks hold 0 and 1.
        name: As of `label_layers`.

    Returns:
        For `new_layer` and `refill`.
    """
    if data.ndim == 3:
        return [_labels_state(segmentation, data, segmentation.labels, name)]
    return [
        _labels_state(
            segmentation, data[n].view(np.uint8), LabelSet((replace(label, value=1),)),
            f"{name} {label.name}", part=n,
        )
        for n, label in enumerate(segmentation.labels)
    ]  # fmt: skip


def map_layer(data: NDArray[np.float32], geometry: Geometry, name: str) -> Image:
    """An image layer of values from 0 to 1 on a grid, such as uncertainty, over other layers.

    Args:
        data: (I, J, K).
        geometry: Its grid.
        name: Name of the layer.
    """
    return _image(map_state(data, geometry, name))


def map_state(data: NDArray[np.float32], geometry: Geometry, name: str) -> State:
    """What a layer of `map_layer` shows, for `refill`; arguments likewise."""
    return {
        "data": display.to_display(data, geometry),
        "name": name,
        "colormap": "inferno",
        "contrast_limits_range": (0.0, 1.0),
        "contrast_limits": (0.0, 1.0),
        "opacity": _LABEL_OPACITY,
        "blending": "additive",
        **_placing(geometry),
    }


def new_layer(state: State) -> Image | Labels:
    """The layer that a state describes: labels where it has features, else an image."""
    return _labels(state) if "features" in state else _image(state)


def refill(layer: Layer, state: State) -> bool:
    """Show something else in a layer that is there: far quicker than a new layer.

    Args:
        layer: Of `new_layer`.
        state: Of `image_states`, `edited_states` or `map_state`.

    Returns:
        Was that possible? Not for another kind of layer or of array.
    """
    kind = Labels if "features" in state else Image
    if not isinstance(layer, kind) or layer.data.dtype != state["data"].dtype:
        return False
    if isinstance(layer, Labels):
        layer.mode = "pan_zoom"
    for name in (name for name in _REFILLED if name in state):
        setattr(layer, name, state[name])
    if isinstance(layer, Labels):
        layer.selected_label = state["selected_label"]
    return True


def difference_layer(data: NDArray[np.uint8], geometry: Geometry, name: str) -> Labels:
    """A labels layer of where two segmentations differ.

    Args:
        data: (I, J, K) of `unetr_app.review.comparison.difference_map`.
        geometry: Its grid.
        name: Name of the layer.
    """
    colours = {value: opaque(colour) for value, colour in DIFFERENCE_COLOURS.items()}
    nothing = (0.0, 0.0, 0.0, 0.0)
    return Labels(
        display.to_display(data, geometry),
        name=name,
        opacity=0.8,
        colormap=DirectLabelColormap(color_dict={**colours, 0: nothing, None: nothing}),
        **_placing(geometry),
    )


def opaque(colour: tuple[int, int, int]) -> Rgba:
    """A label's colour, 0 to 255, as napari takes it."""
    red, green, blue = (c / 255 for c in colour)
    return red, green, blue, 1.0


def colour_labels(layer: Labels, colours: Mapping[int, Rgba]) -> None:
    """Colour the labels of a layer; what is not named keeps to white, the background to nothing.

    Args:
        layer: Of `label_layers`, or of `edited_states`.
        colours: Red, green, blue and opacity, 0 to 1, by the layer's own value.
    """
    layer.colormap = _colormap(colours)


def to_volume(layers: Layer | Sequence[Layer]) -> Volume:
    """The volume that image layers show, on its own grid.

    Args:
        layers: A layer made by `image_layers`, or several of one volume: its channels, in order.

    Raises:
        InvalidRequest: If a layer was not made by `image_layers`, or not of the same volume.
        UnsafeGeometry: If a layer was moved or its voxels are not as many as its grid's.
    """
    chosen = _of_one_source(layers, Volume)
    whole = chosen[0][1].whole
    assert isinstance(whole, Volume)
    names = tuple(whole.channel_names[source.part] for _, source in chosen)
    data = np.stack([_voxels(layer, whole.geometry) for layer, _ in chosen])
    return replace(whole, data=data, channel_names=names)


def to_segmentation(layers: Layer | Sequence[Layer]) -> Segmentation:
    """The segmentation that labels layers show, edits included, on its own grid.

    Args:
        layers: A layer made by `label_layers`; where labels overlap, all of that segmentation.

    Raises:
        InvalidRequest: If a layer was not made by `label_layers`, if one of overlapping labels is
            missing, or if a value was painted that no label names.
        UnsafeGeometry: If a layer was moved or its voxels are not as many as its grid's.
    """
    chosen = _of_one_source(layers, Segmentation)
    whole = chosen[0][1].whole
    assert isinstance(whole, Segmentation)
    arrays = {source.part: _voxels(layer, whole.geometry) for layer, source in chosen}
    if not whole.is_overlapping:
        return replace(whole, data=arrays[0])
    if len(arrays) != len(whole.labels):
        raise InvalidRequest(
            f"{len(arrays)} of {len(whole.labels)} overlapping labels were given",
            cure="Give the layers of all labels, one each.",
        )
    return replace(whole, data=np.stack([arrays[n] != 0 for n in range(len(arrays))]))


def _colormap(colours: Mapping[int, Rgba]) -> DirectLabelColormap:
    return DirectLabelColormap(color_dict={**colours, 0: (0.0, 0.0, 0.0, 0.0), None: _UNNAMED})


def _placing(geometry: Geometry) -> dict[str, Any]:
    where = display.place(geometry)
    return {
        "scale": where.scale,
        "translate": where.translate,
        "axis_labels": tuple(display.DISPLAY_CODES),
        "units": ("mm", "mm", "mm"),
    }


def _spanning(span: tuple[float, float], window: tuple[float, float]) -> tuple[float, float]:
    """From the lowest to the highest of both, at least something wide."""
    low, high = min(*span, *window), max(*span, *window)
    return low, high if high > low else low + 1.0


def _image(state: State) -> Image:
    given = {k: v for k, v in state.items() if k not in ("data", "contrast_limits_range")}
    layer = Image(
        state["data"], rgb=False, **{**given, "contrast_limits": state["contrast_limits_range"]}
    )
    layer.contrast_limits = state["contrast_limits"]
    return layer


def _labels_state(
    segmentation: Segmentation, data: NDArray[Any], labels: LabelSet, name: str, *, part: int = 0
) -> State:
    return {
        "data": display.to_display(data, segmentation.geometry),  # (I, P, L), a view
        "name": name,
        "opacity": _LABEL_OPACITY,
        "features": {"index": [0, *labels.values], "label": ["background", *labels.names]},
        "colormap": _colormap({label.value: opaque(label.colour) for label in labels}),
        "metadata": {METADATA_KEY: Source(segmentation, part)},
        "selected_label": labels.values[0] if len(labels) else 0,
        **_placing(segmentation.geometry),
    }


def _labels(state: State) -> Labels:
    layer = Labels(**{k: v for k, v in state.items() if k != "selected_label"})
    layer.selected_label = state["selected_label"]
    return layer


def _labels_layer(
    segmentation: Segmentation, data: NDArray[Any], labels: LabelSet, name: str, *, part: int = 0
) -> Labels:
    return _labels(_labels_state(segmentation, data, labels, name, part=part))


def _of_one_source(
    layers: Layer | Sequence[Layer], kind: type[Volume | Segmentation]
) -> list[tuple[Layer, Source]]:
    """The layers with their sources, all parts of one volume or segmentation."""
    chosen: list[tuple[Layer, Source]] = []
    for layer in [layers] if isinstance(layers, Layer) else layers:
        source = layer.metadata.get(METADATA_KEY)
        if not isinstance(source, Source) or not isinstance(source.whole, kind):
            raise InvalidRequest(
                f"the layer {layer.name!r} is no {kind.__name__.lower()} opened by unetr-app, "
                "so its grid in the patient is unknown",
                cure="Choose a layer that was opened by unetr-app, or a duplicate of one.",
            )
        chosen.append((layer, source))
    if not chosen:
        raise InvalidRequest("no layer was given", cure="Choose a layer opened by unetr-app.")
    if any(source.whole is not chosen[0][1].whole for _, source in chosen):
        raise InvalidRequest(
            "the layers come from different files", cure="Choose layers of one file."
        )
    return chosen


def _voxels(layer: Layer, geometry: Geometry) -> NDArray[Any]:
    """A layer's voxels as (I, J, K) on the grid that it was made on."""
    where = display.place(geometry)
    if layer.data.shape != where.shape:
        raise UnsafeGeometry(
            f"the layer {layer.name!r} has {layer.data.shape} voxels; its grid has {where.shape}",
            cure="Open the file again.",
        )
    for index in ((0, 0, 0), *(np.diag(where.shape) - np.eye(3, dtype=int))):
        expected = np.multiply(index, where.scale) + where.translate
        if np.abs(np.asarray(layer.data_to_world(index)) - expected).max() > _MOVED_MM:
            raise UnsafeGeometry(
                f"the layer {layer.name!r} was moved, turned or scaled after it was opened",
                cure="Reset its transform, or open the file again.",
            )
    return display.from_display(np.asarray(layer.data), geometry)
