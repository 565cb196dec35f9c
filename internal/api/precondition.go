package api

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/backfleet/backfleet/internal/store"
)

// IfMatch is the part of a change that says which revision its author saw.
type IfMatch struct {
	IfMatch string `header:"If-Match" doc:"The ETag of what is changed, as it was read: the change is refused with 412 if somebody changed it since. Left out or *, it is not asked."`
}

// revision is the revision that a change asks for; 0 where it does not ask.
func (m IfMatch) revision() (int64, error) {
	text := strings.TrimSpace(m.IfMatch)
	if text == "" || text == "*" {
		return 0, nil
	}
	unquoted, err := strconv.Unquote(strings.TrimPrefix(text, "W/"))
	if err == nil {
		var n int64
		if n, err = strconv.ParseInt(unquoted, 10, 64); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, Fail(Invalid, fmt.Errorf("If-Match: %.80q is no ETag of this API", text), `send what the ETag of the last answer held, such as "12", or leave it out`)
}

// stale is the refusal of a change that was made from an older view.
func stale(what string, have, saw int64) error {
	return &store.RevisionError{What: what, Have: have, Saw: saw}
}

// etag is the tag of a revision.
func etag(revision int64) string { return strconv.Quote(strconv.FormatInt(revision, 10)) }

// tagged is an answer that a change may refer to.
type tagged[T any] struct {
	ETag string `header:"ETag" doc:"The revision, for If-Match."`
	Body T
}
