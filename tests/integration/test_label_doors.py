"""Hostile requests to the real server of the MONAI Label app, over the loopback interface.

Nothing outside of the studies is read, written or removed, and every answer says what is wrong: 400, 401, 403, 404 or
413, never 500.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import stat
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import itk
import numpy as np
import pytest
import requests
from PIL import Image

from ..bundle.tiny_bundles import CLINICAL_FMAMBA, MAMBA_MIS, MEDSPECTRALNET, copy_bundle
from ..waiting import wait_for
from .label_server import LabelServer, label_python, parts

pytestmark = pytest.mark.integration

SEGMENT, CLASSIFY, FUSE = "mamba_mis", "medspectralnet", "clinical_fmamba"
LIMITS = ("--max-upload-mb", "4", "--max-epochs", "5", "--max-samples", "8", "--parallel", "2", "--timeout", "300")
BAD_NAMES = ["..", "../up", "/etc/hostname", "..\\up", "a/b", "C:\\a", ".hidden", "a\0b", "a\nb", "x" * 300]
BAD_OBJECTS = [
    "{",
    "[]",
    "1",
    '{"a": NaN}',
    '{"a": 1e999}',
    '{"client_id": "\\ud800"}',
    "[" * 100_000,
    '{"a":' * 50 + "1" + "}" * 50,
]
REFUSED = (400, 404)


def picture(seed: int = 0, size: tuple[int, int] = (48, 64)) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def picture_of(side: int) -> bytes:
    """A BMP whose header claims this side."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "BMP")
    content = bytearray(stream.getvalue())
    content[18:26] = struct.pack("<ii", side, side)
    return bytes(content)


def tree(folder: Path) -> dict[str, str]:
    """Every file and link below a folder with its content."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """``studies``, ``bundles``, and ``outside`` with what nobody may touch."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("studies", "bundles", "outside", "outside/labels"):
        (folder / name).mkdir()
    for tiny in (MAMBA_MIS, MEDSPECTRALNET, CLINICAL_FMAMBA):
        copy_bundle(tiny, folder / "bundles")
    for number, name in enumerate(("a", "b", "c", "d", "case_1_a", "case_1_b")):
        (folder / "studies" / f"{name}.png").write_bytes(picture(number))
    for name in ("upper.PNG", "same.jpg", "same.png"):
        (folder / "studies" / name).write_bytes(picture(7))
    for name in ("secret.png", "other.png", "labels/a.png"):
        (folder / "outside" / name).write_bytes(picture(99))
    for name in ("linked", "removed"):
        (folder / "studies" / f"{name}.png").symlink_to(folder / "outside" / "secret.png")
    (folder / "studies" / "labels").mkdir()
    (folder / "studies" / "labels" / "elsewhere").symlink_to(folder / "outside" / "labels")
    return folder


@pytest.fixture(scope="module")
def server(place) -> Iterator[LabelServer]:
    with LabelServer(label_python(), place / "studies", place / "bundles", place / "server.log", *LIMITS) as running:
        yield running
    assert not any(running.temporary.glob("medssm_label_uploads_*"))  # uploads and sessions go with the server


@pytest.fixture(autouse=True)
def untouched(place):
    """Nothing outside of the studies has changed, whatever a test has sent."""
    before = {name: tree(place / name) for name in ("outside", "bundles")}
    yield
    assert {name: tree(place / name) for name in before} == before
    assert not (place / "up").exists() and not (place / "up.png").exists()


