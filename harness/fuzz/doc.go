// Package fuzz loads random objects with all engines in guests, and shrinks the objects on which
// engines disagree. Begin with [Run]. Package random generates the objects.
package fuzz
