"""The napari plugin: medical images and results folders as layers, in their place in mm.

This package imports neither napari nor Qt nor torch; its modules import napari, those in ``pages``
import Qt alone, and none imports torch.
"""