def raw(server: LabelServer, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None):
    """Status and text; the path goes as it is (``requests`` would take dots out of it)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    try:
        connection.request(method, path, body=body, headers=server.headers if headers is None else headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def test_every_image_is_listed_and_answered(server):
    """Upper-case suffixes, and images that differ in their suffix only."""
    store = server.get("/datastore/", output="all")["objects"]
    files = {name: store[name]["image"]["info"]["name"] for name in ("upper", "same", "same.png")}
    assert files == {"upper": "upper.PNG", "same": "same.jpg", "same.png": "same.png"}
    for name in files:
        assert server.infer(SEGMENT, name).status_code == 200
    server.save_label("same.png", "x.nrrd", b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 1 1\nencoding: raw\n\n\1")
    labels = server.get("/datastore/", output="all")["objects"]["same.png"]["labels"]
    assert labels["final"]["info"]["name"] == "same.png.nrrd"
    assert server.ask("DELETE", "/datastore/label?id=same.png&tag=final").status_code == 200


FILE = {"file": ("x.png", picture())}
LABEL = {"label": ("x.png", picture())}
OF_QUERY = [
    ("PUT", "/datastore/image?image={}", FILE),
    ("PUT", "/datastore/?image={}", FILE),
    ("DELETE", "/datastore/image?id={}", None),
    ("DELETE", "/datastore/?id={}", None),
    ("GET", "/datastore/image?image={}", None),
    ("HEAD", "/datastore/image?image={}", None),
    ("GET", "/datastore/image/info?image={}", None),
    ("PUT", "/datastore/image/info?image={}", {"info": (None, '{"a": 1}')}),
    ("PUT", "/datastore/label?image={}&tag=final", LABEL),
    ("PUT", "/datastore/label?image=a&tag={}", LABEL),
    ("DELETE", "/datastore/label?id={}&tag=final", None),
    ("DELETE", "/datastore/label?id=a&tag={}", None),
    ("GET", "/datastore/label?label={}&tag=final", None),
    ("GET", "/datastore/label?label=a&tag={}", None),
    ("HEAD", "/datastore/label?image={}&tag=final", None),
    ("GET", "/datastore/label/info?label=a&tag={}", None),
    ("PUT", "/datastore/label/info?label={}&tag=final", {"info": (None, '{"a": 1}')}),
    ("PUT", "/datastore/updatelabelinfo?label=a&tag={}", {"params": (None, '{"a": 1}')}),
    ("POST", "/infer/mamba_mis?image={}", {"params": (None, "{}")}),
    ("POST", "/infer/mamba_mis?session_id={}", {"params": (None, "{}")}),
]
OF_PATH = [
    ("POST", "/infer/{}?image=a"),
    ("POST", "/batch/infer/{}"),
    ("POST", "/train/{}"),
    ("POST", "/scoring/{}"),
    ("POST", "/activelearning/{}"),
    ("GET", "/session/{}"),
    ("DELETE", "/session/{}"),
    ("GET", "/model/{}"),
    ("GET", "/model/info/{}"),
]


@pytest.mark.parametrize(("method", "path", "files"), OF_QUERY, ids=lambda value: str(value)[:40])
def test_names_are_plain(server, method, path, files):
    for name in BAD_NAMES:
        answer = server.ask(method, path.format(quote(name, safe="")), files=files)
        assert answer.status_code in REFUSED, f"{name!r}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize(("method", "path"), OF_PATH)
def test_names_in_paths_are_plain(server, method, path):
    for name in [*BAD_NAMES, "nobody"]:
        for encoded in (quote(name, safe=""), quote(name, safe="/").replace(".", "%2e")):
            status, text = raw(server, method, path.format(encoded))
            assert status in (*REFUSED, 405), f"{name!r}: {status} {text}"  # 405: a path of another endpoint


@pytest.mark.parametrize("key", ["image", "label_tag", "image_b"])
def test_names_in_params_are_plain(server, key):
    for name in [*BAD_NAMES, 5, {"a": 1}, ["a"]]:
        answer = server.infer(FUSE, "case_1_a", **{key: name, "save_label": True})
        assert answer.status_code in REFUSED, f"{name!r}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize("name", ["../up.png", "/tmp/up.png", "..\\..\\up.png", "C:\\Users\\x\\up.png"])
def test_names_of_files_are_cut_to_their_last_part(server, place, name):
    answer = server.ask("PUT", "/datastore/image", files={"file": (name, picture())})
    assert (answer.status_code, answer.json()) == (200, {"image": "up"})
    assert (place / "studies" / "up.png").is_file()
    assert server.ask("DELETE", "/datastore/image", params={"id": "up"}).status_code == 200
    assert not (place / "studies" / "up.png").exists()


@pytest.mark.parametrize("name", ["..", ".png", "a.exe", "a.json", "a.py", "x" * 300 + ".png", "a.mhd", "a.svs"])
def test_files_that_are_no_images_are_refused(server, place, name):
    before = tree(place / "studies")
    assert server.ask("PUT", "/datastore/image", files={"file": (name, b"x")}).status_code == 400
    assert server.ask("PUT", "/datastore/image?image=main", files={"file": (name, b"x")}).status_code == 400
    if not name.endswith(("json",)):
        assert server.ask("PUT", "/datastore/label?image=a", files={"label": (name, b"x")}).status_code == 400
    assert {key: value for key, value in tree(place / "studies").items() if "medssm" not in key} == {
        key: value for key, value in before.items() if "medssm" not in key
    }


def test_nothing_is_written_through_links(server, place):
    assert server.ask("PUT", "/datastore/image?image=linked", files=FILE).status_code == 400
    assert server.ask("PUT", "/datastore/label?image=a&tag=elsewhere", files=LABEL).status_code == 400
    assert server.ask("DELETE", "/datastore/label?id=a&tag=elsewhere").status_code == 400
    assert server.infer(SEGMENT, "linked").status_code == 200  # read, as whoever made it meant it
    assert server.ask("DELETE", "/datastore/image?id=removed").status_code == 200
    assert not os.path.lexists(place / "studies" / "removed.png")


def test_an_index_that_was_replaced_leads_nowhere(server, place):
    index = place / "studies" / "datastore_v2.json"
    known = server.get("/datastore/", output="all")["objects"]
    for title, entry in (
        ("first", {"image": {"ext": ".png"}}),
        ("second", {"image": {"ext": "/../../outside/secret.png"}}),
    ):
        tags = {"../../../outside": {"ext": ".png"}, "final": {"ext": "/../../../../outside/other.png"}}
        evil = {f"../outside/{name}": entry for name in ("secret", "other")} | {"a": known["a"] | {"labels": tags}}
        evil |= {"e": entry, "nan": {"image": {"ext": ".png", "info": {"x": float("nan")}}}}
        content = {"name": title, "description": "x", "images_dir": "../outside", "labels_dir": "/etc", "objects": evil}
        index.write_text(json.dumps(content))

        def read(title: str = title) -> dict:
            state = server.get("/datastore/", output="all")  # a look at the folder may have brought the others back
            return state["objects"] if state["name"] == title else {}

        found = wait_for("look at the index", read, show=server.tail)
        assert not {name for name in found if "/" in name}, found
        for method, path in (
            ("GET", "/datastore/image?image=e"),
            ("GET", "/datastore/image?image=..%2Foutside%2Fsecret"),
            ("DELETE", "/datastore/image?id=..%2Foutside%2Fsecret"),
            ("DELETE", "/datastore/image?id=e"),
            ("GET", "/datastore/label?label=a&tag=..%2F..%2F..%2Foutside"),
            ("DELETE", "/datastore/label?id=a&tag=final"),
        ):
            answer = server.ask(method, path)
            assert answer.status_code in REFUSED or (method, path[-2:]) == ("DELETE", "=e"), f"{path} {answer.text}"
    server.ask("PUT", "/datastore/image?image=fresh", files=FILE).raise_for_status()  # brings the others back
    assert server.ask("DELETE", "/datastore/image?id=fresh").status_code == 200
    assert set(server.get("/datastore/", output="all")["objects"]) >= {"a", "b", "c", "d"}


def tar(*members: tarfile.TarInfo, size: int = 4) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member in members:
            member.size = size if member.isfile() else 0
            archive.addfile(member, io.BytesIO(bytes(size)) if member.isfile() else None)
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


def zipped(name: str, mode: int = stat.S_IFREG | 0o600, size: int = 4) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
        archive.writestr(info, b"/etc/hostname" if stat.S_ISLNK(mode) else bytes(size))
    return stream.getvalue()


ARCHIVES = {
    "up.tgz": tar(member("../up")),
    "deep.tgz": tar(member("a/../../../up")),
    "absolute.tgz": tar(member("/tmp/medssm_up")),
    "link.tgz": tar(member("x", tarfile.SYMTYPE, "/etc/hostname")),
    "through.tgz": tar(member("x", tarfile.SYMTYPE, "/tmp"), member("x/medssm_up")),
    "hard.tgz": tar(member("x", tarfile.LNKTYPE, "/etc/hostname")),
    "device.tgz": tar(member("x", tarfile.CHRTYPE)),
    "fifo.tgz": tar(member("x", tarfile.FIFOTYPE)),
    "twice.tgz": tar(member("x"), member("x")),
    "large.tgz": tar(member("x"), size=5 << 20),
    "up.zip": zipped("../up"),
    "absolute.zip": zipped("/tmp/medssm_up"),
    "windows.zip": zipped("..\\up"),
    "link.zip": zipped("x", stat.S_IFLNK | 0o777),
    "large.zip": zipped("x", size=5 << 20),
    "no.tar": b"no archive",
    "empty.tar": b"",
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_of_sessions_stay_in_their_folder(server, name):
    answer = server.ask("PUT", "/session/?uncompress=true", files={"files": (name, ARCHIVES[name])})
    assert answer.status_code == 400, answer.text
    assert not Path("/tmp/medssm_up").exists()


def test_sessions_are_made_asked_for_and_removed(server):
    made = server.ask("PUT", "/session/?uncompress=true", files={"files": ("x.tgz", tar(member("s/1"), member("s/2")))})
    assert made.status_code == 200, made.text
    name = made.json()["session_id"]
    assert Path(made.json()["session_info"]["image"]).is_relative_to(server.temporary)
    assert server.ask("GET", f"/session/{name}").status_code == 200
    assert server.ask("GET", f"/session/{name}?image=true").status_code == 404  # a folder
    assert server.ask("DELETE", f"/session/{name}").status_code == 200
    assert server.ask("GET", f"/session/{name}").status_code == 404
    made = server.ask("PUT", "/session/", files={"files": ("../x.png", picture(1))}).json()
    assert server.ask("GET", f"/session/{made['session_id']}?image=true").content == picture(1)
    assert server.ask("POST", f"/infer/{SEGMENT}", params={"session_id": made["session_id"]}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("POST", f"/infer/{SEGMENT}?image=a", "params"),
        ("PUT", "/datastore/image/info?image=a", "info"),
        ("PUT", "/datastore/label?image=a&tag=final", "params"),
        ("PUT", "/datastore/image?image=json", "params"),
        ("POST", f"/train/{SEGMENT}", None),
        ("POST", f"/scoring/{SEGMENT}_epistemic", None),
        ("POST", f"/batch/infer/{SEGMENT}", None),
        ("POST", "/activelearning/random", None),
    ],
)
def test_json_that_is_none_is_refused(server, method, path, key):
    for text in BAD_OBJECTS:
        if key is None:
            answer = server.ask(method, path, headers={**server.headers, "content-type": "application/json"}, data=text)
        else:
            files = {"label": LABEL["label"]} if "label" in path else FILE if "image=json" in path else {}
            answer = server.ask(method, path, files={**files, key: (None, text)})
        assert answer.status_code == 400, f"{text[:40]}: {answer.status_code} {answer.text}"
    assert server.get("/datastore/", output="all")["objects"]  # nothing was kept that cannot be sent


@pytest.mark.parametrize("key", ["strategy", "ts", "name", "path", f"{SEGMENT}_epistemic"])
def test_what_the_server_notes_is_not_a_clients_to_change(server, key):
    answer = server.ask("PUT", "/datastore/image/info?image=a", files={"info": (None, json.dumps({key: 5}))})
    assert (answer.status_code, "kept by the server" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (f"/scoring/{SEGMENT}_epistemic", {"simulation_size": 2_000_000_000}, "simulation_size must be"),
        (f"/scoring/{SEGMENT}_epistemic", {"simulation_size": "many"}, "simulation_size must be"),
        (f"/scoring/{SEGMENT}_epistemic", {"dropout": 2}, "dropout must be"),
        (f"/scoring/{SEGMENT}_epistemic", {"samples": 2}, "there is no samples"),
        (f"/train/{SEGMENT}", {"max_epochs": 10**9}, "max_epochs must be a whole number from 1 to 5"),
        (f"/train/{SEGMENT}", {"overrides": {"max_epochs": 10**9}}, "beside overrides"),
        (f"/train/{SEGMENT}", {"overrides": {"seed": "$exit(3)"}}, "seed: only numbers"),
        (f"/train/{SEGMENT}", {"overrides": {"network#_target_": "os.getcwd"}}, "cannot be set by a request"),
        (f"/train/{SEGMENT}", {"overrides": {"image_size": [10**6, 10**6]}}, "image_size up to 2048"),
        (f"/train/{SEGMENT}", {"gpus": {"a": 1}}, "there is no gpus"),
        (f"/train/{SEGMENT}", {"learning_rate": 1}, "there is no learning_rate"),
        (f"/batch/infer/{SEGMENT}", {"images": ["/etc/hostname"]}, "there is no images"),
        ("/activelearning/random", {"strategy": "x"}, "there is no strategy"),
    ],
)
@pytest.mark.parametrize("sync", [True, False])
def test_what_a_task_may_cost_is_limited(server, path, body, message, sync):
    answer = server.post(path, body, run_sync=sync)
    assert (answer.status_code, message in answer.text) == (400, True), answer.text


@pytest.mark.parametrize(
    ("model", "params", "message"),
    [
        (SEGMENT, {"threshold": 2}, "threshold must be a number above 0 and below 1"),
        (SEGMENT, {"threshold": True}, "threshold must be"),
        (SEGMENT, {"treshold": 0.5}, "there is no treshold"),
        (SEGMENT, {"result_extension": ".stl"}, "result_extension must be one of"),
        (SEGMENT, {"result_dtype": "object"}, "result_dtype must be one of"),
        (SEGMENT, {"session": {"a": 1}}, "there is no session"),
        (CLASSIFY, {"threshold": 0.5}, "there is no threshold"),
        (FUSE, {"threshold": 0.5}, "there is no threshold"),
    ],
)
def test_params_are_taken_or_refused(server, model, params, message):
    answer = server.infer(model, "a", **params)
    assert (answer.status_code, message in answer.text) == (400, True), answer.text


HOSTILE = {  # headers of some bytes that claim gigabytes, or end a program that believes them
    "a.nrrd": b"NRRD0004\ntype: uchar\ndimension: 16\nsizes:" + b" 9" * 16 + b"\nencoding: gzip\n\n" + bytes(99),
    "b.nrrd": b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 100000 100000\nencoding: raw\n\n" + bytes(99),
    "c.gif": b"GIF89a\n\0\n\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    "d.bmp": picture_of(60000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_images_that_claim_what_they_are_not_are_answered(server, name, tmp_path):
    (tmp_path / name).write_bytes(HOSTILE[name])
    answer = server.infer(SEGMENT, file=tmp_path / name)
    assert answer.status_code == 400, answer.text
    assert server.ask("GET", "/info/").status_code == 200
    assert server.uploads() == []


def test_answers_name_no_folder_of_the_server(server, tmp_path, place):
    (tmp_path / "a.png").write_bytes(b"no picture")
    answer = server.infer(SEGMENT, file=tmp_path / "a.png")
    assert answer.status_code == 400
    assert ".png: not an image of a known format" in answer.text
    assert str(place) not in answer.text and str(server.temporary) not in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "http://[::1"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Host": "evil.example"}, 400)],
)
def test_headers_of_other_places(server, headers, status):
    assert server.ask("GET", "/info/", headers={**server.headers, **headers}).status_code == status


@pytest.mark.parametrize("expiry", [-1, 10**12])
def test_a_session_is_not_kept_for_ever(server, expiry):
    answer = server.ask("PUT", f"/session/?expiry={expiry}", files={"files": ("a.png", picture())})
    assert (answer.status_code, "expiry must be" in answer.text) == (400, True), answer.text


def test_a_client_cannot_say_that_it_is_another(server, place):
    server.ask("GET", "/info/", headers={**server.headers, "X-Forwarded-For": "10.9.8.7"})
    server.ask("GET", "/info/")
    assert "10.9.8.7" not in (place / "studies" / ".medssm_label" / "logs" / "audit.log").read_text()


def test_a_threshold_is_taken(server):
    shares = [
        json.loads(parts(server.infer(SEGMENT, "a", threshold=threshold))["params"])["foreground_share"]
        for threshold in (0.01, 0.6, 0.99)
    ]
    assert shares[0] == 1 and shares[0] >= shares[1] >= shares[2] and shares[2] == 0


@pytest.mark.parametrize("extension", [".nrrd", ".nii.gz", ".nii", ".png"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_results_have_the_format_that_is_asked_for(server, tmp_path, extension, dtype):
    answer = server.infer(SEGMENT, "a", output="image", result_extension=extension, result_dtype=dtype)
    if extension == ".png" and dtype == "uint16":
        assert answer.status_code == 400
        return
    assert answer.status_code == 200, answer.text
    path = tmp_path / f"mask{extension}"
    path.write_bytes(answer.content)
    plain = np.array(Image.open(io.BytesIO(server.infer(SEGMENT, "a", output="image").content))) // 255
    found = itk.array_from_image(itk.imread(str(path)))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.squeeze() // (255 if extension == ".png" else 1), plain)


@pytest.mark.parametrize("query", ["output=image", "output=dicom_seg"])
def test_a_classification_has_no_image(server, query):
    answer = server.ask("POST", f"/infer/{CLASSIFY}?image=a&{query}")
    assert (answer.status_code, "output=" in answer.text) == (400, True), answer.text


CLOSED = [
    ("PUT", f"/model/{SEGMENT}"),
    ("DELETE", f"/model/{SEGMENT}"),
    ("POST", "/reload"),
    ("GET", "/reload"),
    ("GET", "/logs/"),
    ("GET", "/logs/gpu"),
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/ohif/..%5c..%5capp.py"),
    ("GET", "/static/ohif/index.html"),
    ("GET", "/proxy/dicom/wado/studies"),
    ("POST", f"/infer/wsi/{SEGMENT}"),
    ("POST", f"/infer/wsi_v2/{SEGMENT}"),
    ("POST", "/train/"),
    ("POST", "/scoring/"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_endpoints_that_are_not_needed_are_closed(server, method, path):
    assert raw(server, method, path)[0] in (404, 405)


EVERY = [(method, path.format("a")) for method, path, *_ in OF_QUERY + OF_PATH] + CLOSED
EVERY += [
    ("GET", "/info/"),
    ("GET", "/datastore/"),
    ("GET", "/datastore/dataset"),
    ("PUT", "/session/"),
    ("GET", "/train/"),
]


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_every_endpoint_wants_the_token(server, method, path):
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": server.token},
        {"Authorization": "Bearer "},
    ):
        assert raw(server, method, path, headers)[0] == 401


@pytest.mark.parametrize("name", ["admin", "Dr. Größe", "", "a.b"])
def test_clients_log_in_with_the_token_as_password(server, name):
    assert server.ask("GET", "/auth/", headers={}).json()["enabled"] is True
    form = {"username": name, "password": server.token, "grant_type": "password"}
    entry = server.ask("POST", "/auth/token", headers={}, data=form).json()
    headers = {"Authorization": f"{entry['token_type']} {entry['access_token']}"}
    assert server.ask("GET", "/auth/token/valid", headers=headers).json()["username"] == name
    assert server.ask("GET", "/info/", headers=headers).status_code == 200
    assert server.token not in entry["access_token"]
    other = entry["access_token"].replace(entry["access_token"].split(".")[0], "cm9vdA", 1)
    assert server.ask("GET", "/info/", headers={"Authorization": f"Bearer {other}"}).status_code == 401
    assert server.ask("POST", "/auth/token", headers={}, data={**form, "password": "wrong"}).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 400),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({}, 200),
    ],
)
def test_pages_of_other_origins_are_not_answered(server, headers, status):
    answer = server.ask("GET", "/info/", headers={**server.headers, **headers})
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    preflight = server.ask("OPTIONS", "/info/", headers={**headers, "Access-Control-Request-Method": "PUT"})
    assert preflight.status_code >= 400 and "access-control-allow-origin" not in preflight.headers


def test_uploads_are_limited(server):
    large = {"file": ("large.png", bytes(5 << 20))}
    assert server.ask("POST", f"/infer/{SEGMENT}", files=large).status_code == 413
    assert server.ask("PUT", "/datastore/image?image=large", files=large).status_code == 413
    assert server.ask("POST", f"/train/{SEGMENT}", json={"overrides": {"x": "y" * (2 << 20)}}).status_code == 413

    head = b'--mark\r\nContent-Disposition: form-data; name="file"; filename="l.png"\r\n\r\n'
    pieces = iter([head, *[bytes(1 << 16)] * 80])  # sent without a declared length
    headers = {**server.headers, "content-type": "multipart/form-data; boundary=mark"}
    with suppress(requests.ConnectionError):  # the server may close the connection while it is still being sent
        assert server.ask("PUT", "/datastore/image?image=l", headers=headers, data=pieces).status_code == 413
    assert server.ask("GET", "/datastore/image?image=l").status_code == 404
    assert server.uploads() == []


def test_a_slow_request_holds_no_other(server):
    slow = threading.Thread(
        target=server.post, args=(f"/scoring/{SEGMENT}_epistemic", {"simulation_size": 8}), kwargs={"run_sync": True}
    )
    slow.start()
    time.sleep(0.5)
    assert server.ask("GET", "/info/").status_code == 200
    assert server.post(f"/scoring/{SEGMENT}_epistemic", {"simulation_size": 8}, run_sync=True).status_code == 429
    assert slow.is_alive()
    slow.join()


def test_a_nrrd_file_cannot_name_another(server, place):
    head = (
        f"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 16 16\nencoding: raw\ndata file: {place}/outside/secret.png\n\n"
    )
    file = {"file": ("x.nrrd", head.encode())}
    assert server.ask("POST", f"/infer/{SEGMENT}", files=file).status_code == 400
    assert server.ask("PUT", "/datastore/image?image=nrrd", files=file).status_code == 400
    assert server.ask("PUT", "/datastore/label?image=a", files={"label": file["file"]}).status_code == 400


def test_what_lies_there_is_the_owners_alone(server, place):
    server.save_label("b", "b.png", picture())
    made = server.ask("PUT", "/session/", files={"files": ("x.png", picture())}).json()
    files = [
        place / "studies" / name for name in ("datastore_v2.json", "labels/final/b.png", ".medssm_label/logs/audit.log")
    ]
    for path in [*files, place / "studies" / ".medssm_label", Path(made["session_info"]["image"])]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    server.ask("DELETE", f"/session/{made['session_id']}")


def test_every_request_is_one_line_of_the_audit_log(server, place):
    log = place / "studies" / ".medssm_label" / "logs" / "audit.log"
    form = {"username": "Dr. A\nb", "password": server.token}
    entry = server.ask("POST", "/auth/token", headers={}, data=form).json()["access_token"]
    params = {"params": (None, json.dumps({"client_id": "slicer"}))}
    server.ask("POST", f"/infer/{SEGMENT}?image=a", headers={"Authorization": f"Bearer {entry}"}, files=params)
    server.ask("GET", "/datastore/image?image=..%2Fx%0Ay")
    server.ask("GET", "/info/", headers={})
    wanted = (("user", "Dr. A\nb"), ("image", "../x\ny"), ("status", 401))

    def all_three() -> list[dict]:
        written = [json.loads(line) for line in log.read_text().splitlines()]
        lines = [found[-1] for key, value in wanted if (found := [line for line in written if line.get(key) == value])]
        return lines if len(lines) == len(wanted) else []

    # a line is written when its answer has been sent; on a busy machine in another order
    lines = wait_for("lines of the three requests", all_three, show=log.read_text)
    weights = hashlib.sha256((place / "bundles" / SEGMENT / "models" / "model.pt").read_bytes()).hexdigest()
    expected = {
        "user": "Dr. A\nb",
        "client_id": "slicer",
        "image": "a",
        "model": SEGMENT,
        "weights": weights,
        "status": 200,
    }
    assert expected.items() <= lines[0].items()
    assert [(line["user"], line["status"]) for line in lines[1:]] == [("token", 400), ("anyone", 401)]
    assert lines[1]["image"] == "../x\ny"
    assert {"time", "client", "method", "path", "seconds"} <= lines[2].keys()
    assert server.token not in log.read_text() + server.log.read_text().replace(f"Token: {server.token}", "")


def test_a_data_set_is_downloaded_and_leaves_nothing(server):
    server.save_label("c", "c.png", picture())
    answer = server.ask("GET", "/datastore/dataset")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {"image/c.png", "label/c.png", "metadata.json"} <= set(archive.namelist())
    assert server.uploads() == []


@pytest.fixture(scope="module")
def open_server(place, tmp_path_factory) -> Iterator[LabelServer]:
    """Without a token, for a viewer elsewhere, with all that is closed otherwise, and little time for an inference."""
    folder = tmp_path_factory.mktemp("open")
    (folder / "studies").mkdir()
    (folder / "studies" / "a.png").write_bytes(picture())
    copy_bundle(MAMBA_MIS, folder / "bundles")
    options = ["--no-token", "--allow-origin", "https://viewer.example", "--timeout", "0.001"]
    options += [word for group in ("model", "reload", "logs", "docs") for word in ("--allow", group)]
    with LabelServer(label_python(), folder / "studies", folder / "bundles", folder / "log", *options) as running:
        yield running


def test_an_inference_that_takes_too_long_is_answered_and_leaves_nothing(open_server):
    answer = open_server.infer(SEGMENT, file=Path(open_server.command[4]) / "a.png")
    assert (answer.status_code, "no result within 0.001 s" in answer.text) == (504, True), answer.text
    assert open_server.uploads() == []


def test_the_viewer_that_is_named_is_answered_and_no_other(open_server):
    viewer = {"Origin": "https://viewer.example"}
    answer = open_server.ask("GET", "/info/", headers=viewer)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, viewer["Origin"])
    assert "access-control-allow-credentials" not in answer.headers
    preflight = {**viewer, "Access-Control-Request-Method": "POST"}
    assert open_server.ask("OPTIONS", f"/infer/{SEGMENT}", headers=preflight).status_code == 200
    answer = open_server.ask("GET", "/info/", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


def test_what_is_asked_for_is_open(open_server):
    assert open_server.ask("GET", "/auth/").json()["enabled"] is False
    for method, path in (("GET", "/info/"), ("GET", "/logs/?html=false"), ("GET", "/openapi.json"), ("GET", "/")):
        assert open_server.ask(method, path).status_code == 200, path
    weights = open_server.ask("GET", f"/model/{SEGMENT}").content
    assert open_server.ask("PUT", f"/model/{SEGMENT}", files={"file": ("model.pt", weights)}).status_code == 200
    assert open_server.ask("DELETE", f"/model/{SEGMENT}").status_code == 200
    assert open_server.ask("POST", "/reload").status_code == 200
