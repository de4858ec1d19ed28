"""Errors of reading a checkpoint, in words that name its file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from unetr_app.errors import UnusableWeights


@contextmanager
def errors_in_words(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Errors name the file; what torch says of tensors that do not go together is put into words.

    Args:
        path: Of the checkpoint.
        what: That is being made from it, such as "encoder".

    Raises:
        UnusableWeights: For any error that tensors, configuration or arguments led to.
    """
    try:
        yield
    except UnusableWeights as error:
        if error.path is not None:
            raise
        raise UnusableWeights(error.what, cure=error.cure, path=path) from error
    except KeyError as error:
        raise UnusableWeights(
            f"the tensor {error} is missing",
            cure="The file is not whole, or of a variant that is not known here.",
            path=path,
        ) from error
    except (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError) as error:
        raise UnusableWeights(
            f"tensors, config.json and arguments make no {what}: {error}",
            cure="Compare config.json and the arguments with those of the checkpoint.",
            path=path,
        ) from error
