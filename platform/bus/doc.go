// Package bus speaks to message brokers of others: Kafka (the protocol that Event
// Hubs speaks, too) and NATS JetStream. It reads messages for those who want to
// keep them, and writes messages so that the broker has them on disk.
//
// Nothing is lost on either way: a message that was read is acknowledged when
// its taker says that it is kept, and one that was written is written when the
// broker says so. Both may come twice; a message that was read has a name, by
// which its taker knows it again.
//
// Reading order: options.go, read.go (the contract of reading), write.go (that of
// writing), kafka.go, nats.go. bustest starts brokers for tests.
package bus
