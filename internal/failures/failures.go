// Package failures shows several things that went wrong as one error.
package failures

import (
	"strings"

	"github.com/hashicorp/go-multierror"
)

// All returns what went wrong: nil for nothing, the error itself if there is one only, else a list
// of all. Lists among errs are joined.
func All(errs ...error) error {
	list := multierror.Append(nil, errs...)
	if len(list.Errors) == 1 {
		return list.Errors[0]
	}
	list.ErrorFormat = func(errs []error) string { return strings.TrimRight(multierror.ListFormatFunc(errs), "\n") }
	return list.ErrorOrNil()
}
