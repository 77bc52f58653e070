// Package baseline reads and writes what a suite came to on a kernel when somebody last looked. A
// run that is compared with it fails on what has become worse, and on nothing else.
package baseline
