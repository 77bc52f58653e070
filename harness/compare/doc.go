// Package compare compares what two loads left in the kernel, and explains what may differ.
//
// [States] gives the [Difference]s of two states. The rules in rules.go say
// which of them are expected between two engines, and why. A rule looks at the
// values of both sides, not only at the field, and at facts about the object
// ([Facts]). An explained difference is marked, never removed.
//
// It knows engines by name, where package state knows none.
package compare
