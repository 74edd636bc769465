"""Runtimes that compute the features of clips.

- `network.py`: the protocol that a runtime implements.
- `openvino.py`, `openvino_core.py`: OpenVINO on a CPU; `converted.py`: converted models, cached on disk.
- `pytorch.py`: PyTorch on a CPU or a CUDA device.
"""
