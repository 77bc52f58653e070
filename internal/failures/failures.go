// Package failures shows several things that went wrong as one error.
package failures

import "github.com/hashicorp/go-multierror"

// All is what went wrong: nil for nothing, the error itself if there is one
// only, else a list of all.
func All(list *multierror.Error) error {
	if list != nil && len(list.Errors) == 1 {
		return list.Errors[0]
	}
	return list.ErrorOrNil()
}
