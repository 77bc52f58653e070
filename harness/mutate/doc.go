// Package mutate breaks loads on purpose, to test that the comparison detects it. Each mutation
// makes one load differ from a direct load, and declares which field of the comparison must show
// it. Begin reading at table.go, which lists them.
//
// There are three kinds:
//
//   - of a trace: a command is dropped, moved or changed before the trace becomes a loader program,
//     like a bug in the planner;
//   - of a loader program: its instructions or its blob are changed after they were emitted, like a
//     bug in the emitter;
//   - of a state: one field of a captured state is changed before the comparison, which shows whether
//     the comparison looks at the field. These are derived from the type of the state: a new field
//     has a mutation at once, and a field that is not compared is detected.
//
// A mutation must change something in its case. It counts as caught only if the comparison reports
// what the mutation declares: a field that differs and that no rule explains, a refusal that names
// the thing, or something left behind. If a rule for explained differences explains the difference,
// the mutation is not caught, and the rule is too wide.
package mutate
