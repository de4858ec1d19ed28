"""Review: what is known, decided and changed when a person looks at segmentations.

Nothing here imports torch, napari or Qt: the logic is whole without a window.
"""
