// Package run proves on real kernels that a loader program does what a
// direct load does: it boots a guest, has its agent load each object of a
// suite with each engine, compares the states that result, and gives a verdict
// for each case and pair of engines.
//
//	cases, err := suite.Read("selftests/cases.yaml")
//	report, err := run.Suite(ctx, cases, run.Options{Config: guest.Config{Kernel: kernel, ...}})
//	report.OK() // every verdict equal, explained or an allowed unsupported
//
// A run has workers, each of which owns one guest at a time and takes the next case
// that nobody has begun. A case that breaks the guest has the verdict broken, with
// the last lines of the console; the worker goes on in a new guest. So it does
// after a complaint of the kernel, which is laid at the door of a case by marks in
// the kernel's log. A case that fails is run once more, alone in a new guest, and
// leaves a folder: see Options.Keep. Only a kernel with which no guest ever says
// hello ends a run.
//
// Matrix does so on several kernels, some at the same time: a fetcher gets one
// kernel after the other, and as many workers as the budget has room for guests
// take what is ready. What all guests take together is bounded by the Budget.
// Machines share the work by running a Shard each.
package run
