"""What a site allows: three classes more, and no log of errors that goes to the server."""

from __future__ import annotations

import json
import sys

import pytest

from medssm_monai.apps.federated import prepare_site
from medssm_monai.apps.federated.flare_configs import BEYOND_DEFAULT
from medssm_monai.apps.federated.main import main


def test_entries_are_added_and_the_rest_stays(tmp_path):
    given = {"format_version": 2, "class_allow_list": ["nvflare.a.A"], "client": {"retry_timeout": 30}}
    default = tmp_path / "resources.json.default"
    default.write_text(json.dumps({**given, "allow_log_streaming": True}))
    assert main(["site", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "resources.json").read_text())
    assert found == {**given, "class_allow_list": ["nvflare.a.A", *BEYOND_DEFAULT], "allow_log_streaming": False}
    assert json.loads(default.read_text())["allow_log_streaming"] is True
    prepare_site(tmp_path)  # again: from its own file
    assert json.loads((tmp_path / "resources.json").read_text()) == found


def test_a_site_that_allows_all_allows_no_more(tmp_path):
    (tmp_path / "resources.json").write_text('{"class_allow_list": ["*"]}')
    prepare_site(tmp_path)
    assert json.loads((tmp_path / "resources.json").read_text())["class_allow_list"] == ["*"]


@pytest.mark.parametrize("text", ["", "[]", '{"class_allow_list": "all"}'])
def test_what_is_no_resources_file_is_left_alone(text, tmp_path, capsys):
    (tmp_path / "resources.json").write_text(text)
    assert main(["site", str(tmp_path)]) == 2
    assert "startup kit" in capsys.readouterr().err
    assert (tmp_path / "resources.json").read_text() == text


def test_without_flare_its_default_list_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvflare", None)
    monkeypatch.setitem(sys.modules, "nvflare.app_common.default_component_policy", None)
    with pytest.raises(ImportError, match="federated_environment.py"):
        prepare_site(tmp_path / "local")
    assert list((tmp_path / "local").iterdir()) == []
