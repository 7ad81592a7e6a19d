"""Data sets against a server on this machine: resumed, checked, offline, and never connecting unasked."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from medssm_monai.data.datalists.medmnist_facts import MEDMNIST, MedMNISTFacts
from medssm_monai.experiments import download, prepare_data
from medssm_monai.experiments.data_sets import DATA_SETS, DataSet
from tests.data.class_builders import save_classes, save_isic, save_npz


class Server(ThreadingHTTPServer):
    """Serves ``content``; keeps the ranges asked for; the first ``cut`` answers break off half-way."""

    def __init__(self, content: bytes, ranges: bool = True, cut: int = 0, status: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.cut, self.status = content, ranges, cut, status
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/breastmnist.npz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        """Nothing into the test's output."""

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.status:
            return self.send_error(self.server.status)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(self.server.content):
            return self.send_error(416)
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if len(self.server.asked) <= self.server.cut else body)
        return None


@pytest.fixture
def serve(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    servers = []

    def start(*args, **kwargs) -> Server:
        servers.append(Server(*args, **kwargs))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def official(tmp_path, monkeypatch):
    """A small file that passes for the official BreastMNIST, and the function that says where to fetch it."""
    content = save_npz(tmp_path / "source.npz").read_bytes()
    md5 = hashlib.md5(content).hexdigest()
    known = MEDMNIST["breastmnist"]
    monkeypatch.setitem(MEDMNIST, "breastmnist", MedMNISTFacts(known.classes, {28: md5}))

    def at(url: str) -> bytes:
        known_set = DATA_SETS["breastmnist"]
        files = {"breastmnist.npz": (url, md5)}
        monkeypatch.setitem(
            DATA_SETS, "breastmnist", DataSet("breastmnist", "here", "none", known_set.check, files=files)
        )
        return content

    return at


def md5_of(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_stopped(tmp_path, serve, ranges):
    content = bytes(range(256)) * 400
    server = serve(content, ranges, cut=2)
    path = download.fetch(server.url, tmp_path / "set" / "x.npz", md5_of(content), wait=0)
    assert path.read_bytes() == content
    half = len(content) // 2
    assert server.asked == [None, f"bytes={half}-", f"bytes={half + half // 2 if ranges else half}-"]
    assert list(path.parent.iterdir()) == [path]


def test_what_an_earlier_run_left_is_used(tmp_path, serve):
    content = bytes(range(256)) * 400
    (tmp_path / "x.npz.part").write_bytes(content[:1000])
    server = serve(content)
    assert download.fetch(server.url, tmp_path / "x.npz", md5_of(content)).read_bytes() == content
    assert server.asked == ["bytes=1000-"]
    download.fetch(server.url, tmp_path / "x.npz", md5_of(content))
    assert len(server.asked) == 1  # there and right: no connection


def test_a_part_that_is_whole_already_is_only_checked(tmp_path, serve):
    content = b"whole" * 100
    (tmp_path / "x.npz.part").write_bytes(content)
    assert download.fetch(serve(content).url, tmp_path / "x.npz", md5_of(content)).read_bytes() == content


def test_a_wrong_checksum_leaves_nothing(tmp_path, serve):
    with pytest.raises(download.FetchError, match="MD5"):
        download.fetch(serve(b"changed").url, tmp_path / "x.npz", md5_of(b"official"))
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_in_place_is_not_overwritten(tmp_path, serve):
    (tmp_path / "x.npz").write_bytes(b"mine")
    server = serve(b"official")
    with pytest.raises(download.FetchError, match="move it away"):
        download.fetch(server.url, tmp_path / "x.npz", md5_of(b"official"))
    assert (tmp_path / "x.npz").read_bytes() == b"mine"
    assert not server.asked


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (503, 3)])
def test_errors_of_the_server(tmp_path, serve, status, tries):
    server = serve(b"", status=status)
    with pytest.raises(download.FetchError, match=str(status)):
        download.fetch(server.url, tmp_path / "x.npz", "0" * 32, tries=3, wait=0)
    assert len(server.asked) == tries


