package job

import "slices"

// Order is in which order the rows of a job's table are walked. It is decided at the submit and stays.
type Order string

// The orders. A job's own is never OrderAuto.
const (
	OrderAuto  Order = "auto"  // in a spec: OrderBlock where that pays and is allowed, else OrderKey
	OrderKey   Order = "key"   // by the key's index
	OrderBlock Order = "block" // as the rows lie in the table
)

var orders = []Order{OrderAuto, OrderKey, OrderBlock}

// orderFault says why a spec cannot have the order that it asks for. A row that is updated gets another address, and may be met again:
// only a `where` that the `set` makes false keeps it from being done twice.
func (s Spec) orderFault() (why, fix string) {
	switch {
	case s.Order != "" && !slices.Contains(orders, s.Order):
		return "is not known", "write auto, key or block"
	case s.Order == OrderBlock && s.Statement != "":
		return "cannot be that of a `statement`: a row that it has done could be met again at another place", "leave it out, or write a `set` and a `where` that it makes false"
	case s.Order == OrderBlock && s.Where == "":
		return "needs a `where` that the `set` makes false: a row that is done is met again at another place", "write one, or leave the order out"
	}
	return "", ""
}
