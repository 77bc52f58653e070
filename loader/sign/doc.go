// Package sign signs loader programs and verifies their signatures. It needs no kernel. The kernel
// verifies a signature when the signed loader program is loaded (6.18): see LoadOptions.Keyring of
// package loader. docs/signing.md explains what a signature covers.
//
//	a, err := artefact.ReadFile("filter.bpfreplay")
//	err = sign.Sign(a, key, cert)                // for all kernels
//	file, err := a.MarshalBinary()               // the signed file
//
// [Sign] signs with a key that this process can use. If the key is elsewhere, sign the digests of
// [Requests] there, and store the answers with [Attach].
//
// Kernels check signed loader programs in different ways, which are called contracts: "a",
// "a-marker" and "b". A file can have a signature for each.
package sign
