"""NVIDIA's Multi-Process Service: kernels of several processes on one GPU at once instead of in turns."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

from resdeg.errors import ResdegError

CONTROL = "nvidia-cuda-mps-control"
SECONDS = 30  # The daemon answers within one.


@dataclass
class Service:
    """A daemon of one's own, which only processes with its `variables` use.

    variables: the environment variables that a process must have before it touches CUDA.
    """

    folder: tempfile.TemporaryDirectory[str]
    variables: dict[str, str]

    @classmethod
    def start(cls) -> Service:
        """Starts the daemon; whoever has a CUDA driver may do that.

        Raises:
            ResdegError: the program is not there, or refuses.
        """
        folder = tempfile.TemporaryDirectory(prefix="mps-")
        variables = {"CUDA_MPS_PIPE_DIRECTORY": folder.name, "CUDA_MPS_LOG_DIRECTORY": folder.name}
        service = cls(folder, variables)
        try:
            service._call("-d")
        except (OSError, subprocess.SubprocessError) as error:
            folder.cleanup()
            raise ResdegError(f"{CONTROL} does not start: {error}") from error
        return service

    def stop(self) -> None:
        """Ends the daemon and its server; their processes have left."""
        try:
            self._call(input_text="quit\n")
        except (OSError, subprocess.SubprocessError):
            pass  # It has ended by itself.
        finally:
            self.folder.cleanup()

    def _call(self, *arguments: str, input_text: str = "") -> None:
        subprocess.run(
            [CONTROL, *arguments], input=input_text, text=True, check=True, timeout=SECONDS,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **self.variables},
        )  # fmt: skip


def is_there() -> bool:
    """Says whether this machine has the program that starts the service."""
    return shutil.which(CONTROL) is not None
