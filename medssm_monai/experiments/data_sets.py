"""The public data sets that :mod:`.prepare_data` knows: where they come from, which files, and how they are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..data import classification_datalists, segmentation_datalists
from ..data.datalists.medmnist_facts import MEDMNIST

__all__ = ["DATA_SETS", "DataSet"]

ZENODO = "https://zenodo.org/records/10519652/files"
MEDMNIST_NAMES = ("breastmnist", "pneumoniamnist", "bloodmnist", "dermamnist", "organcmnist", "organsmnist")


@dataclass(frozen=True)
class DataSet:
    """One public data set.

    Attributes:
        name: name on the command line.
        source: where a person finds it, with what that asks for (account, terms).
        license: as its authors state it.
        check: reads the prepared folder and raises on anything wrong.
        files: file name to (URL, MD5), for sets that can be fetched without an account.
        entries: target name to the names it may have in an offline folder (each also as ``<name>.zip``), for the rest.
    """

    name: str
    source: str
    license: str
    check: Callable[[Path], Mapping[str, list]]
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _medmnist(name: str, size: int) -> DataSet:
    stem = name if size == 28 else f"{name}_{size}"
    return DataSet(
        stem,
        f"{ZENODO}/{stem}.npz",
        "CC BY-NC 4.0" if name == "dermamnist" else "CC BY 4.0",
        lambda folder: classification_datalists(folder / f"{stem}.npz", strict_data=True),
        files={f"{stem}.npz": (f"{ZENODO}/{stem}.npz?download=1", MEDMNIST[name].md5[size])},
    )


def _isic_segmentation(year: int, parts: tuple[str, str]) -> DataSet:
    prefix, masks = parts
    sets = ("Training", "Validation", "Test_v2" if year == 2017 else "Test")
    names = [f"{prefix.format(part)}" for part in sets] + [masks.format(part) for part in sets]
    return DataSet(
        f"isic{year}",
        f"https://challenge.isic-archive.com/data/#{year} (free, by browser)",
        "CC0" if year == 2017 else "CC BY-NC 4.0",
        segmentation_datalists,
        entries={name: (name,) for name in names},
    )


MANUAL = (
    _isic_segmentation(2017, ("ISIC-2017_{}_Data", "ISIC-2017_{}_Part1_GroundTruth")),
    _isic_segmentation(2018, ("ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth")),
    DataSet(
        "isic2019",
        "https://challenge.isic-archive.com/data/#2019 (free, by browser)",
        "CC BY-NC 4.0",
        lambda folder: classification_datalists(folder, layout="table", group_column="lesion_id"),
        entries={
            name: (name,)
            for name in (
                "ISIC_2019_Training_Input",
                "ISIC_2019_Training_GroundTruth.csv",
                "ISIC_2019_Training_Metadata.csv",
            )
        },
    ),
    DataSet(
        "covid_radiography",
        "Kaggle: tawsifurrahman/covid19-radiography-database (free account)",
        "research use with citation; see the terms of its sources",
        lambda folder: classification_datalists(folder, layout="folders"),
        entries={name: (name,) for name in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")},
    ),
    DataSet(
        "clinicdb",
        "https://polyp.grand-challenge.org/CVCClinicDB (request by browser)",
        "research use with citation",
        lambda folder: segmentation_datalists(folder, layout="plain"),
        entries={
            "images": ("images", "Original", "PNG/Original"),
            "masks": ("masks", "Ground Truth", "PNG/Ground Truth"),
        },
    ),
)

DATA_SETS: dict[str, DataSet] = {
    data_set.name: data_set
    for data_set in (*(_medmnist(name, size) for name in MEDMNIST_NAMES for size in (28, 64, 128, 224)), *MANUAL)
}
