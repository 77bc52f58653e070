package inputs

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
)

// ParseArchs reads the values of --arch.
func ParseArchs(names []string) ([]string, error) {
	var archs []string
	for _, name := range names {
		a, err := arch.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("--arch: %w", err)
		}
		archs = append(archs, a.Name)
	}
	return archs, nil
}

// ExpandKernels returns the kernels that --kernel and --arch name, and kernels.yaml, which is empty
// if it cannot be read.
func ExpandKernels(cmd *cobra.Command, spec string, archs []string) (*catalog.Config, []string, error) {
	archs, err := ParseArchs(archs)
	if err != nil {
		return new(catalog.Config), nil, err
	}
	store, err := OpenStore(cmd, nil)
	if err != nil {
		return new(catalog.Config), nil, err
	}
	defer store.Close()
	kernels, err := store.Config().Expand(spec, archs...)
	return store.Config(), kernels, err
}

// OneKernel returns the name of the one kernel that --kernel and --arch select, and the values of
// --arch.
func OneKernel(cmd *cobra.Command, store *vmimage.Store, spec string, archs []string) (string, []string, error) {
	archs, err := ParseArchs(archs)
	if err != nil {
		return "", nil, err
	}
	kernels, err := store.Config().Expand(spec, archs...)
	if err != nil {
		return "", nil, err
	}
	if len(kernels) != 1 {
		return "", nil, fmt.Errorf("--kernel %s: %s takes one kernel, and these are several: %s", spec, cmd.Name(), strings.Join(kernels, ", "))
	}
	return kernels[0], archs, nil
}

// CompleteKernels completes names of kernels.
func CompleteKernels(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	config, _, _ := ExpandKernels(cmd, "", nil)
	return config.Names(), cobra.ShellCompDirectiveDefault
}
