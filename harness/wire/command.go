package wire

import (
	"os"
	"syscall"
	"time"
)

// Command is a program to run in the guest.
type Command struct {
	Path string   `json:"path"`
	Args []string `json:"args"` // the first is what the program is called
	Dir  string   `json:"dir"`  // working directory
	Env  []string `json:"env,omitempty"`
	// Terminal is the size of the terminal that it is to have as standard input,
	// output and error, nil for pipes.
	Terminal *Size `json:"terminal,omitempty"`
	// OneOutput: what it writes as standard output and error goes the same way, in the
	// order in which it is written.
	OneOutput bool `json:"one_output,omitempty"`
	// Times are when files were changed last, of those that the guest has from the start
	// as well.
	Times []FileTime `json:"times,omitempty"`
	// Files are made before it starts, with the directories that they are in.
	Files []File `json:"files,omitempty"`
	// Get are files and directories to be sent back after its end.
	Get []string `json:"get,omitempty"`
	// GetMore are those of Get that need not be there.
	GetMore []string `json:"get_more,omitempty"`
	// Certs are certificates (X.509, DER) for root's user keyring, for loads that the
	// program asks the kernel to verify.
	Certs [][]byte `json:"certs,omitempty"`
	// HostRoot is the virtiofs tag of the file system that it has as its root,
	// which it may change in memory only; empty for the guest's own root. Paths
	// begin there, then.
	HostRoot string `json:"host_root,omitempty"`
	// Shares are directories of the host that it may change.
	Shares []Share `json:"shares,omitempty"`
	// Network: the guest has a card, and the host is at [hostport.HostAddress].
	Network bool `json:"network,omitempty"`
}

// Share is a directory of the host.
type Share struct {
	Tag  string `json:"tag"`  // of its virtiofs
	Path string `json:"path"` // where the program finds it
}

// Size is that of a terminal, in characters.
type Size struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}

// File is a file that the host puts into the guest: a regular file, a directory or
// a symbolic link.
type File struct {
	Path string      `json:"path"` // absolute
	Mode os.FileMode `json:"mode"`
	Data []byte      `json:"data,omitempty"` // contents, or where the link leads
	// Size is how many bytes of contents follow the Request, those of all files one
	// after another; Data is empty then.
	Size int64 `json:"size,omitempty"`
}

// FileTime is when a file was changed last.
type FileTime struct {
	Path     string    `json:"path"`
	Modified time.Time `json:"modified"`
}

// Input follows a Command: what the program reads, or the new size of its
// terminal. The host sends no more than Window of those with Data ahead of those
// that were Taken. After Output.Ended it sends a last Input, with Over, and the
// agent waits for its next Request.
type Input struct {
	Data []byte `json:"data,omitempty"`
	EOF  bool   `json:"eof,omitempty"` // there is no more to read
	Size *Size  `json:"size,omitempty"`
	Over bool   `json:"over,omitempty"`
	// Signal is sent to the program's process group.
	Signal syscall.Signal `json:"signal,omitempty"`
	// Hangs: the program has had its time. The agent answers with Output.Hangs, and a Go
	// program writes where its goroutines are.
	Hangs bool `json:"hangs,omitempty"`
}

// Window is how many Inputs with data may be under way.
const Window = 16

// Output answers a Command, many times: what the program writes, as it writes
// it, and at last how it ended. What a terminal shows is Stdout.
type Output struct {
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	Taken  bool   `json:"taken,omitempty"` // the data of an Input is the program's now, or not wanted
	Got    []byte `json:"got,omitempty"`   // part of a tar archive of Command.Get, paths without their first slash
	Ended  *Ended `json:"ended,omitempty"`
	Hangs  *Hangs `json:"hangs,omitempty"`
}

// Hangs says where the guest's processes are. The last one has Done, unless Ended comes before.
type Hangs struct {
	Lines []string `json:"lines,omitempty"`
	Done  bool     `json:"done,omitempty"`
}

// Ended is how a program came to its end.
type Ended struct {
	Status int            `json:"status"`            // exit status
	Signal syscall.Signal `json:"signal,omitempty"`  // that ended it, if one did
	Error  string         `json:"error,omitempty"`   // why it did not start
	GetErr string         `json:"get_err,omitempty"` // why not all of Command.Get was sent
}
