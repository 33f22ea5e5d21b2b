# vipprobe in an image of its own: the static binary, and the certificates that TLS modules and HTTP discovery verify with.
#
#   docker build -t vipprobe .
#   docker run --rm --network host vipprobe probe 192.0.2.10:443
#
# It runs as nobody, which is enough for bursts of kernel connects. Raw SYNs and captures need CAP_NET_RAW, and a process that is
# not root gets no capability from --cap-add (only the bounding set grows), so give it root without everything else:
#
#   docker run --rm --network host --user 0 --cap-drop ALL --cap-add NET_RAW vipprobe diagnose 192.0.2.10:443
#
# Use the host's network: through the bridge's own NAT a probe measures that NAT as well.

FROM golang:1.26 AS build
WORKDIR /src
# the modules by themselves, so that a change of sources does not fetch them again
COPY go.mod go.sum ./
RUN go mod download
# .git as well: the toolchain records version and commit from it
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/vipprobe ./cmd/vipprobe

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /out/vipprobe /vipprobe
LABEL org.opencontainers.image.title="vipprobe" \
      org.opencontainers.image.description="Why connections to a VIP stall, and the proof" \
      org.opencontainers.image.source="https://github.com/vipprobe/vipprobe" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65534:65534
EXPOSE 19115
ENTRYPOINT ["/vipprobe"]
CMD ["serve", "--config.file=/etc/vipprobe/vipprobe.yml"]
