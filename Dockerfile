# syntax=docker/dockerfile:1
# Two images from one file. docs/deployment.md says how to run them; `python -m tools.images` checks them without Docker.
#
#   docker build --target cuda --tag reeldex:cuda .
#   docker build --target cpu --tag reeldex:cpu .        # without CUDA libraries
#
# Layers of an image, what changes least first: ffmpeg and Python, PyTorch, all other packages, reeldex. A change of the
# code rebuilds and transfers the last one alone; the second and the third are built independently of each other.
ARG DEBIAN=bookworm-slim

FROM debian:${DEBIAN} AS system
# Versions of Debian's packages: those of the release, with its security updates. Drivers for drawing on a display, which
# come with ffmpeg's player, are left out: 160 MB.
# hadolint ignore=DL3008
RUN printf 'path-exclude /usr/lib/*-linux-gnu/%s\n' 'dri/*' 'libLLVM-*' 'libz3.*' > /etc/dpkg/dpkg.cfg.d/no-display \
    && apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates ffmpeg python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    && groupadd --gid 10001 reeldex \
    && useradd --uid 10001 --gid 10001 --home-dir /cache --no-create-home --shell /usr/sbin/nologin reeldex \
    && install --directory --owner 10001 --group 10001 /cache /store /work

FROM system AS base
# All that is written goes to the volumes: the root file system may be read-only, and the user any.
ENV PATH=/opt/app/bin:/opt/packages/bin:$PATH \
    HOME=/cache \
    XDG_CACHE_HOME=/cache \
    XDG_STATE_HOME=/cache/state \
    TORCH_HOME=/cache/torch \
    PREFECT_HOME=/cache/prefect \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
VOLUME ["/cache", "/store"]
WORKDIR /work
# Of a service, set REELDEX_HEALTH_URL to an address that it serves.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-m", "reeldex.cli.health"]
ENTRYPOINT ["reeldex"]
CMD ["--help"]

FROM system AS tools
# hadolint ignore=DL3008,DL3009
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir "uv>=0.9,<1"
ENV UV=/opt/uv/bin/uv \
    UV_NO_CACHE=1 \
    UV_COMPILE_BYTECODE=1

# The target cpu takes PyTorch from wheels in a folder, without its index, with --build-context wheels=FOLDER.
FROM scratch AS wheels

FROM tools AS torch-cpu
COPY requirements-torch.lock tools/install_torch.sh /build/
# Without PyTorch's own tests and headers, which only extensions in C++ need.
RUN --mount=type=bind,from=wheels,target=/wheels \
    WHEELS=/wheels sh /build/install_torch.sh cpu /build/requirements-torch.lock --target /opt/torch \
    && rm -rf /opt/torch/torch/test /opt/torch/torch/include \
    && find /opt/torch/torch/bin -type f ! -name torch_shm_manager -delete

FROM tools AS torch-cuda
COPY requirements-torch.lock tools/install_torch.sh /build/
RUN sh /build/install_torch.sh cuda /build/requirements-torch.lock --target /opt/torch

# An environment that also finds /opt/torch and /opt/app. Debian's ffmpeg replaces the one of a package.
FROM tools AS packages
COPY requirements-run.lock /build/
RUN $UV venv --quiet --python /usr/bin/python3 /opt/packages \
    && export VIRTUAL_ENV=/opt/packages \
    && $UV pip install --quiet --no-deps --require-hashes -r /build/requirements-run.lock \
    && $UV pip uninstall --quiet imageio-ffmpeg \
    && find /opt/packages -type d -name tests -prune -exec rm -rf {} + \
    && printf '/opt/app\n/opt/torch\n' > "$(/opt/packages/bin/python -c 'import site; print(site.getsitepackages()[0])')/layers.pth"

FROM packages AS app
COPY . /build/
RUN VIRTUAL_ENV=/opt/packages $UV pip install --quiet --no-deps --target /opt/app /build

FROM base AS cpu
COPY --from=torch-cpu /opt/torch /opt/torch
COPY --from=packages /opt/packages /opt/packages
COPY --from=app /opt/app /opt/app

FROM base AS cuda
# Triton compiles the launchers of its kernels when they are first used.
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev python3-dev \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
USER 10001:10001
COPY --from=torch-cuda /opt/torch /opt/torch
COPY --from=packages /opt/packages /opt/packages
COPY --from=app /opt/app /opt/app
# What the NVIDIA container runtime makes visible.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
