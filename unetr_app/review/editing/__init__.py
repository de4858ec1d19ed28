"""Editing: label maps changed by a person, step by step, with one undo for everything.

Pure: numpy and scipy; nothing here imports torch, napari or Qt.
"""
