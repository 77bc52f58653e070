// Package failures combines several errors into one.
package failures

import (
	"strings"

	"github.com/hashicorp/go-multierror"
)

// All combines errors: it returns nil if there is none, the error itself if there is only one, else
// a list of all. Lists among errs are merged.
func All(errs ...error) error {
	list := multierror.Append(nil, errs...)
	if len(list.Errors) == 1 {
		return list.Errors[0]
	}
	list.ErrorFormat = func(errs []error) string { return strings.TrimRight(multierror.ListFormatFunc(errs), "\n") }
	return list.ErrorOrNil()
}
