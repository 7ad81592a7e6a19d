"""One peer of ``benchmarks.scan_peers``: computes the selective scan in an environment of its own.

    PYTHON scan_peer.py NAME        # waits for requests; the names are those of PEERS

Needs numpy and what the peer itself needs, nothing of this project but ``pipe.py`` beside it. Inputs come as a numpy
file with ``u``, ``delta`` ``(B, E, L)``, ``A`` ``(E, N)``, ``B``, ``C`` ``(B, N, L)`` and ``D`` ``(E,)``; each peer
gets them in the layout that it likes best, made before anything is timed. Gradients are those of the output's sum.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

sys.path.append(sys.path.pop(0))  # this folder last: its modules must not be taken for Python's own

import numpy as np
from pipe import seconds, serve

Arrays = Mapping[str, np.ndarray]
LEAVES = ("u", "delta", "A", "B", "C", "D")


class TorchPeer:
    """A scan on tensors; ``scan(u, delta, A, B, C, D)`` takes and returns what :meth:`given` and :meth:`plain` say."""

    package = "torch"
    training = True

    def __init__(self, threads: int) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(threads)

    def versions(self) -> str:
        return f"{self.package} {version(self.package)}, torch {self.torch.__version__}"

    def load(self, arrays: Arrays) -> None:
        self.tensors = [self.torch.from_numpy(arrays[name]) for name in LEAVES]

    def scan(self, *tensors: Any) -> Any:
        raise NotImplementedError

    def plain(self, y: Any) -> Any:
        return y

    def forward(self) -> Any:
        with self.torch.no_grad():
            return self.scan(*self.tensors)

    def backward(self) -> list[Any]:
        leaves = [tensor.detach().requires_grad_() for tensor in self.tensors]
        y = self.scan(*leaves)
        y.backward(self.torch.ones_like(y))
        return [leaf.grad for leaf in leaves]

    def results(self, training: bool) -> dict[str, np.ndarray]:
        found = {"y": self.plain(self.forward()).numpy()}
        if training:
            gradients = self.backward()
            found |= {f"d{name}": self.back(name, g).numpy() for name, g in zip(LEAVES, gradients, strict=True)}
        return found

    def back(self, name: str, gradient: Any) -> Any:
        return self.plain(gradient) if gradient.dim() == 3 else gradient


class Ours(TorchPeer):
    """``medssm_monai``'s scan for the CPU."""

    package = "medssm_monai"

    def versions(self) -> str:
        import medssm_monai

        return f"medssm_monai {medssm_monai.__version__}, torch {self.torch.__version__}"

    def scan(self, *tensors: Any) -> Any:
        from medssm_monai.ops import selective_scan

        return selective_scan(*tensors, backend="native")


class MambaPy(TorchPeer):
    """mambapy's parallel scan, as its ``selective_scan`` calls it, in its own layout ``(B, L, E)``."""

    package = "mambapy"

    def load(self, arrays: Arrays) -> None:
        super().load(arrays)
        self.tensors = [t.transpose(1, 2).contiguous() if t.dim() == 3 else t for t in self.tensors]

    def scan(self, u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any) -> Any:
        from mambapy.pscan import pscan

        decay = self.torch.exp(delta.unsqueeze(-1) * A)
        inputs = delta.unsqueeze(-1) * B.unsqueeze(2) * u.unsqueeze(-1)
        return (pscan(decay, inputs) @ C.unsqueeze(-1)).squeeze(3) + D * u

    def plain(self, y: Any) -> Any:
        return y.transpose(1, 2)


class Intel(TorchPeer):
    """The operator of Intel's extension for PyTorch; forward alone."""

    package = "intel_extension_for_pytorch"
    training = False

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import intel_extension_for_pytorch  # noqa: F401  # registers the operator

    def scan(self, u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any) -> Any:
        y = self.torch.ops.torch_ipex.selective_scan_fn(u, delta, A, B, C, D, None, None, False, False)
        return y[0] if isinstance(y, (tuple, list)) else y


class Jax:
    """``jax.lax.scan`` over the tokens, eight to a step of its loop, compiled."""

    training = True

    def __init__(self, threads: int) -> None:
        import jax

        self.jax = jax
        self.call = jax.jit(self.scan)
        self.gradients = jax.jit(jax.grad(lambda *given: self.scan(*given).sum(), argnums=tuple(range(6))))

    def versions(self) -> str:
        return f"jax {self.jax.__version__}"

    def load(self, arrays: Arrays) -> None:
        time_first = {name: np.moveaxis(arrays[name], -1, 0) for name in ("u", "delta", "B", "C")}  # (L, B, E or N)
        arrays = {**arrays, **time_first}
        self.arrays = [self.jax.numpy.asarray(np.ascontiguousarray(arrays[name])) for name in LEAVES]

    def scan(self, u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any) -> Any:
        jnp = self.jax.numpy

        def step(state: Any, token: Any) -> tuple[Any, Any]:
            x, dt, b, c = token  # (B, E), (B, E), (B, N), (B, N)
            state = jnp.exp(dt[..., None] * A) * state + (dt * x)[..., None] * b[:, None]
            return state, (state * c[:, None]).sum(-1) + D * x

        start = jnp.zeros((*u.shape[1:], A.shape[1]), u.dtype)
        return self.jax.lax.scan(step, start, (u, delta, B, C), unroll=8)[1]

    def forward(self) -> Any:
        return self.jax.block_until_ready(self.call(*self.arrays))

    def backward(self) -> Any:
        return self.jax.block_until_ready(self.gradients(*self.arrays))

    def results(self, training: bool) -> dict[str, np.ndarray]:
        found = {"y": np.moveaxis(np.asarray(self.forward()), 0, -1)}
        if training:
            for name, gradient in zip(LEAVES, map(np.asarray, self.backward()), strict=True):
                found[f"d{name}"] = np.moveaxis(gradient, 0, -1) if gradient.ndim == 3 else gradient
        return found


class JaxAssociative(Jax):
    """``jax.lax.associative_scan`` over all states at once, compiled."""

    def scan(self, u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any) -> Any:
        jnp = self.jax.numpy
        decay = jnp.exp(delta[..., None] * A)  # (L, B, E, N)
        inputs = (delta * u)[..., None] * B[:, :, None]

        def join(left: Any, right: Any) -> tuple[Any, Any]:
            return left[0] * right[0], right[0] * left[1] + right[1]

        states = self.jax.lax.associative_scan(join, (decay, inputs))[1]
        return (states * C[:, :, None]).sum(-1) + D * u


PEERS: dict[str, Callable[[int], Any]] = {
    "ours": Ours,
    "mambapy": MambaPy,
    "intel": Intel,
    "jax-scan": Jax,
    "jax-associative": JaxAssociative,
}


def main() -> None:
    """Answer requests for one peer."""
    peer: Any = None

    def start(threads: int) -> dict[str, Any]:
        nonlocal peer
        peer = PEERS[sys.argv[1]](threads)
        return {"versions": peer.versions(), "training": peer.training, "python": sys.version.split()[0]}

    def load(path: str) -> None:
        with np.load(path) as file:
            peer.load({name: file[name] for name in LEAVES})

    def results(path: str, training: bool) -> None:
        np.savez(path, **peer.results(training))

    def time(training: bool) -> float:
        return seconds(peer.backward if training else peer.forward)

    serve({"start": start, "load": load, "results": results, "time": time})


if __name__ == "__main__":
    main()
