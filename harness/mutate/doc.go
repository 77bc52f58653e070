// Package mutate breaks loads on purpose. A harness is worth what it catches:
// each mutation of this package makes one load do something else than a direct
// load does, and says which field of the comparison has to tell.
//
// There are three kinds:
//
//   - of a trace: a command is dropped, moved or changed before the trace
//     becomes a loader program, as if the planner had a fault;
//   - of a loader program: its instructions or its blob are changed after they
//     were emitted, as if the emitter had a fault;
//   - of a state: one field of a captured state is changed on its way to the
//     comparison, as if the comparison were blind to it. These are made from the
//     type of the state itself: a field that is added to it has a mutation at
//     once, and one that nobody compares is found out.
//
// A mutation has to bite, that is, to change something in the case that it is
// for, and it counts as caught only if what tells is what it declares: a field
// that differs and that no rule explains, a refusal that names the thing, or
// something left behind. A difference that a rule for explained differences
// swallows is not caught, and the rule is too wide.
package mutate
