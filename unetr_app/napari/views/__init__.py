"""Views: axial, coronal and sagittal canvases of one napari viewer, linked."""
