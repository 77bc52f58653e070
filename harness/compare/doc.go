// Package compare compares the states that two loads leave in the kernel, and explains the
// differences that a rule predicts.
//
// Begin with [States], which returns the [Difference]s of two states. The table in rules.go holds
// the rules: each names two engines, the fields it is about, and the reason. A rule matches on the
// values of both sides and on facts about the object ([Facts]), not only on the field. An explained
// difference is marked, never removed.
//
// This package knows engines by name. Package state, which captures states, does not.
package compare
