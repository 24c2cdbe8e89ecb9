// Package eventshttp is the edge of the room of events: the pull cursor and its
// stream below /{workspace}/events, the address that ends a handshake by hand,
// and the event subscriptions of the management API.
package eventshttp
