# A static binary in an empty image, run by a user without rights:
#
#   docker build -t hygeia --build-arg VERSION=$(git describe --tags --always) .
#   docker run -d --name hygeia -p 127.0.0.1:8080:8080 -v hygeia:/data hygeia
#   docker exec hygeia /hygeia token
FROM golang:1.26 AS build
ARG VERSION=devel
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/hygeia ./cmd/hygeia \
 && mkdir -p /out/data /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/hygeia /hygeia
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/tmp /tmp
USER 65532:65532
# Inside the container it listens on all addresses; which of them others reach is
# said where the port is published.
ENV HYGEIA_DATA=/data HYGEIA_LISTEN=0.0.0.0:8080
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["/hygeia"]
CMD ["serve"]
