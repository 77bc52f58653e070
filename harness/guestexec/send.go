package guestexec

import (
	"fmt"
	"os"

	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// sendLimit is the largest total size, in bytes, of files that are sent to a restored guest. Larger
// sets of files are faster in the initramfs of a guest that boots.
const sendLimit = 32 << 20

// sendCommand asks the agent to run a program and sends the contents of files.
func sendCommand(conn *wire.Conn, command wire.Command, files []initramfs.File) error {
	list := command.Files[:len(command.Files):len(command.Files)]
	for _, f := range files {
		to := wire.File{Path: f.Path, Mode: f.Mode, Data: f.Data}
		if f.Host != "" {
			info, err := os.Stat(f.Host)
			if err != nil {
				return err
			}
			to.Size = info.Size()
		}
		list = append(list, to)
	}
	command.Files = list
	if err := conn.Send(&wire.Request{Exec: &command}); err != nil {
		return err
	}
	for i, f := range list[len(list)-len(files):] {
		if err := sendContents(conn, files[i].Host, f.Size); err != nil {
			return err
		}
	}
	return nil
}

func sendContents(conn *wire.Conn, file string, size int64) error {
	if size == 0 {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := conn.SendContents(f, size); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// timesOf returns the modification times of files of this machine.
func timesOf(files []initramfs.File) []wire.FileTime {
	var times []wire.FileTime
	for _, f := range files {
		if info, err := os.Stat(f.Host); err == nil && f.Host != "" {
			times = append(times, wire.FileTime{Path: f.Path, Modified: info.ModTime()})
		}
	}
	return times
}
