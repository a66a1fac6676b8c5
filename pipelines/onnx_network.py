"""An ONNX model as a network: the same call, another engine. Runs in the jail and on the processor only."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn


class OnnxNetwork(nn.Module):
    """A judged ONNX model that takes an image batch (1, channels, ...) and returns what its output is."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        super().__init__()
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Predict; whatever the engine complains about is a failed case for the caller."""
        given = np.ascontiguousarray(image.numpy(), dtype=np.float32)
        return torch.from_numpy(np.asarray(self._session.run(None, {self._input: given})[0]))
