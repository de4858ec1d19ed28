"""Action: what table E.1-1 of PS3.15 asks of an attribute (Basic Application Level Profile)."""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
# (the library states few types)

from __future__ import annotations

from enum import Enum
from functools import cache

_EDITION = "dicomfields_2026c"
_CURVES, _OVERLAYS = 0x5000, 0x6000


class Action(Enum):
    """What is done to an attribute; where the table leaves a choice, what suits every object."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    MAP = "U"
    REFER = "X/Z/U*"
    JUDGE = ""  # the table does not name it: its value decides


_COLUMNS = {
    "X_TAGS": Action.REMOVE,
    "Z_TAGS": Action.EMPTY,
    "X_Z_TAGS": Action.EMPTY,
    "D_TAGS": Action.DUMMY,
    "Z_D_TAGS": Action.DUMMY,
    "X_D_TAGS": Action.DUMMY,
    "X_Z_D_TAGS": Action.DUMMY,
    "U_TAGS": Action.MAP,
    "X_Z_U_STAR_TAGS": Action.REFER,
}


def action_of(group: int, element: int) -> Action:
    """What the Basic Profile asks of an attribute.

    Private attributes, curves, overlays and group lengths are removed as wholes.

    Args:
        group: The first half of its tag.
        element: The second half.

    Example:
        >>> action_of(0x0010, 0x0010), action_of(0x0020, 0x000D), action_of(0x0028, 0x0010)
        (<Action.EMPTY: 'Z'>, <Action.MAP: 'U'>, <Action.JUDGE: ''>)
    """
    whole = group & 0xFF00
    if group % 2 or element == 0 or group < 0x0008 or whole in (_CURVES, _OVERLAYS):
        return Action.REMOVE
    return _table().get((group, element), Action.JUDGE)


@cache
def _table() -> dict[tuple[int, int], Action]:
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

    columns = dicom_anonymization_database_selector(_EDITION)
    return {
        (tag[0], tag[1]): action
        for column, action in _COLUMNS.items()
        for tag in columns[column]
        if len(tag) == 2  # the others are curves and overlays
    }
