# SPDX-License-Identifier: Apache-2.0
# Three images: `cpu`, the one that is built if nobody says otherwise, `cuda`, and `gateway`. Each of the first two holds recurve-server, the
# `recurve` command line, recurve-bench and the bundled model. docs/kubernetes.md tells sizes and what is in them.
#   docker build -t recurve .
#   docker build -t recurve:cuda --target=cuda .
#   docker build -t recurve-gateway --target=gateway .
#   docker run --read-only -p 50051:50051 -p 9090:9090 recurve
#   docker run --read-only -p 50051:50051 -v "$PWD/model:/model:ro" recurve --model=/model --threads=4
#   docker run --read-only -p 50051:50051 --gpus=1 recurve:cuda
#   docker run --read-only -p 8000:8000 recurve-gateway --server=HOST:50051
#   docker run --rm --entrypoint recurve-bench recurve --size --shape=360m --streams=32
# Arguments are flags of recurve-server; they win over /etc/recurve/recurve-server.toml.

FROM debian:bookworm-slim AS build
# What ./run installs to build; `tools/lint image` compares the lists.
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      cmake g++ ninja-build pkg-config \
      libabsl-dev libboost-context-dev libboost-dev libcli11-dev libgmock-dev libgrpc++-dev libgtest-dev libprotobuf-dev libssl-dev nlohmann-json3-dev \
      prometheus-cpp-dev protobuf-compiler protobuf-compiler-grpc \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src

FROM build AS cpu-build
COPY . .
RUN cmake --preset cpu -DRECURVE_BUILD_TESTS=OFF \
    && cmake --build --preset cpu --target recurve-server recurve recurve-bench recurve-gateway \
    && mkdir /out /out-gateway && cd build/cpu/bin && strip -o /out/recurve-server recurve-server \
    && strip -o /out/recurve recurve && strip -o /out/recurve-bench recurve-bench \
    && strip -o /out-gateway/recurve-gateway recurve-gateway

# nvcc comes from PyPI, pinned; neither a card nor a driver is needed. CUDA's runtime is linked in.
FROM build AS cuda-build
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* && python3 -m venv /opt/nvcc
COPY tools/install_nvcc tools/
COPY tests/requirements_cuda.txt tests/
RUN tools/install_nvcc /opt/nvcc
COPY . .
# Cards as CMake names them; sm_80, sm_90a, and PTX for what comes after. Fewer build faster.
ARG CUDA_ARCHITECTURES="80-real;90a-real;90-virtual"
RUN cmake --preset cuda -DRECURVE_NVCC="$(tools/install_nvcc /opt/nvcc)/nvcc" -DRECURVE_CUDA_ARCHITECTURES="$CUDA_ARCHITECTURES" \
    && cmake --build --preset cuda \
    && mkdir /out && cd build/cuda/bin && strip -o /out/recurve-server recurve-server \
    && strip -o /out/recurve recurve && strip -o /out/recurve-bench recurve-bench

FROM debian:bookworm-slim AS runtime
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      libabsl20220623 libgrpc29 libgrpc++1.51 libprometheus-cpp-core1.0 libprotobuf32 libssl3 \
    && rm -rf /var/lib/apt/lists/*
COPY LICENSE /usr/share/doc/recurve/LICENSE
COPY deploy/recurve-server.toml /etc/recurve/recurve-server.toml
COPY models/demo /models/demo

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="recurve" \
      org.opencontainers.image.description="Serves Mixture-of-Recursions language models over gRPC" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"

# By number, so that Kubernetes can tell that it is not root. Nothing is written: any file system may
# be read-only.
USER 10001:10001
# gRPC, metrics, and health in plain text where --health_listen asks for it.
EXPOSE 50051 9090 50052
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["recurve", "health", "--server=127.0.0.1:50051"]
# The server drains on SIGTERM; give it its drain_budget: `docker stop --time=45`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["recurve-server", "--config=/etc/recurve/recurve-server.toml"]

# OpenAI's HTTP API in front of servers (docs/gateway.md). Python renders chat templates.
FROM debian:bookworm-slim AS gateway
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      libabsl20220623 libgrpc29 libgrpc++1.51 libprometheus-cpp-core1.0 libprotobuf32 libssl3 python3 python3-jinja2 \
    && rm -rf /var/lib/apt/lists/*
COPY LICENSE /usr/share/doc/recurve/LICENSE
COPY --from=cpu-build /out-gateway/ /usr/local/bin/
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="recurve-gateway" \
      org.opencontainers.image.description="OpenAI's HTTP API in front of recurve-server" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
# HTTP, and metrics and health where nobody needs a token or TLS.
EXPOSE 8000 9091
# Give it its drain_budget: `docker stop --time=35`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["recurve-gateway", "--listen=0.0.0.0:8000", "--metrics_listen=0.0.0.0:9091", "--log_format=json"]

# The host's driver comes in with the card (NVIDIA's container toolkit, Kubernetes' device plugin). Where there is
# none, the server says so in a sentence and ends.
FROM runtime AS cuda
COPY deploy/recurve-server-cuda.toml /etc/recurve/recurve-server.toml
COPY --from=cuda-build /out/ /usr/local/bin/
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
COPY --from=cpu-build /out/ /usr/local/bin/
