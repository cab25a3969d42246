# drowse in a container: one static program and nothing else.
#
#   docker build -t drowse .
#   docker run -d --name drowse --network proxy -p 8080:8080 \
#     -v /var/run/docker.sock:/var/run/docker.sock \
#     --group-add "$(stat -c %g /var/run/docker.sock)" \
#     -v drowse-data:/data --read-only --tmpfs /run drowse

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# For a named target, so that build scripts and macros are built as usual.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --profile dist --package drowse --target "$target" \
 && install -D -m 0755 "target/$target/dist/drowse" /image/usr/local/bin/drowse \
 && install -d -m 1777 /image/run /image/data

FROM scratch
LABEL org.opencontainers.image.title="drowse" \
      org.opencontainers.image.description="Puts idle containers to sleep and wakes them on the first request" \
      org.opencontainers.image.source="https://github.com/drowse-project/drowse" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image/ /
# Where it listens unless the file or `--listen` says; and its locks and control socket, in a folder
# that it makes itself, whoever it runs as. With a read-only root file system: `--tmpfs /run`.
# What is to be kept over restarts is in a volume, likewise.
ENV DROWSE_LISTEN=0.0.0.0:8080 \
    DROWSE_STATE_DIR=/run/drowse \
    DROWSE_DATA_DIR=/data/drowse
VOLUME /data
# Nobody's. Access to the engine's socket comes by its group (`--group-add`), without root.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# No HEALTHCHECK: a program that answers and cannot reach its engine is to be left running, and some
# proxies in front would take its routes away until the first check.
ENTRYPOINT ["/usr/local/bin/drowse"]
CMD ["run"]
