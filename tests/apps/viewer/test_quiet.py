"""The process of the viewer talks to its own computer only; whoever asks for more is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medssm_monai.apps.loopback import is_loopback
from medssm_monai.apps.viewer.address import listen

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = """
import socket, sys
from medssm_monai.apps.viewer.quiet import refuse_outgoing_connections
refuse_outgoing_connections()
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname(), timeout=5)
print("own computer")
asked = {
    "tcp": lambda: socket.create_connection(("192.0.2.1", 80), timeout=5),
    "name": lambda: socket.create_connection(("example.org", 80), timeout=5),
    "lookup": lambda: socket.gethostbyname("example.org"),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
    "ipv6": lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
}
for name, ask in asked.items():
    try:
        ask()
    except ConnectionRefusedError as error:
        print(name, "refused" if "the viewer connects to no other computer" in str(error) else error)
"""


def test_every_way_out_is_refused():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert done.returncode == 0, done.stderr
    refused = [f"{name} refused" for name in ("tcp", "name", "lookup", "udp", "ipv6")]
    assert done.stdout.splitlines() == ["own computer", *refused]


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.2", False),
        ("", False),
        ("localhost.evil.example", False),
    ],
)
def test_which_addresses_are_this_computers(host, own):
    assert is_loopback(host) == own


def test_others_cannot_be_let_in():
    with pytest.raises(ValueError, match="has no login; use 127.0.0.1"):
        listen("0.0.0.0", 7860)


def test_a_port_that_is_taken_is_said_to_be():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 is not free"):
            listen("127.0.0.1", port)


def test_without_gradio_the_command_says_how_to_install_it():
    program = (
        "import sys, importlib.util\n"
        "whole = importlib.util.find_spec\n"
        "from medssm_monai.apps.viewer import __main__ as viewer\n"
        "viewer.find_spec = lambda name: None if name == 'gradio' else whole(name)\n"
        "status = viewer.main(['--no-browser'])\n"
        "assert 'torch' not in sys.modules and 'gradio' not in sys.modules\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert done.returncode == 2
    assert "pip install 'medssm-monai[viewer]'" in done.stderr
    assert "Traceback" not in done.stderr
