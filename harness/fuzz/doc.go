// Package fuzz loads random objects with all engines, in guests, and makes those small that
// engines disagree about. Package random makes the objects.
package fuzz
