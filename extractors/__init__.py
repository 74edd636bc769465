"""Turns video files into feature arrays. Independent of Prefect, HDF5 and captions.

- `engine.py`: decoding ahead, batching, networks and results; `batching.py`, `clips.py`: batches and clips.
- `decode.py`: one ffmpeg process per video; `sampling.py`, `sample_clock.py`, `frame_stream.py`: its filters and pipes.
- `pictures.py`, `tone_map.py`, `colour.py`: size, shape and colours of a video's pictures; HDR.
- `ffmpeg.py`, `ffmpeg_process.py`: options for untrusted input, and how ffmpeg is started.
- `spans.py`: clips of a file, cut from its frames.
- `probe.py`, `description.py`: container metadata; `thumbnail.py`: a small picture of a video.
- `file_kinds.py`, `jpeg_files.py`: what a file is that contains no video; photos and motion JPEG.
- `registry.py`, `spec.py`: the extractors and what defines them; `fingerprint.py`: the fingerprint of a feature space.
- `resnet152.py`, `resnet2d.py`, `resnext101.py`: the networks; `modules.py`, `batch_norms.py`: their modules with
  weights; `other_networks.py`: what is tried of those of other packages.
- `network.py`, `runtimes/`: networks ready to run, computed by PyTorch or OpenVINO; `preprocess.py`: normalisation.
- `weights.py`, `file_hashes.py`: published weights; `random_weights.py`, `random_weights_cache.py`: random weights.
- `frames.py`, `errors.py`, `options.py`: values, errors and options.
- `samples.py`, `synthetic.py`: sample videos and a synthetic data set.
"""
