"""Programs that open a bundle: ``bundles`` copies and packs it, the folder ``label`` is an app for MONAI Label."""
