package agent

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/exercise"
	"github.com/bpfreplay/bpfreplay/harness/hostport"
)

// networkUp configures the guest's network card and adds the host's name to /etc/hosts.
func networkUp() error {
	card, err := networkCard()
	if err != nil {
		return err
	}
	ip, network, err := net.ParseCIDR(hostport.GuestAddress)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, set := range []struct {
		request uint
		value   net.IP
	}{{unix.SIOCSIFADDR, ip.To4()}, {unix.SIOCSIFNETMASK, net.IP(network.Mask)}} {
		r, err := unix.NewIfreq(card)
		if err != nil {
			return err
		}
		if err := r.SetInet4Addr(set.value); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, set.request, r); err != nil {
			return fmt.Errorf("address of %s: %w", card, err)
		}
	}
	if err := exercise.InterfaceUp(card); err != nil {
		return fmt.Errorf("%s: %w", card, err)
	}
	hosts, err := os.OpenFile("/etc/hosts", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(hosts, "%s %s\n", hostport.HostAddress, hostport.HostName)
	return errors.Join(err, hosts.Close())
}

// networkCard returns the name of the interface that belongs to a device.
func networkCard() (string, error) {
	const class = "/sys/class/net"
	entries, err := os.ReadDir(class)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if _, err := os.Stat(class + "/" + e.Name() + "/device"); err == nil {
			return e.Name(), nil
		}
	}
	return "", errors.New("the kernel has found no network card: does it have virtio_net?")
}
