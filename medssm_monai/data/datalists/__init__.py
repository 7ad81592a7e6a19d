"""Datalists: from a folder, a table or an archive to MONAI's lists of dictionaries, checked and split."""
