"""What computes the features of clips: OpenVINO on a CPU, PyTorch on a CPU or a CUDA device. One file each."""
