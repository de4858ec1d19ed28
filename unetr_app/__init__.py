"""3D medical image segmentation with transformer networks."""
