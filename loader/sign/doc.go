// Package sign signs loader programs and verifies their signatures. It needs no kernel.
// Running signed loader programs is for package replay; docs/signing.md says what a
// signature covers.
package sign
