// Package judge turns the results of loading a case into verdicts. [Judge.Case] checks each load
// against what the case expects, and compares each pair of engines. The package also knows which
// objects an engine is known to refuse (refusals.go), so that such a refusal explains a difference.
//
// Begin with [New] and [Judge.Case]. Rules for differences between two loaded states are in package
// compare.
package judge
