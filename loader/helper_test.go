package loader_test

// runAsHelper does what a test asks of another process, if this is one.
func runAsHelper() {}
