// Package run proves on real kernels that a loader program does what a direct load does. It boots a
// guest, has its agent load each object of a suite with each engine, compares the resulting states,
// and gives a verdict for each case and pair of engines.
//
//	cases, err := suite.Read("selftests/cases.yaml")
//	report, err := run.Suite(ctx, cases, run.Options{Config: guest.Config{Kernel: kernel, ...}})
//	report.OK() // every verdict equal, explained or an allowed unsupported
//
// Begin reading at Suite (run.go), then worker.go. A run has workers. Each owns one guest at a time
// and takes the next case from a queue. A case that breaks the guest gets the verdict broken, with
// the last lines of the console, and the worker goes on in a new guest. It does the same after a
// complaint of the kernel; marks in the kernel's log attribute the complaint to a case. A case that
// fails is run once more, alone in a new guest, and leaves a folder: see Options.Keep. A run only
// fails as a whole if no guest ever says hello on its kernel.
//
// Matrix runs a suite on several kernels, some at the same time. One goroutine fetches the kernels
// one after the other, and workers, as many as the budget has room for guests, run those that are
// ready. The Budget bounds what all guests use together. Machines share the work by running a Shard
// each.
package run
