"""The napari plugin: medical images and results folders as layers, in their place in mm.

This package imports neither napari nor Qt nor torch. Its modules import napari; pages, sessions and
widgets import Qt through qtpy; none imports torch before a prediction begins.
"""
