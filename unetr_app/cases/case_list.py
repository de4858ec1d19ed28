"""CaseList: a file that names cases, their images row by row."""

from __future__ import annotations

import os
from collections.abc import Callable

from unetr_app.cases.csv_list import read_csv
from unetr_app.cases.json_list import read_json
from unetr_app.cases.row import NoList, Row
from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.formats import detect
from unetr_app.io.integrity import open_input, unreadable

_CSV, _JSON = ".csv", ".json"
_MOST_BYTES = 2**26


def is_list(path: PathLike) -> bool:
    """Is it a list by its name, and no image by its content?"""
    if not os.fspath(path).lower().endswith((_CSV, _JSON)) or not os.path.isfile(path):
        return False
    try:
        return detect(path) is None
    except UnreadableInput:
        return True  # reading it says what is wrong


def read_list(
    path: PathLike, channels: tuple[str, ...], is_image: Callable[[str], bool]
) -> list[Row]:
    """Read the rows of a list.

    Args:
        path: A ``.csv`` or ``.json`` file.
        channels: Names of the bundle's channels; empty where no bundle is known.
        is_image: Whether a cell names an image.

    Raises:
        UnreadableInput: If it is no list, or names no case.
    """
    text = _text(path)
    try:
        is_table = os.fspath(path).lower().endswith(_CSV)
        rows = read_csv(text, channels, is_image) if is_table else read_json(text)
        if not rows:
            raise NoList("the list names no case", cure="Add one.")
    except NoList as error:
        raise UnreadableInput(error.what, cure=error.cure, path=path) from error
    return rows


def content_of_list(path: PathLike) -> bytes:
    """The content of a list of cases.

    Raises:
        UnreadableInput: If it cannot be read, or is far too long for a list.
    """
    with open_input(path) as file:
        try:
            content = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise unreadable(error, path) from error
    if len(content) > _MOST_BYTES:
        raise UnreadableInput(
            f"a list of cases has no more than {_MOST_BYTES >> 20} MiB",
            cure="Check that it is one.", path=path,
        )  # fmt: skip
    return content


def _text(path: PathLike) -> str:
    content = content_of_list(path)
    try:
        text = content.decode("utf-8-sig")
        end = content.find(b"\0")
    except UnicodeDecodeError as error:
        text, end = "", error.start
    if end < 0:
        return text
    line = content.count(b"\n", 0, end) + 1
    raise UnreadableInput(
        f"line {line} holds what is no text in UTF-8",
        cure="Save the list as UTF-8.", path=path,
    )  # fmt: skip
