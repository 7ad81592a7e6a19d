"""medssm-monai: state-space (Mamba) and companion networks for medical images, as MONAI Bundles."""

__version__ = "0.1.0"
