package wire

import (
	"os"
	"syscall"
	"time"
)

// Command is a program to run in the guest.
type Command struct {
	Path string   `json:"path"`
	Args []string `json:"args"` // including the name of the program, argv[0]
	Dir  string   `json:"dir"`  // working directory
	Env  []string `json:"env,omitempty"`
	// Terminal is the size of the terminal that the program gets as standard input, output and
	// error, nil for pipes.
	Terminal *Size `json:"terminal,omitempty"`
	// OneOutput: standard output and error share one pipe, which keeps their order.
	OneOutput bool `json:"one_output,omitempty"`
	// Times are modification times to set, also of files that the guest has from the start.
	Times []FileTime `json:"times,omitempty"`
	// Files are created before the program starts, with their parent directories.
	Files []File `json:"files,omitempty"`
	// Get are files and directories to send back after the program has ended.
	Get []string `json:"get,omitempty"`
	// GetMore are those of Get that may be missing.
	GetMore []string `json:"get_more,omitempty"`
	// Certs are certificates (X.509, DER) to add to root's user keyring, for signed loads by the
	// program.
	Certs [][]byte `json:"certs,omitempty"`
	// HostRoot is the virtiofs tag of the program's root file system, which it can change in memory
	// only. Paths are then relative to that root. If empty the program gets the guest's own root.
	HostRoot string `json:"host_root,omitempty"`
	// Shares are directories of the host that the program may change.
	Shares []Share `json:"shares,omitempty"`
	// Network: the guest has a network card and reaches the host at [hostport.HostAddress].
	Network bool `json:"network,omitempty"`
}

// Share is a directory of the host that is mounted in the guest.
type Share struct {
	Tag  string `json:"tag"`  // its virtiofs tag
	Path string `json:"path"` // its mount point
}

// Size is the size of a terminal, in characters.
type Size struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}

// File is a file that the host puts into the guest: a regular file, a directory or a symbolic link.
type File struct {
	Path string      `json:"path"` // absolute
	Mode os.FileMode `json:"mode"`
	Data []byte      `json:"data,omitempty"` // contents, or the target of a link
	// Size is the number of bytes of contents that follow the Request; the contents of all files
	// follow one another. Data is then empty.
	Size int64 `json:"size,omitempty"`
}

// FileTime is a file's modification time.
type FileTime struct {
	Path     string    `json:"path"`
	Modified time.Time `json:"modified"`
}

// Input follows a Command: input for the program, or the new size of its terminal. The host has at
// most Window Inputs with Data that the agent has not confirmed with Taken. After Output.Ended it
// sends a last Input, with Over, and the agent waits for the next Request.
type Input struct {
	Data []byte `json:"data,omitempty"`
	EOF  bool   `json:"eof,omitempty"` // end of the input
	Size *Size  `json:"size,omitempty"`
	Over bool   `json:"over,omitempty"`
	// Signal is a signal to send to the program's process group.
	Signal syscall.Signal `json:"signal,omitempty"`
	// Hangs: the program has exceeded its time. The agent answers with Output.Hangs; a Go program
	// also prints the stacks of its goroutines.
	Hangs bool `json:"hangs,omitempty"`
}

// Window is the most Inputs with data that may be unconfirmed.
const Window = 16

// Output answers a Command, many times: the program's output, and at last how it ended. The output
// of a terminal is in Stdout.
type Output struct {
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	Taken  bool   `json:"taken,omitempty"` // confirms an Input with data
	Got    []byte `json:"got,omitempty"`   // part of a tar archive of Command.Get, paths without the leading slash
	Ended  *Ended `json:"ended,omitempty"`
	Hangs  *Hangs `json:"hangs,omitempty"`
}

// Hangs lists where the guest's processes are. The last one has Done, unless Ended comes before.
type Hangs struct {
	Lines []string `json:"lines,omitempty"`
	Done  bool     `json:"done,omitempty"`
}

// Ended is how a program ended.
type Ended struct {
	Status int            `json:"status"`            // exit status
	Signal syscall.Signal `json:"signal,omitempty"`  // the signal that ended it, or 0
	Error  string         `json:"error,omitempty"`   // why it did not start, or ""
	GetErr string         `json:"get_err,omitempty"` // why Command.Get was not sent completely, or ""
}
