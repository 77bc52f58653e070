// Package vmimage resolves names of kernels, fetches and caches the kernels, and builds the
// initramfs that a guest boots. It knows nothing of BPF and starts no guest. [Store] is where to
// begin reading.
//
// # From a name to a kernel
//
// The file kernels.yaml lists kernels by name, each with its sources. [Store.Resolve] turns such a
// name, or the path of an image or of a kernel tree, into a [Kernel] whose files are all on this
// machine:
//
//	store, err := vmimage.Open(vmimage.Options{Progress: func(line string) { log.Print(line) }})
//	if err != nil { ... }
//	defer store.Close()
//	kernel, err := store.Resolve(ctx, "6.12")
//	if err != nil { ... }
//	err = store.WriteInitramfs(file, kernel, vmimage.Initramfs{
//		Base:    []initramfs.File{{Path: "/init", Mode: 0o755, Host: "/usr/bin/agent"}},
//		Modules: []string{"nf_conntrack"},
//	})
//
// # Where things are
//
// Here is what joins the packages below: the sources of kernels, and what the cache keeps of them.
// Below, catalog reads kernels.yaml and the lock file, cache keeps things on the disk, and
// initramfs writes archives for guests. apt reads Debian's archive, oci asks registries of images,
// and fetch gets files over HTTP. archive reads packages and tar archives, and digest says what a
// file must be. kimage reads images of kernels, kmod modules and kconfig configurations.
//
// # What is checked
//
// Kernels come from Debian's archive over plain HTTP, as apt gets them. The chain of trust is
// apt's, too: one of the archive keys in the package debian-archive-keyring signs a Release file,
// the Release file has the digest of the package index, and the index has the digest of the
// package. If the chain is broken, the error is [digest.ErrIntegrity], and no other source is
// tried, because a person should look. An index that is only out of date is used, with a note.
//
// OCI images are not signed: a tag leads to a manifest, which has the digests of the layers. So the
// first lookup of a tag locks the manifest's digest. A damaged image is not used, and the next
// source is tried, as for a registry that does not answer.
//
// Only the kernel image, its configuration and its modules are written, each to a path that the
// archive cannot choose. Links, devices and other entries are skipped. A name that leads out of an
// OCI image is an error, and so are layers that unpack to more than 8 GiB.
//
// # Locked kernels
//
// Archives drop old packages. So kernels.yaml has patterns, and kernels.lock records what each
// pattern resolved to: packages, versions and digests, without a host. The lock file in the cache
// is written when a name is resolved for the first time. A lock file beside kernels.yaml comes
// first, and only [Store.Update] writes it; copy the file there to pin kernels for a whole team. If
// its archive no longer has a locked package, the pattern is resolved again, with a note, and the
// pin stays as it was. A kernel that is locked and cached needs no network.
package vmimage
