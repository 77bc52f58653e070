// Package enginename knows engines by their names: which there are, which have to agree, and what
// they need on the host and in a guest. Package engine has what they do.
package enginename
