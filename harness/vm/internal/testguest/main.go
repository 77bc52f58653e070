// Command testguest is PID 1 of the guests that the tests of package vm boot. It reads one command
// per line from the port; most of the commands are ways to die.
package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/vm"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("testguest:", err)
	}
	// The return of PID 1 causes a kernel panic, which a failed test guest should have.
}

func run() error {
	for _, fs := range []string{"devtmpfs /dev", "sysfs /sys", "proc /proc"} {
		kind, dir, _ := strings.Cut(fs, " ")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(kind, dir, kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	parameters, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	if strings.Contains(string(parameters), "testguest.mute") {
		sleep()
	}

	port, err := openPort()
	if err != nil {
		return err
	}
	fmt.Fprintln(port, "ready")
	lines := bufio.NewScanner(port)
	for lines.Scan() {
		command, argument, _ := strings.Cut(lines.Text(), " ")
		if command == "exit" {
			os.Exit(3)
		}
		if err := obey(port, command, argument); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
	return lines.Err()
}

func obey(port *os.File, command, argument string) error {
	switch command {
	case "echo":
		_, err := fmt.Fprintln(port, argument)
		return err
	case "random":
		answer := "seeded"
		if _, err := unix.Getrandom(make([]byte, 1), unix.GRND_NONBLOCK); err != nil {
			answer = err.Error()
		}
		_, err := fmt.Fprintln(port, answer)
		return err
	case "log":
		if err := os.WriteFile("/dev/kmsg", []byte(argument), 0); err != nil {
			return err
		}
		_, err := fmt.Fprintln(port, "ready")
		return err
	case "poweroff":
		return syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	case "reboot":
		return syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
	case "crash":
		return os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	case "sleep":
		sleep()
	case "spin":
		//lint:ignore SA5002 the request is to hang
		for {
		}
	}
	return fmt.Errorf("unknown command")
}

func sleep() {
	for {
		time.Sleep(time.Hour)
	}
}

func openPort() (*os.File, error) {
	found, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, file := range found {
		name, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(string(name)) == vm.PortName {
			return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(file)), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no virtio port is called %q", vm.PortName)
}
