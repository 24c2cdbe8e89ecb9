# A static binary in an empty image, run by a user without rights.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /out/hygeia ./cmd/hygeia \
 && mkdir -p /out/data /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/hygeia /hygeia
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/tmp /tmp
USER 65532:65532
ENV HYGEIA_DATA=/data
VOLUME /data
EXPOSE 8080
# This version has no authentication and listens on loopback only: run the
# container with --network=host.
ENTRYPOINT ["/hygeia"]
CMD ["serve", "--insecure"]
