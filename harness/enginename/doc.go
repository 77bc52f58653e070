// Package enginename knows engines by name: which engines exist, which pairs must agree, and what
// they need on the host and in a guest. Package engine implements them.
package enginename
