// Package wire defines the messages between the host and the agent in a guest, and the names that
// both sides share.
//
// The protocol is lines of JSON over a virtio-serial port. The agent sends one [Hello] when it is
// ready. The host sends a [Request] and reads what answers it, and so on.
package wire
