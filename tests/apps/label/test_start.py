"""Guards and limits from the command line."""

from __future__ import annotations

import os
import stat

import pytest

from medssm_monai.apps.label.__main__ import (
    _parser,
    choose_token,
    host_names,
    main,
    prepare_app,
    server_options,
)
from medssm_monai.apps.loopback import is_loopback

from ...bundle.tiny_bundles import MAMBA_MIS, copy_bundle


def options(*arguments):
    return _parser().parse_args(["--studies", "x", *arguments])


def test_a_new_token_each_time():
    first, second = choose_token(options()), choose_token(options())
    assert first != second and len(first) == len(second) == 32


def test_a_token_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSM_LABEL_TOKEN", "from the environment")
    assert choose_token(options()) == "from the environment"
    assert "MEDSSM_LABEL_TOKEN" not in os.environ  # trainings do not get it
    (tmp_path / "token").write_text("from a file of mine\n")
    assert choose_token(options("--token-file", str(tmp_path / "token"))) == "from a file of mine"


def test_no_token_on_this_computer_only(tmp_path):
    assert choose_token(options("--no-token")) is None
    for host in ("0.0.0.0", "::", "10.0.0.5", "server.example"):
        with pytest.raises(SystemExit, match="for 127.0.0.1 only"):
            choose_token(options("--no-token", "--host", host))
    (tmp_path / "token").write_text("short")
    with pytest.raises(SystemExit, match="16 characters or more, this one 5"):
        choose_token(options("--token-file", str(tmp_path / "token")))
    with pytest.raises(SystemExit, match="--token-file"):
        choose_token(options("--token-file", str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)]
    + [("192.168.1.1", False), ("localhost.evil", False)],
)
def test_loopback(host, expected):
    assert is_loopback(host) is expected


def test_hosts_are_named(monkeypatch):
    assert host_names("127.0.0.1", []) == ("127.0.0.1", "::1", "localhost")
    assert "0.0.0.0" not in host_names("0.0.0.0", [])
    assert {"label.example", "10.0.0.5", "localhost"} <= set(host_names("10.0.0.5", ["label.example"]))
    assert "*" not in "".join(host_names("0.0.0.0", ["*", "*.example"]))


def test_limits_and_closed_endpoints(tmp_path):
    found = server_options(options(), tmp_path)
    assert (found.allowed, found.origins) == (frozenset(), ())
    found = server_options(
        options("--allow", "logs", "--allow", "model", "--max-upload-mb", "3", "--max-epochs", "7", "--timeout", "9"),
        tmp_path,
    )
    assert found.allowed == {"logs", "model"}
    assert (found.limits.upload_bytes, found.limits.max_epochs, found.limits.seconds) == (3 << 20, 7, 9)


def test_bundles_within_the_studies_are_refused(tmp_path):
    copy_bundle(MAMBA_MIS, tmp_path / "studies" / "bundles")
    arguments = ["--studies", str(tmp_path / "studies"), "--bundles", str(tmp_path / "studies" / "bundles")]
    with pytest.raises(SystemExit, match="lies in the studies, where requests write"):
        main([*arguments, "--models", "mamba_mis"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_the_app_folder_is_its_owners(tmp_path):
    prepare_app(tmp_path / "app")
    assert stat.S_IMODE((tmp_path / "app").stat().st_mode) == 0o700
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SystemExit, match="code is run from it"):
        prepare_app(tmp_path / "linked")
    target = tmp_path / "victim.py"
    target.write_text("import medssm_monai")
    (tmp_path / "app" / "main.py").unlink()
    (tmp_path / "app" / "main.py").symlink_to(target)
    prepare_app(tmp_path / "app")
    assert target.read_text() == "import medssm_monai"
