// Package ingest brings messages into a MedTech service from where devices send
// them: a built-in MQTT broker, an MQTT broker of others, Kafka (the protocol
// that Event Hubs speaks, too) and NATS JetStream.
//
// All of them follow one rule: a message is acknowledged to its source when it
// is on disk. What was not acknowledged is delivered again; Kafka and JetStream
// name their messages, so that one that comes twice is kept once.
//
// Reading order: source.go (what all sources share), broker.go (the built-in
// broker) with door.go (who may come in) and acks.go, mqtt.go (the client of
// another broker), bus.go (Kafka and NATS, which platform/bus speaks).
package ingest
