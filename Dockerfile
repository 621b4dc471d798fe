# SPDX-License-Identifier: Apache-2.0
# The CPU image: recurve-server, the `recurve` command line and the bundled model.
#   docker build -t recurve .
#   docker run --read-only -p 50051:50051 -p 9090:9090 recurve
#   docker run --read-only -p 50051:50051 -v "$PWD/model:/model:ro" recurve --model=/model --threads=4
# Arguments are flags of recurve-server; they win over /etc/recurve/recurve-server.toml.

FROM debian:bookworm-slim AS build
# What ./run installs to build; `tools/lint image` compares the lists.
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      cmake g++ ninja-build pkg-config \
      libabsl-dev libboost-context-dev libboost-dev libcli11-dev libgmock-dev libgrpc++-dev libgtest-dev libprotobuf-dev libssl-dev nlohmann-json3-dev \
      prometheus-cpp-dev protobuf-compiler protobuf-compiler-grpc \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cmake --preset cpu -DRECURVE_BUILD_TESTS=OFF \
    && cmake --build --preset cpu --target recurve-server recurve \
    && strip build/cpu/bin/recurve-server build/cpu/bin/recurve

FROM debian:bookworm-slim
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      libabsl20220623 libgrpc29 libgrpc++1.51 libprometheus-cpp-core1.0 libprotobuf32 libssl3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/build/cpu/bin/recurve-server /src/build/cpu/bin/recurve /usr/local/bin/
COPY LICENSE /usr/share/doc/recurve/LICENSE
COPY deploy/recurve-server.toml /etc/recurve/recurve-server.toml
COPY models/demo /models/demo

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="recurve" \
      org.opencontainers.image.description="Serves Mixture-of-Recursions language models over gRPC, on CPUs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"

# By number, so that Kubernetes can tell that it is not root. Nothing is written: any file system may
# be read-only.
USER 10001:10001
EXPOSE 50051 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["recurve", "health", "--server=127.0.0.1:50051"]
# The server drains on SIGTERM; give it its drain_budget: `docker stop --time=45`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["recurve-server", "--config=/etc/recurve/recurve-server.toml"]
