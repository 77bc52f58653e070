package doctor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
)

// enough is the free space, in bytes, for a kernel and its saved guests.
const enough = 1 << 30

// kernels checks the cache, kernels.yaml, and each kernel there.
func (o Options) kernels(ctx context.Context) []Check {
	store, err := vmimage.Open(vmimage.Options{Config: o.Config})
	if err != nil {
		return []Check{{Name: "cache and kernels.yaml", Status: Missing, Needed: true, Detail: err.Error(),
			Mend: "mend the file, or set " + cache.Env + " to a directory that you may write to"}}
	}
	defer store.Close()
	list, err := store.List()
	if err != nil {
		return []Check{cacheOf(store), {Name: "lock file", Status: Missing, Needed: true, Detail: err.Error(), Mend: "remove it, or fetch it again from where it came from"}}
	}
	var reach []vmimage.Reach
	if !o.Offline {
		reach = store.Reach(ctx)
	}
	checks := []Check{cacheOf(store), o.config(store), lock(store)}
	wanted, err := store.Config().Expand(o.Kernel, o.Archs...)
	if err != nil {
		checks = append(checks, Check{Name: "kernel " + o.Kernel, Status: Missing, Needed: true, Detail: err.Error(), Mend: "bpfreplay kernels list"})
	}
	keys := keyring()
	for i, l := range list {
		c := Check{Name: "kernel " + l.Name, Needed: slices.Contains(wanted, l.Name)}
		if l.Arch != arch.Native && !c.Needed && !l.Cached {
			continue // nothing asks for guests of that architecture
		}
		switch {
		case l.Cached:
			c.Status, c.Detail = OK, fmt.Sprintf("%s, cached (%d MB)", l.Release, l.Size/1e6)
		case o.Offline:
			c.Status, c.Detail, c.Mend = Missing, "not cached, and its sources were not asked", "bpfreplay kernels fetch "+l.Name
		case reach[i].Source != "":
			c.Status, c.Detail = OK, "not cached, but can be reached: "+reach[i].Source
			keys.Needed = keys.Needed || c.Needed
		default:
			c.Status, c.Detail = Missing, "not cached, and cannot be had: "+join(reach[i].Failed)
			c.Mend = mendReach(store, store.Config().Kernels[i])
		}
		if c.Status == Missing && !c.Needed {
			c.Status = Note
		}
		checks = append(checks, c)
		wanted = slices.DeleteFunc(wanted, func(name string) bool { return name == l.Name })
	}
	for _, path := range wanted {
		checks = append(checks, o.path(ctx, store, path))
	}
	return append(checks, keys)
}

func join(errs []error) string {
	var out []string
	for _, err := range errs {
		out = append(out, err.Error())
	}
	return strings.Join(out, "; ")
}

// mendReach returns what to do about sources that cannot be reached, or "".
func mendReach(store *vmimage.Store, e catalog.Entry) string {
	for _, src := range e.Sources {
		switch {
		case src.Debian != nil:
			return fmt.Sprintf("export %s=ADDRESS of a mirror that can be reached from here (it is %s)", apt.MirrorEnv, store.Mirror())
		case src.Snapshot != nil:
			return fmt.Sprintf("export %s=ADDRESS of a snapshot archive that can be reached from here", apt.SnapshotEnv)
		}
	}
	return ""
}

func cacheOf(store *vmimage.Store) Check {
	u := store.Cache().Usage()
	c := Check{Name: "cache", Status: OK, Needed: true,
		Detail: fmt.Sprintf("%s: %d MB, %d saved guests, %d MB free", u.Dir, u.Size/1e6, u.Saved, u.Free/1e6)}
	switch {
	case u.Err != nil:
		c.Status, c.Detail = Missing, u.Err.Error()
		c.Mend = "bpfreplay kernels prune, or set " + cache.Env
	case u.Free < enough:
		c.Status, c.Mend = Note, "bpfreplay kernels prune, or set "+cache.Env
	}
	return c
}

func (o Options) config(store *vmimage.Store) Check {
	c := Check{Name: catalog.FileName, Status: OK, Detail: fmt.Sprintf("%s: %d kernels", store.Config().File, len(store.Config().Kernels))}
	if store.Config().File == "" {
		c.Status, c.Detail = Note, "not here or above, nor where this program is: kernels have no names, only paths"
		c.Mend = "run it in the source tree"
	}
	return c
}

func lock(store *vmimage.Store) Check {
	c := Check{Name: "lock file", Status: OK, Detail: store.LockFile() + " pins kernels"}
	if store.LockFile() == "" {
		c.Detail = "the cache's own: each name stays with its kernel until `bpfreplay kernels update`"
	}
	return c
}

// keyring checks for Debian's keyring. Without it no kernel is taken from Debian's archive.
func keyring() Check {
	c := Check{Name: "Debian's keys", Status: OK, Detail: apt.Keyrings[0]}
	if _, err := os.Stat(apt.Keyrings[0]); err != nil {
		c.Status, c.Detail, c.Mend = Missing, apt.Keyrings[0]+" is not there: nothing can be taken from Debian's archive", setupGuest
	}
	return c
}

// path checks a kernel that is named by its path.
func (o Options) path(ctx context.Context, store *vmimage.Store, path string) Check {
	c := Check{Name: "kernel " + path, Needed: true}
	k, err := store.Resolve(ctx, path)
	if err != nil {
		c.Status, c.Detail = Missing, err.Error()
		return c
	}
	c.Status, c.Detail = OK, k.Release
	return c
}
