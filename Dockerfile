# The image runs `reeldex`: docker build -t reeldex . && docker run --gpus all -v /videos:/videos -v /features:/features \
#   reeldex extract /videos --store /features
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/reeldex
COPY requirements.lock ./
RUN pip install --no-cache-dir "uv>=0.9,<1" \
    && uv pip install --system --no-cache --require-hashes -r requirements.lock

COPY pyproject.toml README.md LICENSE pipeline.yaml ./
COPY src src
COPY extractors extractors
COPY storage storage
COPY embedding embedding
COPY search search
COPY flows flows
RUN uv pip install --system --no-cache --no-deps .

# Weights, converted networks, word vectors, and Prefect's own state are kept where /cache is a volume.
ENV TORCH_HOME=/cache/torch XDG_CACHE_HOME=/cache XDG_STATE_HOME=/cache/state PREFECT_HOME=/cache/prefect
VOLUME ["/cache"]

ENTRYPOINT ["reeldex"]
CMD ["--help"]
