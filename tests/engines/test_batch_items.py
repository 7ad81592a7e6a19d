from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor, decollate_batch
from monai.data.utils import list_data_collate

from medssm_monai.engines.batch_items import batch_files, item_file
from medssm_monai.utils.files import replace_file


def item(name: str) -> dict:
    return {"image": MetaTensor(torch.zeros(1, 2, 2), meta={"filename_or_obj": name}), "label": torch.zeros(1, 2, 2)}


def test_names_survive_collation_and_decollation() -> None:
    batch = list_data_collate([item("a.png"), item("b.png")])
    assert batch_files(batch) == ["a.png", "b.png"]
    assert batch_files(decollate_batch(batch)) == ["a.png", "b.png"]
    assert item_file(item("a.png")) == "a.png"


@pytest.mark.parametrize("batch", [{"image": torch.zeros(2, 1, 2, 2)}, [torch.zeros(1)], (), None, "text"])
def test_data_without_names(batch) -> None:
    assert batch_files(batch) == []


def test_a_failed_write_keeps_the_old_file(tmp_path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), replace_file(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with replace_file(path) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
