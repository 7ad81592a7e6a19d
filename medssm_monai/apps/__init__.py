"""Programs that open a bundle: the folder ``label`` is an app for MONAI Label."""
