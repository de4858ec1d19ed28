"""The napari plugin: medical images and results as layers, and a window to review them.

This package imports neither napari nor Qt nor torch. Its modules import napari; pages and sessions
import Qt through qtpy; none imports torch before a prediction begins.
"""
