// Package vmimage finds the kernels that guests boot, and builds what they
// boot into. It knows nothing of BPF, and starts no guest.
//
// # From a name to a kernel
//
// The file kernels.yaml lists kernels by name, and for each the places to get
// it from. [Store.Resolve] turns such a name, or the path of an image or of a
// kernel tree, into a [Kernel] whose files are all on this machine:
//
//	store, err := vmimage.Open(vmimage.Options{Progress: func(line string) { log.Print(line) }})
//	if err != nil { ... }
//	defer store.Close()
//	kernel, err := store.Resolve(ctx, "6.12")
//	if err != nil { ... }
//	sum, err := store.Initramfs("/tmp/run/initramfs", kernel, vmimage.Initramfs{
//		Base:    []vmimage.File{{Path: "/init", Mode: 0o755, Host: "/usr/bin/agent"}},
//		Modules: []string{"nf_conntrack"},
//	})
//
// # Whom we trust
//
// Kernels come from Debian's archive over plain HTTP, as apt gets them. The
// chain is apt's, too: a Release file is signed with one of the archive keys
// that the package debian-archive-keyring brings, it has the digest of the
// package index, and that has the digest of the package. Where the chain is
// broken, the error is [digest.ErrIntegrity], and no other source is tried: somebody
// ought to look. An index that is merely out of date is used with a note.
//
// Nobody signs what comes from a registry of OCI images: a tag leads to a
// manifest, and that has the digests of the layers. So the manifest's digest is
// locked when the tag is looked up for the first time. What is damaged is not
// used, but the next source is asked, as for a registry that is not there.
//
// Layers are read from the top. Of what a container would see in them only the
// image, its configuration and its modules are written, each to a place that
// the archive has no say in: links, devices and all else is passed over, and a
// name that leads out of the image is an error, as are layers that unpack to more than 8 GiB.
//
// # What changes and what does not
//
// Archives move on: packages that were there yesterday are gone today. So
// kernels.yaml has patterns, and what a pattern led to is locked: a record of
// packages, versions and digests without any host, in kernels.lock. The one in
// the cache is written whenever a name is resolved for the first time. If
// there is one beside kernels.yaml, it comes first, and only [Store.Update]
// writes it; copy the file there to pin kernels for a whole team. A locked
// package that its archive no longer has is replaced by what the pattern leads
// to now, with a note, and the pin stays as it was. Once a kernel is locked and cached, no
// network is needed.
//
// # The cache
//
// Everything in the cache is named by the digest of what it was made from, is
// made in a temporary place and then renamed, so it is whole or not there at
// all. Two runs may use the cache at once; what both want is fetched once.
// The next run removes what a killed one left behind.
package vmimage
