"""Which backend runs: automatic, forced, refused, missing."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
import threading

import pytest
import torch

from medssm_monai.ops import BACKEND_ENV, available_backends, backend_for, selection, selective_scan, use_backend
from medssm_monai.ops.backends import BACKENDS

FLOAT = torch.zeros(1)


@pytest.fixture
def missing_native(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = dataclasses.replace(BACKENDS["native"], missing="the package 'numba' is not installed")
    monkeypatch.setitem(BACKENDS, "native", broken)
    monkeypatch.setattr(selection, "_warned", set())


def arguments(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    shapes = [(1, 4, 9), (1, 4, 9), (4, 2), (1, 2, 9), (1, 2, 9)]
    return [torch.rand(shape, dtype=dtype) * (-1 if len(shape) == 2 else 1) for shape in shapes]


def test_default_on_cpu() -> None:
    assert available_backends()["reference"] is None
    assert backend_for(FLOAT) == ("blocked" if available_backends()["native"] else "native")
    assert backend_for(FLOAT.bfloat16()) == backend_for(FLOAT)
    assert backend_for(FLOAT.double()) == "blocked"


def test_default_elsewhere() -> None:
    assert backend_for(torch.zeros(1, device="meta")) == "blocked"


def test_context_manager_nests_and_restores() -> None:
    before = backend_for(FLOAT)
    with use_backend("reference"):
        assert backend_for(FLOAT) == "reference"
        with use_backend("auto"):
            assert backend_for(FLOAT) == before
        assert backend_for(FLOAT) == "reference"
    assert backend_for(FLOAT) == before


def test_context_manager_is_of_this_thread() -> None:
    seen = []
    with use_backend("reference"):
        thread = threading.Thread(target=lambda: seen.append(backend_for(FLOAT)))
        thread.start()
        thread.join()
    assert seen == [backend_for(FLOAT)]
    assert seen != ["reference"]


def test_environment_comes_after_context_and_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKEND_ENV, "reference")
    assert backend_for(FLOAT) == "reference"
    assert backend_for(FLOAT, backend="blocked") == "blocked"
    with use_backend("blocked"):
        assert backend_for(FLOAT) == "blocked"


def test_unknown_names_are_errors_that_list_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown scan backend 'fast'.*blocked"), use_backend("fast"):
        pass
    with pytest.raises(ValueError, match="unknown scan backend 'fast' .argument"):
        selective_scan(*arguments(), backend="fast")
    monkeypatch.setenv(BACKEND_ENV, "fast")
    with pytest.raises(ValueError, match=f"unknown scan backend 'fast'.*{BACKEND_ENV}"):
        selective_scan(*arguments())


def test_a_forced_backend_that_cannot_serve_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="'native' was asked for .*float64"):
        selective_scan(*arguments(torch.float64), backend="native")
    with use_backend("native"), pytest.raises(RuntimeError, match="runs on .'cpu'."):
        backend_for(torch.zeros(1, device="meta"))


def test_without_numba_the_choice_falls_to_blocked_with_one_warning(
    missing_native: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert "numba" in available_backends()["native"]
    with caplog.at_level(logging.WARNING, logger="medssm_monai"):
        results = [selective_scan(*arguments()) for _ in range(3)]
    assert results[0].shape == (1, 4, 9)
    assert [r.getMessage() for r in caplog.records if "'native' is not available" in r.getMessage()].__len__() == 1
    with pytest.raises(RuntimeError, match="numba"):
        selective_scan(*arguments(), backend="native")


def test_importing_the_package_imports_no_compiler() -> None:
    code = "import sys, medssm_monai.ops; print([m for m in ('numba', 'llvmlite', 'triton') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def mamba_ssm_is_missing(path) -> str:
    """What the list of backends says of ``mamba_ssm`` in a process whose packages include those of a folder."""
    words = "from medssm_monai.ops import available_backends; print(available_backends()['mamba_ssm'])"
    program = f"import sys; sys.path.insert(0, {str(path)!r}); {words}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_mamba_ssm_without_its_kernel_says_why_and_how_to_get_it(tmp_path) -> None:
    (tmp_path / "mamba_ssm").mkdir()
    (tmp_path / "mamba_ssm" / "__init__.py").touch()
    said = mamba_ssm_is_missing(tmp_path)
    assert "installed without its extension 'selective_scan_cuda'" in said
    assert "MAMBA_KEEP_CUDA_BUILD=TRUE pip install" in said
    (tmp_path / "selective_scan_cuda.py").touch()
    assert mamba_ssm_is_missing(tmp_path).strip() == "None"