def test_the_proxy_of_the_environment_is_used(tmp_path, serve, monkeypatch):
    content = b"through the proxy"
    proxy = serve(content)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download.fetch("http://data.invalid/x.npz", tmp_path / "x.npz", md5_of(content), tries=1)
    assert proxy.asked == [None]


def test_nothing_is_fetched_unless_asked_for(tmp_path, serve, official, capsys):
    server = serve(b"")
    server.content = official(server.url)
    for arguments in (["--list"], ["breastmnist", "--output_dir", str(tmp_path / "data")]):
        prepare_data.main(arguments)
    assert not server.asked
    assert not (tmp_path / "data").exists()
    assert "NOT ready" in capsys.readouterr().err
    assert prepare_data.main(["breastmnist", "--output_dir", str(tmp_path / "data"), "--fetch"]) == 0
    assert "ready, 8 training, 4 validation, 4 test" in capsys.readouterr().out
    assert prepare_data.main(["breastmnist", "--output_dir", str(tmp_path / "data"), "--check"]) == 0


def test_offline(tmp_path, official, capsys):
    content = official("http://data.invalid/")
    target = tmp_path / "data"
    arguments = ["breastmnist", "--output_dir", str(target), "--from-dir", str(tmp_path / "usb")]
    (tmp_path / "usb").mkdir()
    assert prepare_data.main(arguments) == 1
    assert "lacks breastmnist.npz" in capsys.readouterr().err
    (tmp_path / "usb" / "breastmnist.npz").write_bytes(content[:-1])
    assert prepare_data.main(arguments) == 1
    assert "not the published file" in capsys.readouterr().err
    assert not target.exists()
    (tmp_path / "usb" / "breastmnist.npz").write_bytes(content)
    assert prepare_data.main(arguments) == 0


def test_isic2019_from_archives(tmp_path, capsys):
    save_isic(tmp_path / "unpacked", 60)
    (tmp_path / "downloads").mkdir()
    images = sorted((tmp_path / "unpacked" / "ISIC_2019_Training_Input").iterdir())
    with zipfile.ZipFile(tmp_path / "downloads" / "ISIC_2019_Training_Input.zip", "w") as archive:
        for path in images:
            archive.write(path, f"ISIC_2019_Training_Input/{path.name}")
    arguments = ["isic2019", "--output_dir", str(tmp_path / "isic"), "--from-dir", str(tmp_path / "downloads")]
    assert prepare_data.main(arguments) == 1
    error = capsys.readouterr().err
    assert "GroundTruth.csv" in error
    assert "Metadata.csv" in error
    for path in (tmp_path / "unpacked").glob("*.csv"):
        path.rename(tmp_path / "downloads" / path.name)
    assert prepare_data.main(arguments) == 0
    assert len(list((tmp_path / "isic" / "ISIC_2019_Training_Input").glob("*.jpg"))) == 60
    assert prepare_data.main([*arguments[:2], arguments[2], "--fetch"]) == 1
    assert "browser" in capsys.readouterr().err


def test_an_archive_that_points_outside_is_refused(tmp_path):
    (tmp_path / "downloads").mkdir()
    for name in DATA_SETS["isic2019"].entries:
        with zipfile.ZipFile(tmp_path / "downloads" / f"{name}.zip", "w") as archive:
            archive.writestr("../../escaped.txt", "x")
    arguments = ["isic2019", "--output_dir", str(tmp_path / "isic"), "--from-dir", str(tmp_path / "downloads")]
    assert prepare_data.main(arguments) == 1
    assert not list(tmp_path.rglob("escaped.txt"))


def test_covid_radiography_from_a_folder(tmp_path):
    classes = {"COVID": 10, "Lung_Opacity": 10, "Normal": 10, "Viral Pneumonia": 10}
    save_classes(tmp_path / "kaggle", classes, "images")
    target = str(tmp_path / "covid")
    assert prepare_data.main(["covid_radiography", "--output_dir", target, "--from-dir", str(tmp_path / "kaggle")]) == 0
    assert prepare_data.main(["covid_radiography", "--output_dir", target]) == 0
