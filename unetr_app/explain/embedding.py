"""Embedding: features in two dimensions, by t-SNE.

van der Maaten & Hinton 2008 (Visualizing data using t-SNE, Journal of Machine Learning Research 9,
2579-2605). Distances between far clusters, and the sizes of clusters, mean nothing in its pictures.
The only importer of scikit-learn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnusableWeights

FEWEST = 5  # points; with fewer there is nothing to arrange
_COMPONENTS = 50  # the method's paper, section 4.2: principal components come first


def embed(
    vectors: NDArray[np.floating], *, perplexity: float = 30.0, seed: int = 0
) -> NDArray[np.float32]:
    """Arrange feature vectors in the plane so that neighbours stay neighbours.

    Args:
        vectors: (points, channels).
        perplexity: About how many neighbours count; kept to a third of the points.
        seed: The same seed and vectors give the same arrangement.

    Returns:
        (points, 2).

    Raises:
        InvalidRequest: If scikit-learn is missing, or there are fewer than five points.
        UnusableWeights: If a feature is not finite.
    """
    require_embedding()
    if len(vectors) < FEWEST:
        raise InvalidRequest(
            f"t-SNE needs {FEWEST} points or more; there are {len(vectors)}",
            cure="Give more images, or let voxels be the points (--points voxels).",
        )
    if not np.isfinite(vectors).all():
        raise UnusableWeights("the encoder gave features that are not finite")
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points = np.asarray(vectors, dtype=np.float64)
    if not np.ptp(points, axis=0).any():
        return np.zeros((len(points), 2), dtype=np.float32)  # all alike
    if points.shape[1] == 1:
        points = np.hstack([points, np.zeros_like(points)])
    bounded = min(perplexity, (len(points) - 1) / 3)
    with threadpool_limits(1):  # sums of several threads differ from run to run
        if points.shape[1] > _COMPONENTS:
            count = min(_COMPONENTS, len(points))
            points = PCA(count, random_state=seed).fit_transform(points)
        method = TSNE(perplexity=bounded, init="pca", random_state=seed)
        return np.asarray(method.fit_transform(points), dtype=np.float32)


def require_embedding() -> None:
    """Raise `InvalidRequest` where scikit-learn is not installed."""
    if not has_embedding():
        raise InvalidRequest(
            "t-SNE needs scikit-learn, which is not installed",
            cure='Install it with: pip install "unetr-app[explain]".',
        )


def has_embedding() -> bool:
    """Is scikit-learn installed?"""
    try:
        import sklearn  # noqa: F401  # pyright: ignore
    except ImportError:
        return False
    return True
